//! Where the program's memory comes from.

use std::process::Command;

/// jemalloc tells its options at the end, the environment's after its own.
#[test]
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn memory_is_asked_for_in_huge_pages() {
    let mut tidegate = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let said = tidegate.arg("--version").env("MALLOC_CONF", "stats_print:true").output().unwrap();
    let said = String::from_utf8(said.stderr).unwrap();
    assert!(said.contains("opt.thp: \"always\""), "{said}");
}
