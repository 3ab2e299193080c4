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
    /// One look at what is being restored, each under a name of its own with how far it is: for how
    /// many ms none of it has come further than ever, or `None` where there is nothing.
    pub fn look(
        &mut self,
        at: impl IntoIterator<Item = (String, i64)>,
        now_ms: i64,
    ) -> Option<i64> {
        let mut is_any = false;
        for (name, at) in at {
            is_any = true;
            if self.furthest.get(&name).is_none_or(|furthest| at > *furthest) {
                self.furthest.insert(name, at);
                self.came_on_ms = Some(now_ms);
            }
        }
        self.came_on_ms.filter(|_| is_any).map(|at| now_ms.saturating_sub(at).max(0))
    }

    /// Detection works: what is restored from now on is another matter.
    pub fn over(&mut self) {
        self.furthest.clear();
        self.came_on_ms = None;
    }
}

#[cfg(test)]
mod tests;
