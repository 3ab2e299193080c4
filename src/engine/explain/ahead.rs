//! What is to come of a cap.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::act::number_json;
use crate::engine::forecast::{Outlook, Rise};
use crate::engine::{Plan, State};
use crate::event::EventTime;

/// When a cap will be exceeded at the present rate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForecastAnswer {
    /// The next bound, not exceeded yet.
    pub bound: Value,
    /// What comes in a minute.
    pub per_minute: f64,
    /// When it is exceeded; `None` when the window ends before.
    pub at: Option<EventTime>,
    /// The same in words.
    pub told: String,
}

impl State {
    /// The present rate of a rule and key, and what it leads to. `None` where there is none.
    pub(super) fn ahead(
        &self,
        plan: &Plan,
        (rule, key): (usize, u32),
        now: i64,
    ) -> Option<(Rise, ForecastAnswer)> {
        let Outlook { bound, rise, at } = self.keyed.outlook(rule, key, now, plan)?;
        let rise = rise?;
        let bound = number_json(bound);
        let told = match at {
            Some(at) => format!("reaches {bound} {}", rise.told(at, &plan.calendar)),
            None => {
                format!("at {} a minute it does not reach {bound} in its window", rise.per_minute())
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "a rate is a float by nature")]
        let per_minute = rise.amount as f64 / rise.minutes as f64;
        Some((rise, ForecastAnswer { bound, per_minute, at: at.map(EventTime), told }))
    }
}
