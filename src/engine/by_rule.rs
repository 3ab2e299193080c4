//! What few keys of some rules have, apart from their cells.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// By rule and key.
#[derive(Debug, Clone)]
pub(crate) struct ByRule<T>(Vec<BTreeMap<u32, T>>);

impl<T> Default for ByRule<T> {
    fn default() -> Self {
        ByRule(Vec::new())
    }
}

impl<T> ByRule<T> {
    pub(crate) fn get(&self, rule: usize, key: u32) -> Option<&T> {
        self.0.get(rule)?.get(&key)
    }

    pub(crate) fn get_mut(&mut self, rule: usize, key: u32) -> Option<&mut T> {
        self.0.get_mut(rule)?.get_mut(&key)
    }

    pub(crate) fn entry(&mut self, rule: usize, key: u32) -> Entry<'_, u32, T> {
        if self.0.len() <= rule {
            self.0.resize_with(rule + 1, BTreeMap::new);
        }
        self.0[rule].entry(key)
    }

    pub(crate) fn insert(&mut self, rule: usize, key: u32, item: T) {
        self.entry(rule, key).insert_entry(item);
    }

    pub(crate) fn remove(&mut self, rule: usize, key: u32) {
        if let Some(of) = self.0.get_mut(rule) {
            of.remove(&key);
        }
    }

    /// Keys of a rule, in order.
    pub(crate) fn keys(&self, rule: usize) -> impl Iterator<Item = u32> {
        self.0.get(rule).into_iter().flat_map(BTreeMap::keys).copied()
    }

    /// Rules with a key, in order.
    pub(crate) fn rules(&self) -> impl Iterator<Item = usize> {
        let rules = self.0.iter().enumerate().filter(|(_, of)| !of.is_empty());
        rules.map(|(rule, _)| rule)
    }

    /// Bytes on the heap, without what items keep there.
    pub(crate) fn bytes(&self) -> usize {
        self.len() * size_of::<(u32, T)>()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(BTreeMap::len).sum()
    }
}
