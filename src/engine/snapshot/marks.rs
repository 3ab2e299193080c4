//! Which items of a list are said, while a snapshot goes over it and its items change.

/// The first `len` items of a list as they were at one instant: each is said once, in order, or
/// before that when it is about to change.
#[derive(Debug, Clone)]
pub(crate) struct Marks {
    len: usize,
    next: usize,
    /// A bit an item.
    said: Vec<u64>,
}

impl Marks {
    pub(crate) fn new(len: usize) -> Marks {
        Marks { len, next: 0, said: vec![0; len.div_ceil(64)] }
    }

    /// True when the item was there at that instant and is not said: now it counts as said.
    pub(crate) fn take(&mut self, at: usize) -> bool {
        if at < self.next || at >= self.len {
            return false;
        }
        let (word, bit) = (&mut self.said[at / 64], 1 << (at % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// The next item to be said, in order.
    pub(crate) fn advance(&mut self) -> Option<usize> {
        while self.next < self.len {
            let at = self.next;
            self.next += 1;
            if self.said[at / 64] & (1 << (at % 64)) == 0 {
                return Some(at);
            }
        }
        None
    }
}
