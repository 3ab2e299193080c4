//! Where cells stand of rules that most keys have no cell of: only what is there takes room.
//!
//! With hundreds of rules a key has cells of those few that its events match. A row with a place for
//! each rule would be larger than all of its cells.

use crate::engine::habit::Habit;
use crate::engine::index::GreatIndex;
use crate::engine::rows::{At, Held, Spot, Stands};
use crate::engine::slab::{Pool, Slab};
use crate::engine::small::Small;

/// Counters by key and rule: small ones, and the places in their tables of others.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    index: GreatIndex,
    known: Slab<Known>,
    free: Vec<u32>,
    smalls: Pool<Option<Small>>,
    habits: Pool<Option<Habit>>,
}

/// Where a key's counter of the space's n-th rule stands.
#[derive(Debug, Clone, Copy)]
struct Known {
    id: u32,
    n: u32,
    place: u32,
}

/// Marks the place of a small counter here.
const SMALL: u32 = 1 << 31;
const HABIT: u32 = 1 << 30;

impl Places {
    #[inline]
    pub(crate) fn at(&self, id: u32, n: u32) -> At {
        self.find(id, n).map_or(At::Nowhere, |at| place(self.known[at as usize].place))
    }

    pub(crate) fn held(&self, id: u32, n: u32) -> Option<Held> {
        match self.at(id, n) {
            At::Whole(place) => u32::try_from(place).ok().map(Held::Whole),
            At::Small(spot) => match spot.stands() {
                Stands::Apart(at) => self.small(at).map(Held::Small),
                Stands::Row { .. } => None,
            },
            At::Habit(spot) => match spot.stands() {
                Stands::Apart(at) => self.habit(at).map(Held::Habit),
                Stands::Row { .. } => None,
            },
            At::Value(_) | At::Nowhere => None,
        }
    }

    pub(crate) fn small(&self, at: usize) -> Option<Small> {
        *self.smalls.get(at)?
    }

    pub(crate) fn habit(&self, at: usize) -> Option<Habit> {
        *self.habits.get(at)?
    }

    pub(crate) fn small_mut(&mut self, at: usize) -> Option<&mut Small> {
        self.smalls.get_mut(at)?.as_mut()
    }

    pub(crate) fn habit_mut(&mut self, at: usize) -> Option<&mut Habit> {
        self.habits.get_mut(at)?.as_mut()
    }

    /// Brings near where a place would be noted.
    pub(crate) fn near(&self, id: u32, n: u32) {
        self.index.near(hash(id, n));
    }

    /// Has this counter of a key and rule, in the place of another if there is one; false, and
    /// nothing is done, for what is no counter of a rule.
    pub(crate) fn set(&mut self, id: u32, n: u32, held: Held) -> bool {
        let place = match held {
            Held::Whole(place) => place,
            Held::Value(_) => return false,
            Held::Small(small) => self.smalls.put(Some(small)) | SMALL,
            Held::Habit(habit) => self.habits.put(Some(habit)) | SMALL | HABIT,
        };
        self.take(id, n);
        let at = self.known.put(&mut self.free, Known { id, n, place });
        self.index.insert(hash(id, n), at);
        true
    }

    pub(crate) fn take(&mut self, id: u32, n: u32) -> Option<Held> {
        let held = self.held(id, n)?;
        let at = self.find(id, n)?;
        self.index.remove(hash(id, n), at);
        self.free.push(at);
        let place = self.known[at as usize].place;
        let at = (place & !(SMALL | HABIT)) as usize;
        match (place & SMALL != 0, place & HABIT != 0) {
            (true, false) => self.smalls.give_back(at, None),
            (true, true) => self.habits.give_back(at, None),
            (false, _) => {}
        }
        Some(held)
    }

    /// The keys of a rule.
    pub(crate) fn keys(&self, n: u32) -> impl Iterator<Item = u32> {
        self.known().filter(move |known| known.n == n).map(|known| known.id)
    }

    fn known(&self) -> impl Iterator<Item = &Known> {
        let known = (0_u32..).zip(self.known.iter());
        known.filter(|(at, one)| self.find(one.id, one.n) == Some(*at)).map(|(_, one)| one)
    }

    /// Forgets the rules from the n-th on.
    pub(crate) fn cut(&mut self, n: u32) {
        let mut kept = Places::default();
        for one in self.known().filter(|one| one.n < n) {
            if let Some(held) = self.held(one.id, one.n) {
                kept.set(one.id, one.n, held);
            }
        }
        *self = kept;
    }

    /// Bytes on the heap.
    pub(crate) fn bytes(&self) -> usize {
        let small = self.smalls.bytes() + self.habits.bytes();
        let free = self.free.capacity() * size_of::<u32>();
        self.index.bytes() + self.known.bytes() + small + free
    }

    fn find(&self, id: u32, n: u32) -> Option<u32> {
        let is = |at: u32| {
            let known = &self.known[at as usize];
            known.id == id && known.n == n
        };
        self.index.find(hash(id, n), is)
    }
}

/// What a noted place says.
#[inline]
fn place(place: u32) -> At {
    let spot = Spot::apart(place & !(SMALL | HABIT));
    match (place & SMALL != 0, place & HABIT != 0) {
        (true, false) => At::Small(spot),
        (true, true) => At::Habit(spot),
        (false, _) => At::Whole(place as usize),
    }
}

/// Keys are numbered, and so are rules: a multiplication spreads both.
fn hash(id: u32, n: u32) -> u32 {
    ((u64::from(id) << 32 | u64::from(n)).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 32) as u32
}

#[cfg(test)]
mod tests;
