//! Whether restores go on. Pure.
//!
//! A restore that is begun again and again, and never comes further than it was, does not: how far
//! each has come is kept until detection works again.

use std::collections::BTreeMap;

/// How far restores have come since detection worked last.
#[derive(Debug, Default)]
pub struct Restores {
    /// By what is restored.
    furthest: BTreeMap<String, i64>,
    came_on_ms: Option<i64>,
}

impl Restores {
    /// One look at what is being restored, each under a name of its own with how far it is: whether
    /// there is any, and some of it has come further than ever within `patience_ms`.
    pub fn look(
        &mut self,
        at: impl IntoIterator<Item = (String, i64)>,
        now_ms: i64,
        patience_ms: i64,
    ) -> bool {
        let mut is_any = false;
        for (name, at) in at {
            is_any = true;
            if self.furthest.get(&name).is_none_or(|furthest| at > *furthest) {
                self.furthest.insert(name, at);
                self.came_on_ms = Some(now_ms);
            }
        }
        let came_on = |at: i64| now_ms.saturating_sub(at) < patience_ms;
        is_any && self.came_on_ms.is_some_and(came_on)
    }

    /// Detection works: what is restored from now on is another matter.
    pub fn over(&mut self) {
        self.furthest.clear();
        self.came_on_ms = None;
    }
}

#[cfg(test)]
mod tests;
