//! A queue in pages: nothing is moved or copied when it grows, and what has left at the front
//! takes no room.

use std::collections::VecDeque;

use crate::engine::slab::{PAGE, PAGE_BITS, page_of};
use crate::near::near;

/// The item that leaves so many behind the one that leaves now is asked for: nobody may have looked
/// there since it came.
const LEAVING_NEXT: usize = 16;

#[derive(Debug, Clone)]
pub(crate) struct Queue<T> {
    /// All full but the last, and none without an item that is left; the first has lost so many
    /// items at its front.
    pages: VecDeque<Vec<T>>,
    lost: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Queue { pages: VecDeque::new(), lost: 0 }
    }
}

impl<T: Copy> Queue<T> {
    pub(crate) fn len(&self) -> usize {
        match self.pages.back() {
            Some(last) => (self.pages.len() - 1) * PAGE + last.len() - self.lost,
            None => 0,
        }
    }

    /// The item so many behind the front.
    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<T> {
        self.item(at).copied()
    }

    #[inline]
    fn item(&self, at: usize) -> Option<&T> {
        let at = self.lost + at;
        self.pages.get(at >> PAGE_BITS)?.get(at & (PAGE - 1))
    }

    pub(crate) fn front(&self) -> Option<T> {
        self.pages.front()?.get(self.lost).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    pub(crate) fn back_mut(&mut self) -> Option<&mut T> {
        self.pages.back_mut()?.last_mut()
    }

    /// Brings the item so many behind the front near.
    #[inline]
    pub(crate) fn near(&self, at: usize) {
        if let Some(item) = self.item(at) {
            near(item);
        }
    }

    pub(crate) fn push_back(&mut self, item: T) {
        match self.pages.back_mut() {
            Some(last) if last.len() < PAGE => last.push(item),
            _ => self.pages.push_back(page_of(item, self.pages.is_empty())),
        }
    }

    pub(crate) fn pop_front(&mut self) -> Option<T> {
        let page = self.pages.front()?;
        let item = page.get(self.lost).copied()?;
        match page.get(self.lost + LEAVING_NEXT) {
            Some(later) => near(later),
            None => self.near(LEAVING_NEXT),
        }
        self.lost += 1;
        if self.lost == page.len() {
            self.pages.pop_front();
            self.lost = 0;
        }
        Some(item)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = T> {
        self.pages.iter().flatten().skip(self.lost).copied()
    }

    /// Keeps those that `keep` says yes to, in order.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        *self = self.iter().filter(keep).collect();
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        let items: usize = self.pages.iter().map(Vec::capacity).sum();
        items * size_of::<T>() + self.pages.capacity() * size_of::<Vec<T>>()
    }
}

impl<T: Copy> FromIterator<T> for Queue<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut queue = Queue::default();
        items.into_iter().for_each(|item| queue.push_back(item));
        queue
    }
}

#[cfg(test)]
mod tests;
