//! Keys of forms that have few, which many events share: each once.

use crate::engine::plan::Plan;
use crate::engine::posts::{FEW, FEW_MAX, LACKING, PostedEvent, Posts};
use crate::engine::space::{Key, is_same};

/// The few keys of posts and of the events that were posted.
#[derive(Debug)]
pub(super) struct Few<'a> {
    /// By number.
    pub(super) keys: Vec<Key<'a>>,
    spaces: Vec<usize>,
}

impl<'a> Few<'a> {
    /// Those that entries name.
    pub(super) fn of(posts: &'a Posts) -> Few<'a> {
        Few {
            keys: posts.few.iter().map(|key| key.key(posts)).collect(),
            spaces: posts.few.iter().map(|key| key.space as usize).collect(),
        }
    }

    /// The number of a key of an event, marked as of one of the few; [`LACKING`] for one that is not
    /// among them.
    pub(super) fn name(&mut self, plan: &Plan, space: usize, posted: &PostedEvent<'a, '_>) -> u32 {
        if !plan.key_forms[space].has_few() {
            return LACKING;
        }
        let Some(key) = posted.key(plan, space) else { return LACKING };
        let is_it = |(known, of): (&Key<'_>, &usize)| {
            known.hash == key.hash && *of == space && is_same(known.text, key.text)
        };
        let at = self.keys.iter().zip(&self.spaces).position(is_it).unwrap_or(self.keys.len());
        if at == FEW_MAX {
            return LACKING;
        }
        if at == self.keys.len() {
            self.keys.push(key);
            self.spaces.push(space);
        }
        u32::try_from(at).map_or(LACKING, |at| at | FEW)
    }
}
