//! What an instance has to say of itself: by the same routes, and without a broker.
//!
//! A router and deliveries of their own, beside those of decisions from the log, which there are only
//! while the broker gives partitions. Nothing of it outlives the process: what still stands after a
//! restart is found again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;

use super::delivery::{Delivery, Outcome, Retry};
use super::desk::Desk;
use super::heart::Heart;
use super::letters::{Letter, Letters};
use super::mutes::{Muted, Mutes};
use super::notice::LINES;
use super::route::Router;
use super::run::NotifyRun;
use super::settings::SettingsError;
use crate::engine::Decision;

/// Whether the instance works, and why not.
pub type Alive = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Where the notifier hears of the instance that it belongs to.
pub struct OwnRun {
    /// Decisions about it; those that stand come again and again, under the same id.
    pub news: UnboundedReceiver<Decision>,
    pub alive: Alive,
}

impl std::fmt::Debug for OwnRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OwnRun").finish_non_exhaustive()
    }
}

/// Far from the tickets of decisions in the log, which count up from 0.
const FIRST_TICKET: u64 = 1 << 62;

pub(super) struct Own {
    desk: Desk,
    run: OwnRun,
    next_ticket: u64,
    heart: Option<Heart>,
}

impl Own {
    /// Where the instance has something to say. Must be called within a tokio runtime.
    pub(super) fn open(
        settings: &mut NotifyRun,
        retry: Retry,
        mutes: &Mutes,
    ) -> Result<Option<Own>, SettingsError> {
        let Some(run) = settings.own.take() else { return Ok(None) };
        let NotifyRun { notify, reveal, metrics, group, instance, .. } = settings;
        let names = (group.clone(), instance.clone());
        let heart = Heart::new(notify, names, metrics)?;
        let (delivery, reports) = Delivery::start(notify, *reveal, retry, metrics)?;
        let router = Router::of_instance(notify, mutes.clone());
        let desk = Desk { router, delivery: Some(delivery), reports, review_at: 0 };
        Ok(Some(Own { desk, run, next_ticket: FIRST_TICKET, heart }))
    }

    /// What is said about silences and acknowledgements.
    pub(super) fn hear(&mut self, news: &[Muted], mutes: &Mutes, now: i64) {
        self.desk.hear(news, mutes, now);
    }

    /// Takes in, tells and beats what is due. `is_member`: decisions of the log are read, too.
    pub(super) fn turn(&mut self, now: i64, is_member: bool, letters: &mut Letters) {
        let router = &mut self.desk.router;
        while let Ok(decision) = self.run.news.try_recv() {
            self.next_ticket += LINES;
            router.offer(&decision, self.next_ticket, now);
        }
        if let Some(delivery) = &self.desk.delivery
            && router.next_due_at().is_some_and(|at| at <= now)
        {
            for notice in router.due(now) {
                delivery.hand(notice);
            }
        }
        // Nobody keeps account of these.
        router.settled();
        router.deferred();
        self.desk.review(now);
        while let Ok(report) = self.desk.reports.try_recv() {
            match report.outcome.clone() {
                Outcome::Delivered => {}
                Outcome::Dead(reason) => {
                    letters.write(Letter::new(report, reason, BTreeMap::new()));
                }
                Outcome::Recalled(at) => {
                    self.desk.recalled(report.notice, (report.attempts, at), now);
                }
            }
        }
        if let Some(heart) = &mut self.heart {
            let alive = (self.run.alive)();
            heart.turn(now, alive.and_then(|()| is_reading(is_member)));
        }
    }

    /// Begins no further delivery and waits for those under way.
    pub(super) async fn halt(mut self, within: Duration) {
        if let Some(delivery) = self.desk.delivery.take() {
            delivery.halt(within).await;
        }
    }
}

fn is_reading(is_member: bool) -> Result<(), String> {
    let why = "the notifier does not read decisions";
    if is_member { Ok(()) } else { Err(why.to_owned()) }
}
