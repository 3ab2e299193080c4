//! What members have shown (R5), where they have a key: it stands in the key's row. What others have
//! shown stands [apart](crate::engine::seen), and so does that of a member whose key is forgotten.
//!
//! Who is remembered apart stays so for as long as that lasts. Where a member's values stand is no more
//! than a matter of room: both say the same of them.

use smallvec::SmallVec;

use crate::engine::keyed::Keyed;
use crate::engine::plan::Plan;
use crate::engine::rows::{At, Held};
use crate::engine::seen::{Seen, VALUES_MAX, Value, is_new, user_of};
use crate::engine::space::Key;
use crate::engine::table::Cells;

/// Values of a member in a row, which are few for most.
pub(crate) type Values = SmallVec<[Value; 4]>;

/// A member as it is looked for, by its key and apart from it, and most likely its place there.
#[derive(Debug)]
pub(crate) struct Member<'k, 'a> {
    pub(crate) key: &'k mut Key<'a>,
    pub(crate) hash: u128,
    pub(crate) guess: Option<u32>,
}

impl Plan {
    /// Of how many fields the keys of a space have what was shown.
    pub(crate) fn shown_in(&self, space: usize) -> usize {
        if self.user_space == Some(space) { self.new_fields.len() } else { 0 }
    }

    /// What was shown of a field before this matters no more: of a late event the same is
    /// remembered as of the latest one that is not.
    pub(crate) fn shown_since(&self, field: usize, watermark: i64) -> i64 {
        let within_ms = self.new_fields.get(field).map_or(0, |(_, within_ms)| *within_ms);
        watermark.saturating_sub(self.settings.allowed_lateness_ms.saturating_add(within_ms))
    }

    /// Keys that a state holds at most.
    pub(crate) fn keys_max(&self) -> usize {
        self.settings.max_keys.unwrap_or(usize::MAX)
    }
}

impl Cells {
    /// R5: not this value of the field since then, but another one.
    pub(crate) fn shows_new(
        &self,
        plan: &Plan,
        field: usize,
        member: &mut Member<'_, '_>,
        value: u64,
        since: i64,
    ) -> bool {
        let Some(seen) = self.seen.get(field) else { return false };
        let in_row = plan.user_space.and_then(|space| {
            let id = self.spaces[space].find(member.key)?;
            self.shown(space, id, field)
        });
        match in_row {
            Some(values) => is_new(values.into_iter(), value, since),
            None => seen.is_new(member.hash, value, since),
        }
    }

    /// What stands in the row of a key; `None` where nothing does.
    pub(crate) fn shown(&self, space: usize, id: u32, field: usize) -> Option<Values> {
        match self.spaces[space].shown_at(id, field) {
            At::Value(at) => Some(SmallVec::from_elem(self.spaces[space].value(at), 1)),
            At::Whole(place) => {
                let list = self.seen.get(field)?.lists.get(place)?;
                Some(SmallVec::from_slice(list))
            }
            At::Nowhere | At::Small(_) | At::Habit(_) => None,
        }
    }

    /// Has these values stand in the row of a key, in the place of those that do.
    pub(crate) fn set_shown(&mut self, space: usize, id: u32, field: usize, values: &[Value]) {
        self.take_shown(space, id, field);
        let (Some(seen), space) = (self.seen.get_mut(field), &mut self.spaces[space]) else {
            return;
        };
        let is_one = match values {
            [] => return,
            [value] => space.set_shown(id, field, Held::Value(*value)),
            _ => false,
        };
        seen.in_rows += 1;
        if !is_one {
            let place = seen.lists.put(values.to_vec());
            space.set_shown(id, field, Held::Whole(place));
        }
    }

    /// Takes out what stands in the row of a key.
    fn take_shown(&mut self, space: usize, id: u32, field: usize) -> Option<Values> {
        let values = self.shown(space, id, field)?;
        let held = self.spaces[space].take_shown(id, field);
        if let Some(seen) = self.seen.get_mut(field) {
            seen.in_rows -= 1;
            if let Some(Held::Whole(place)) = held {
                seen.lists.give_back(place as usize, Vec::new());
            }
        }
        Some(values)
    }

    /// A key is about to be forgotten: what its member has shown stands apart from now on. `false`
    /// where there is no room for that.
    pub(crate) fn set_apart(&mut self, space: usize, id: u32, plan: &Plan) -> bool {
        let mut has_room = true;
        for (field, (_, keep_ms)) in plan.new_fields.iter().enumerate() {
            let Some(values) = self.take_shown(space, id, field) else { continue };
            let member = user_of(self.spaces[space].text(id));
            let Some(seen) = self.seen.get_mut(field) else { continue };
            has_room = seen.restore(member, &values, *keep_ms, plan.keys_max()) && has_room;
        }
        has_room
    }

    /// Has everything stand apart that members have shown and that still matters.
    pub(crate) fn all_apart(&mut self, plan: &Plan, watermark: i64) {
        let Some(space) = plan.user_space else { return };
        for id in 0..u32::try_from(self.spaces[space].ids()).unwrap_or(u32::MAX) {
            for (field, (_, keep_ms)) in plan.new_fields.iter().enumerate() {
                let since = plan.shown_since(field, watermark);
                let Some(mut values) = self.take_shown(space, id, field) else { continue };
                values.retain(|(_, last)| *last >= since);
                let member = user_of(self.spaces[space].text(id));
                if let Some(seen) = self.seen.get_mut(field) {
                    seen.restore(member, &values, *keep_ms, usize::MAX);
                }
            }
        }
    }

    /// Forgets what all members have shown of a field.
    pub(crate) fn clear_shown(&mut self, field: usize, plan: &Plan) {
        if let Some(space) = plan.user_space {
            for id in 0..u32::try_from(self.spaces[space].ids()).unwrap_or(u32::MAX) {
                self.take_shown(space, id, field);
            }
        }
        self.seen.get_mut(field).into_iter().for_each(|seen| *seen = Seen::default());
    }
}

impl Keyed {
    /// Records an accepted event's value and time. Returns false when another value had to make room,
    /// or there is no room for another member: nothing is ever new of a member not remembered.
    pub(crate) fn remember(
        &mut self,
        plan: &Plan,
        field: usize,
        member: &mut Member<'_, '_>,
        (value, watermark): (Value, i64),
    ) -> bool {
        let cells = &mut self.cells;
        let (Some(seen), Some((_, keep_ms))) =
            (cells.seen.get_mut(field), plan.new_fields.get(field))
        else {
            return false;
        };
        let row = plan.user_space.and_then(|space| {
            let id = cells.spaces[space].find(member.key)?;
            let at = cells.spaces[space].seek_shown(id, field);
            cells.spaces[space].shows(field).then_some((space, id, at))
        });
        let known = (member.hash, member.guess);
        // Who is remembered apart stays there.
        let row = row.filter(|(.., at)| *at != At::Nowhere || !seen.knows(known));
        let Some((space, id, at)) = row else {
            return seen.record(known, value, *keep_ms, plan.keys_max());
        };
        self.keep_whole(space, id);
        let cells = &mut self.cells;
        match at {
            At::Value(at) => {
                let (hash, last) = cells.spaces[space].value(at);
                let newest = (hash, last.max(value.1));
                if hash == value.0 && cells.spaces[space].set_value(at, newest) {
                    return true;
                }
            }
            At::Whole(place) => {
                let list = cells.seen[field].lists.get_mut(place);
                let own = list.and_then(|list| list.iter_mut().find(|own| own.0 == value.0));
                if let Some((_, last)) = own {
                    *last = (*last).max(value.1);
                    return true;
                }
            }
            At::Nowhere | At::Small(_) | At::Habit(_) => {}
        }
        let mut values = cells.shown(space, id, field).unwrap_or_default();
        let has_room = add(&mut values, value, plan.shown_since(field, watermark));
        cells.set_shown(space, id, field, &values);
        has_room
    }
}

/// Adds a value to those of a member, and lets go of what was last seen before `since`; false when
/// another that matters had to make room.
fn add(values: &mut Values, value: Value, since: i64) -> bool {
    if let Some((_, last)) = values.iter_mut().find(|own| own.0 == value.0) {
        *last = (*last).max(value.1);
        return true;
    }
    values.retain(|own| own.1 >= since);
    let has_room = values.len() < VALUES_MAX;
    if !has_room
        && let Some(oldest) = values.iter().enumerate().min_by_key(|(_, own)| (own.1, own.0))
    {
        let oldest = oldest.0;
        values.swap_remove(oldest);
    }
    values.push(value);
    has_room
}

#[cfg(test)]
mod tests;
