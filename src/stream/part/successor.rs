//! A state that is made from the log for a rule set that counts otherwise, and takes the place of
//! the one that went on meanwhile (R18).

use crate::stream::control::{Applied, Journaled, begin};
use crate::stream::part::{Part, Workbench};
use crate::stream::plans::Sets;

impl Part {
    /// Folds the log alone, without output, until it takes over.
    pub(crate) fn prepare(&mut self, history: Vec<Journaled>, sets: Sets) {
        self.emit_from = i64::MAX;
        self.restored = false;
        self.remember(history, sets);
    }

    /// What this state took in since the last call.
    pub(crate) fn news(&mut self) -> (Vec<Journaled>, Sets) {
        (std::mem::take(&mut self.since), std::mem::take(&mut self.since_sets))
    }

    /// What another state of the partition has taken in since.
    pub(crate) fn hear(&mut self, (entries, sets): (Vec<Journaled>, Sets)) {
        self.history.extend(entries);
        self.sets.extend(sets);
    }

    /// Whether it can take over from a state whose outputs are all committed.
    pub(crate) fn is_in_step_with(&self, other: &Part) -> bool {
        let is_taken_in = |entry: &Journaled| entry.offset <= self.next;
        self.next == other.next && self.history.iter().all(is_taken_in)
    }

    /// Takes the place of a state with which it is in step. The next transaction says so.
    pub(crate) fn take_over(&mut self, other: &Part, bench: &mut Workbench) {
        self.catch_up(bench);
        let holds = other.state.holds();
        let applied = Applied::at(self.state.origin(), self.next, bench.partitions);
        let set = (self.reign.begun_at, self.reign.begun_as.as_str());
        let armed = (Some(holds.clone()), self.reign.armed());
        bench.outbox.extend(begin(&applied, (other.controlled, set), armed));
        self.state.replace_holds(holds);
        self.reign.take_over();
        self.controlled = other.controlled;
        self.changes_open = 1;
        (self.emit_from, self.committed) = (self.next, other.committed);
        (self.at_end, self.last_input_us) = (other.at_end, other.last_input_us);
        (self.told_idle, self.told_us) = (other.told_idle, other.told_us);
        self.finish_restore();
    }
}
