//! What goes wrong again and again is told at intervals, with how often it was. Pure.

const EVERY_MS: i64 = 30_000;

#[derive(Debug, Default)]
pub(super) struct Trouble {
    told_at: Option<i64>,
    untold: u64,
}

impl Trouble {
    /// How often it has happened since it was last told, when it is time to tell it.
    pub(super) fn tell(&mut self, now_ms: i64) -> Option<u64> {
        self.untold += 1;
        if self.told_at.is_some_and(|at| now_ms - at < EVERY_MS) {
            return None;
        }
        self.told_at = Some(now_ms);
        Some(std::mem::take(&mut self.untold))
    }

    /// True when there was any since the last time.
    pub(super) fn over(&mut self) -> bool {
        self.untold = 0;
        self.told_at.take().is_some()
    }
}
