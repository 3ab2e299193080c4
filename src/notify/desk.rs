//! What the notifier holds while partitions are assigned to it.

use tokio::sync::mpsc::UnboundedReceiver;

use super::delivery::{Delivery, Report};
use super::mutes::{Muted, Mutes, Silence};
use super::route::Router;
use crate::engine::{Act, CHANGE_VERSION, Change};
use crate::event::EventTime;

pub(super) struct Desk {
    pub(super) router: Router,
    /// Until it is halted.
    pub(super) delivery: Option<Delivery>,
    pub(super) reports: UnboundedReceiver<Report>,
}

impl Desk {
    /// What is said about silences and acknowledgements.
    pub(super) fn hear(&mut self, news: &[Muted], mutes: &Mutes, now: i64) {
        self.router.mutes.clone_from(mutes);
        for one in news {
            match one {
                Muted::Silences => self.router.silences_changed(now),
                Muted::Acknowledged(group, by) => self.router.acknowledged(group, by, now),
            }
        }
    }
}

/// That the time of a silence is over: the same whoever says so, and however often.
pub(super) fn ended(silence: &Silence, now: i64, instance: &str) -> Change {
    let (id, matcher) = (silence.id.clone(), silence.matcher.clone());
    Change {
        v: CHANGE_VERSION,
        id: format!("expired-{id}"),
        ts: EventTime(now),
        actor: format!("instance {instance}"),
        reason: silence.reason.clone(),
        act: Act::EndSilence { silence: id, matcher, expired: true },
    }
}
