//! Blocks of bytes of many sizes in large pages: what is kept of a key takes as much room as it
//! needs, and nothing moves when there are more keys.
//!
//! A block that is given back is taken again for one of its size or up to two grains less. (Segregated free
//! lists: Wilson, Johnstone, Neely and Boles 1995, "Dynamic storage allocation: a survey and critical
//! review".)

use std::ops::Range;

use crate::near::near;

/// Blocks begin at multiples of this, and have whole ones of it: bytes.
const GRAIN: usize = 4;
const PAGE_BITS: u32 = 17;
const PAGE: usize = 1 << PAGE_BITS;
/// The first page begins with so many bytes, and grows; the others are whole.
const PAGE_MIN: usize = 256;
/// Pages for whose blocks there are numbers.
const PAGES_MAX: usize = (GRAIN << u32::BITS) >> PAGE_BITS;
/// Grains of the largest block.
const SIZE_MAX: usize = u8::MAX as usize;

/// Bytes of the largest block.
pub(crate) const BLOCK_MAX: usize = SIZE_MAX * GRAIN;

/// Blocks by where they begin, in grains. The first byte of each is its size.
#[derive(Debug, Clone, Default)]
pub(crate) struct Arena {
    pages: Vec<Vec<u8>>,
    /// Bytes of the last page that were taken.
    taken: usize,
    /// Blocks that were given back, by size.
    free: Vec<Vec<u32>>,
}

/// A byte of a block, wherever in the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Byte(pub(crate) usize);

impl Byte {
    fn page(self) -> usize {
        self.0 >> PAGE_BITS
    }

    fn within(self) -> usize {
        self.0 & (PAGE - 1)
    }
}

impl Arena {
    /// A block of at least so many bytes, up to [`BLOCK_MAX`]. In it stands anything, but for its
    /// size.
    pub(crate) fn take(&mut self, bytes: usize) -> u32 {
        let size = bytes.div_ceil(GRAIN).clamp(1, SIZE_MAX);
        for size in size..=size + 2 {
            if let Some(at) = self.free.get_mut(size).and_then(Vec::pop) {
                return at;
            }
        }
        if self.pages.is_empty() || self.taken + size * GRAIN > PAGE {
            let left = (PAGE - self.taken) / GRAIN;
            if !self.pages.is_empty() && left > 0 {
                let rest = self.carve(left);
                self.give_back(rest);
            }
            self.taken = 0;
            self.pages.push(if self.pages.is_empty() { Vec::new() } else { vec![0; PAGE] });
        }
        self.carve(size)
    }

    /// A new block, of what is left of the last page.
    fn carve(&mut self, size: usize) -> u32 {
        let before = self.pages.len().saturating_sub(1) << PAGE_BITS;
        let begin = self.taken;
        self.taken += size * GRAIN;
        if let Some(page) = self.pages.last_mut() {
            if page.len() < self.taken {
                let room = self.taken.next_power_of_two().clamp(PAGE_MIN, PAGE);
                page.reserve_exact(room - page.len());
                page.resize(room, 0);
            }
            page[begin] = u8::try_from(size).unwrap_or(u8::MAX);
        }
        u32::try_from((before + begin) / GRAIN).unwrap_or(u32::MAX)
    }

    pub(crate) fn give_back(&mut self, at: u32) {
        let size = self.block(at).len() / GRAIN;
        if self.free.len() <= size {
            self.free.resize_with(size + 1, Vec::new);
        }
        self.free[size].push(at);
    }

    /// What stands from the beginning of a block on, within its page.
    #[inline]
    pub(crate) fn from(&self, at: u32) -> &[u8] {
        let begin = Arena::byte(at, 0);
        &self.pages[begin.page()][begin.within()..]
    }

    /// A block; the first byte is its size.
    #[inline]
    pub(crate) fn block(&self, at: u32) -> &[u8] {
        let rest = self.from(at);
        &rest[..usize::from(rest[0]) * GRAIN]
    }

    #[inline]
    pub(crate) fn block_mut(&mut self, at: u32) -> &mut [u8] {
        let begin = Arena::byte(at, 0);
        let rest = &mut self.pages[begin.page()][begin.within()..];
        let size = usize::from(rest[0]) * GRAIN;
        &mut rest[..size]
    }

    /// Copies bytes of a block to the same place in another.
    pub(crate) fn copy(&mut self, from: u32, to: u32, bytes: Range<usize>) {
        let (own, other) = (Arena::byte(from, bytes.start), Arena::byte(to, bytes.start));
        let (within, len) = (own.within(), bytes.len());
        if own.page() == other.page() {
            return self.pages[own.page()].copy_within(within..within + len, other.within());
        }
        if let Ok([page, to]) = self.pages.get_disjoint_mut([own.page(), other.page()]) {
            to[other.within()..][..len].copy_from_slice(&page[within..within + len]);
        }
    }

    /// The byte of a block that is so many behind its first.
    #[inline]
    pub(crate) fn byte(at: u32, offset: usize) -> Byte {
        Byte((at as usize).wrapping_mul(GRAIN).wrapping_add(offset))
    }

    /// The bytes from this one on.
    #[inline]
    pub(crate) fn bytes<const N: usize>(&self, at: Byte) -> [u8; N] {
        self.pages[at.page()][at.within()..].first_chunk().copied().unwrap_or([0; N])
    }

    /// The same to be changed; none at the end of a page.
    #[inline]
    pub(crate) fn bytes_mut<const N: usize>(&mut self, at: Byte) -> Option<&mut [u8; N]> {
        self.pages.get_mut(at.page())?.get_mut(at.within()..)?.first_chunk_mut()
    }

    #[inline]
    pub(crate) fn set_bytes<const N: usize>(&mut self, at: Byte, bytes: [u8; N]) {
        self.pages[at.page()][at.within()..][..N].copy_from_slice(&bytes);
    }

    /// Brings the first lines of a block near, as many as most have.
    #[inline]
    pub(crate) fn near(&self, at: u32) {
        let begin = Arena::byte(at, 0);
        if let Some(page) = self.pages.get(begin.page()) {
            [0, 64].iter().filter_map(|more| page.get(begin.within() + more)).for_each(near);
        }
    }

    /// Three quarters of the room are taken that there are numbers for: 12 GiB.
    pub(crate) fn is_full(&self) -> bool {
        self.pages.len() > PAGES_MAX / 4 * 3
    }

    /// Bytes on the heap.
    pub(crate) fn heap(&self) -> usize {
        let pages: usize = self.pages.iter().map(Vec::capacity).sum();
        let free: usize = self.free.iter().map(|some| some.capacity() * size_of::<u32>()).sum();
        pages + free + self.pages.capacity() * size_of::<Vec<u8>>()
    }
}

#[cfg(test)]
mod tests;
