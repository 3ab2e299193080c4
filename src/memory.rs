//! Where the memory of the program comes from: jemalloc, which takes it in huge pages.
//!
//! A state of many members is read in places that have nothing to do with each other. With pages
//! of 4 KiB the processor has to look up for nearly each of them where its page lies, which takes
//! as long as the reading: up to a quarter of a worker's time. Linux gives huge pages where
//! `/sys/kernel/mm/transparent_hugepage/enabled` says `always` or `madvise`, as most systems have
//! it; where it says `never`, everything else is the same.
//!
//! Two arenas are shared by all threads: each holds some memory in reserve, in huge pages at least, and by
//! default there are four for each core. Threads take from their own caches first, so that they seldom meet.
//!
//! A room with `unsafe`. Argument: jemalloc reads a string under a fixed name before anything else
//! runs; this is that string, it ends with a zero, and no other symbol of this program has that
//! name.
#![expect(unsafe_code, reason = "see the argument above")]

use tikv_jemallocator::Jemalloc;

#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// For huge pages wherever memory is taken, and few arenas. The environment's `MALLOC_CONF` goes before it.
#[used]
#[cfg_attr(all(target_os = "linux", target_env = "gnu"), unsafe(export_name = "malloc_conf"))]
#[cfg_attr(
    not(all(target_os = "linux", target_env = "gnu")),
    unsafe(export_name = "_rjem_malloc_conf")
)]
static CONFIGURATION: &[u8; 21] = b"thp:always,narenas:2\0";
