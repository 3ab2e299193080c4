//! What the notifier holds while partitions are assigned to it.

use tokio::sync::mpsc::UnboundedReceiver;

use super::delivery::{Delivery, Report};
use super::mutes::{Muted, Mutes, Silence};
use super::notice::Notice;
use super::route::Router;
use crate::engine::{Act, CHANGE_VERSION, Change};
use crate::event::EventTime;

/// What waits for people is judged anew this often at most.
const REVIEW_EVERY_MS: i64 = 1_000;

pub(super) struct Desk {
    pub(super) router: Router,
    /// Until it is halted.
    pub(super) delivery: Option<Delivery>,
    pub(super) reports: UnboundedReceiver<Report>,
    /// Not before this may what waits be asked back.
    pub(super) review_at: i64,
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

    /// Asks back what waits for receivers, where a mute has begun that may hold some of it.
    pub(super) fn review(&mut self, now: i64) {
        if now < self.review_at || !self.router.has_new_mutes(now) {
            return;
        }
        self.review_at = now.saturating_add(REVIEW_EVERY_MS);
        if let Some(delivery) = &self.delivery {
            delivery.recall();
        }
    }

    /// It has come back: what no mute holds goes again.
    pub(super) fn recalled(&mut self, notice: Notice, tried: (u32, i64), now: i64) {
        let rest = self.router.recall(notice, now);
        if let (Some(rest), Some(delivery)) = (rest, &self.delivery) {
            delivery.hand_back(rest, tried);
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
