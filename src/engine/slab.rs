//! A growing list in pages: nothing is moved or copied when it grows, and no more than a page is
//! held in reserve.

use crate::near::near;

/// Items of a page, as a power of two.
pub(crate) const PAGE_BITS: u32 = 10;
pub(crate) const PAGE: usize = 1 << PAGE_BITS;

/// A page that begins with an item. A short list stays small; pages after the first are made whole.
pub(crate) fn page_of<T>(item: T, is_first: bool) -> Vec<T> {
    let mut page = Vec::with_capacity(if is_first { 4 } else { PAGE });
    page.push(item);
    page
}

#[derive(Debug, Clone)]
pub(crate) struct Slab<T> {
    /// All full but the last.
    pages: Vec<Vec<T>>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab { pages: Vec::new() }
    }
}

impl<T> Slab<T> {
    pub(crate) fn len(&self) -> usize {
        match self.pages.split_last() {
            Some((last, full)) => full.len() * PAGE + last.len(),
            None => 0,
        }
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.pages.get(at >> PAGE_BITS)?.get(at & (PAGE - 1))
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.pages.get_mut(at >> PAGE_BITS)?.get_mut(at & (PAGE - 1))
    }

    /// Brings the first line of an item near.
    #[inline]
    pub(crate) fn near(&self, at: usize) {
        if let Some(item) = self.get(at) {
            near(item);
        }
    }

    /// Appends an item; returns its place.
    pub(crate) fn push(&mut self, item: T) -> usize {
        let at = self.len();
        match self.pages.last_mut() {
            Some(last) if last.len() < PAGE => last.push(item),
            _ => self.pages.push(page_of(item, self.pages.is_empty())),
        }
        at
    }

    /// Puts an item in the place that was given back last, or appends it; returns its place.
    pub(crate) fn put(&mut self, free: &mut Vec<u32>, item: T) -> u32 {
        if let Some(at) = free.pop() {
            self[at as usize] = item;
            at
        } else {
            u32::try_from(self.push(item)).unwrap_or(u32::MAX)
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }

    /// Bytes on the heap, without what items keep there.
    pub(crate) fn bytes(&self) -> usize {
        let items: usize = self.pages.iter().map(Vec::capacity).sum();
        items * size_of::<T>() + self.pages.capacity() * size_of::<Vec<T>>()
    }
}

/// A slab whose places are used again.
#[derive(Debug, Clone)]
pub(crate) struct Pool<T> {
    items: Slab<T>,
    free: Vec<u32>,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Pool { items: Slab::default(), free: Vec::new() }
    }
}

impl<T> Pool<T> {
    /// How many places are in use.
    pub(crate) fn len(&self) -> usize {
        self.items.len() - self.free.len()
    }

    /// Puts an item in the place that was given back last, or a new one; returns it.
    pub(crate) fn put(&mut self, item: T) -> u32 {
        self.items.put(&mut self.free, item)
    }

    /// Gives the place of an item back, in which `free` stands until it is used again.
    pub(crate) fn give_back(&mut self, at: usize, free: T) {
        self.items[at] = free;
        self.free.push(u32::try_from(at).unwrap_or(u32::MAX));
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.items.get(at)
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.items.get_mut(at)
    }

    /// Brings the first line of an item near.
    #[inline]
    pub(crate) fn near(&self, at: usize) {
        self.items.near(at);
    }

    /// What stands in all places, free ones too.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }

    /// Bytes on the heap, without what items keep there.
    pub(crate) fn bytes(&self) -> usize {
        self.items.bytes() + self.free.capacity() * size_of::<u32>()
    }
}

impl<T> std::ops::Index<usize> for Slab<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        &self.pages[at >> PAGE_BITS][at & (PAGE - 1)]
    }
}

impl<T> std::ops::IndexMut<usize> for Slab<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.pages[at >> PAGE_BITS][at & (PAGE - 1)]
    }
}

#[cfg(test)]
mod tests;
