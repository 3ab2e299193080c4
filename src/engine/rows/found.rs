//! The row at hand.

/// A row that was found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found {
    /// [`NOBODY`], or an id.
    pub(super) id: u64,
    pub(super) begin: u32,
    /// How far behind that its counters begin, and their forms.
    pub(super) counters: u8,
    pub(super) forms: u64,
    /// Where the layout remembers what these come to.
    pub(super) shape: usize,
}

impl Default for Found {
    /// None: it has nothing.
    fn default() -> Self {
        Found { id: NOBODY, begin: 0, counters: 0, forms: 0, shape: 0 }
    }
}

impl Found {
    #[inline]
    pub(super) fn is_of(&self, id: u32) -> bool {
        self.id == u64::from(id)
    }
}

/// No id.
const NOBODY: u64 = u64::MAX;
