//! Where cells stand of rules that most keys have no cell of: only what is there takes room.
//!
//! With hundreds of rules a key has cells of those few that its events match. A row with a place for
//! each rule would be larger than all of its cells.

use crate::engine::index::Index;
use crate::engine::slab::Slab;

/// Places by key and rule.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    index: Index,
    known: Slab<Known>,
    free: Vec<u32>,
}

/// The place in its table of a key's cell of the space's n-th rule.
#[derive(Debug, Clone, Copy)]
struct Known {
    id: u32,
    n: u32,
    place: u32,
}

impl Places {
    pub(crate) fn get(&self, id: u32, n: u32) -> Option<u32> {
        Some(self.known[self.find(id, n)? as usize].place)
    }

    /// Brings near where a place would be noted.
    pub(crate) fn near(&self, id: u32, n: u32) {
        self.index.near(hash(id, n));
    }

    pub(crate) fn put(&mut self, id: u32, n: u32, place: u32) {
        let known = Known { id, n, place };
        if let Some(at) = self.find(id, n) {
            self.known[at as usize] = known;
            return;
        }
        let at = self.known.put(&mut self.free, known);
        self.index.insert(hash(id, n), at);
    }

    pub(crate) fn take(&mut self, id: u32, n: u32) -> Option<u32> {
        let at = self.find(id, n)?;
        self.index.remove(hash(id, n), at);
        self.free.push(at);
        Some(self.known[at as usize].place)
    }

    /// Forgets the rules from the n-th on.
    pub(crate) fn cut(&mut self, n: u32) {
        let mut kept = Places::default();
        let known = (0_u32..).zip(self.known.iter());
        for (_, one) in known.filter(|(at, one)| one.n < n && self.find(one.id, one.n) == Some(*at))
        {
            kept.put(one.id, one.n, one.place);
        }
        *self = kept;
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        self.index.bytes() + self.known.bytes() + self.free.capacity() * size_of::<u32>()
    }

    fn find(&self, id: u32, n: u32) -> Option<u32> {
        let is = |at: u32| {
            let known = &self.known[at as usize];
            known.id == id && known.n == n
        };
        self.index.find(hash(id, n), is)
    }
}

/// Keys are numbered, and so are rules: a multiplication spreads both.
fn hash(id: u32, n: u32) -> u32 {
    ((u64::from(id) << 32 | u64::from(n)).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 32) as u32
}

#[cfg(test)]
mod tests;
