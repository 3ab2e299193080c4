//! A store of snapshots that errs and lies: it refuses, forgets the end of what it is given, turns
//! bits, and loses what it had. And one that is slow.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tidegate::snapshot::{Listed, Store, StoreError};

#[derive(Debug)]
pub(super) struct SimStore(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    objects: BTreeMap<String, Vec<u8>>,
    rng: ChaCha8Rng,
    /// Nothing more is taken.
    is_full: bool,
    /// How likely each fault is at one call, in thousandths.
    fault: u32,
}

impl Inner {
    fn fails(&mut self) -> bool {
        self.rng.random_range(0..1000) < self.fault
    }

    fn refuse(&mut self) -> Result<(), StoreError> {
        if self.fails() { Err(StoreError::Failed("no answer".to_owned())) } else { Ok(()) }
    }
}

impl SimStore {
    pub(super) fn new(seed: u64, fault: u32) -> SimStore {
        let rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5707);
        SimStore(Mutex::new(Inner { objects: BTreeMap::new(), is_full: false, rng, fault }))
    }

    pub(super) fn fill(&self, is_full: bool) {
        self.0.lock().unwrap().is_full = is_full;
    }

    /// From now on it does what it is asked to.
    pub(super) fn mend(&self) {
        self.0.lock().unwrap().fault = 0;
    }
}

impl Store for SimStore {
    fn put(&self, name: &str, mut bytes: Vec<u8>) -> Result<(), StoreError> {
        let mut inner = self.0.lock().unwrap();
        inner.refuse()?;
        if inner.is_full {
            return Err(StoreError::Failed("no room".to_owned()));
        }
        if inner.fails() {
            let kept = inner.rng.random_range(0..=bytes.len());
            bytes.truncate(kept);
        }
        if inner.fails() && !bytes.is_empty() {
            let at = inner.rng.random_range(0..bytes.len());
            bytes[at] ^= 1 << inner.rng.random_range(0..8);
        }
        // Written, and the answer is lost.
        let is_lost = inner.fails();
        inner.objects.insert(name.to_owned(), bytes);
        if is_lost { Err(StoreError::Failed("no answer".to_owned())) } else { Ok(()) }
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let mut inner = self.0.lock().unwrap();
        inner.refuse()?;
        if inner.fails() {
            inner.objects.remove(name);
        }
        inner.objects.get(name).cloned().ok_or_else(|| StoreError::Missing(name.to_owned()))
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError> {
        let mut inner = self.0.lock().unwrap();
        inner.refuse()?;
        let within = |name: &&String| name.starts_with(&format!("{folder}/"));
        let names = inner.objects.keys().filter(within);
        Ok(names.map(|name| Listed { name: name.clone(), modified_ms: 0 }).collect())
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        let mut inner = self.0.lock().unwrap();
        inner.refuse()?;
        inner.objects.remove(name);
        Ok(())
    }
}

/// A store that answers no request while its gate is closed.
#[derive(Debug)]
pub(super) struct SlowStore {
    store: SimStore,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
pub(super) struct Gate {
    is_closed: Mutex<bool>,
    moved: Condvar,
}

impl Gate {
    pub(super) fn close(&self) {
        *self.is_closed.lock().unwrap() = true;
    }

    pub(super) fn open(&self) {
        *self.is_closed.lock().unwrap() = false;
        self.moved.notify_all();
    }
}

impl SlowStore {
    pub(super) fn new(gate: &Arc<Gate>) -> SlowStore {
        SlowStore { store: SimStore::new(1, 0), gate: gate.clone() }
    }

    fn behind_gate(&self) -> &SimStore {
        let is_closed = self.gate.is_closed.lock().unwrap();
        drop(self.gate.moved.wait_while(is_closed, |is_closed| *is_closed).unwrap());
        &self.store
    }
}

impl Store for SlowStore {
    fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.behind_gate().put(name, bytes)
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        self.behind_gate().get(name)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError> {
        self.behind_gate().list(folder)
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        self.behind_gate().delete(name)
    }
}
