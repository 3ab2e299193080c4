//! Where rows begin, a line of the cache for sixteen of them.

use crate::engine::slab::Slab;
use crate::engine::space::NONE;

/// Where rows begin, by id.
#[derive(Debug, Clone, Default)]
pub(super) struct Begins {
    pub(super) lines: Slab<[u32; Begins::LINE]>,
    pub(super) len: usize,
}

impl Begins {
    /// So many stand in a line of the cache.
    const LINE: usize = 16;

    /// [`NONE`] for an id behind the last, if any.
    #[inline]
    pub(super) fn get(&self, id: u32) -> Option<u32> {
        let at = id as usize;
        self.lines.get(at / Begins::LINE).map(|line| line[at % Begins::LINE])
    }

    /// Of an id that is there, or the next one.
    pub(super) fn set(&mut self, id: u32, begin: u32) {
        let at = id as usize;
        if at == self.len {
            self.len += 1;
            if at.is_multiple_of(Begins::LINE) {
                self.lines.push([NONE; Begins::LINE]);
            }
        }
        self.lines[at / Begins::LINE][at % Begins::LINE] = begin;
    }

    #[inline]
    pub(super) fn near(&self, id: u32) {
        self.lines.near(id as usize / Begins::LINE);
    }
}
