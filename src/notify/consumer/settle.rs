//! What becomes of what was handed on, and how much may wait for it.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;

use super::{Duty, Notifier};
use crate::notify::delivery::Outcome;
use crate::notify::group::Member;
use crate::notify::letters::Letter;
use crate::notify::turn;

/// At some 2 kB a decision and receiver 100 MB: a receiver that is down for a day gets behind
/// the others only at more than 2,000 decisions an hour.
const OPEN_MAX: NonZeroUsize = NonZeroUsize::new(50_000).unwrap();

impl Notifier {
    /// Takes in what receivers and the writer of dead letters have reported.
    pub(super) fn settle(&mut self, duty: &mut Duty) {
        let Some(desk) = &mut duty.desk else { return };
        let now = self.clock.now_ms();
        while let Ok(report) = desk.reports.try_recv() {
            duty.changed = true;
            match report.outcome.clone() {
                Outcome::Recalled(at) => {
                    desk.recalled(report.notice, (report.attempts, at), now);
                    turn::settle(&mut desk.router, &mut self.progress);
                }
                Outcome::Delivered => {
                    for ticket in report.notice.tickets {
                        self.progress.settle(ticket, &report.notice.receiver);
                    }
                    if let Some(at) = report.written_at {
                        self.progress.logged(at);
                    }
                }
                Outcome::Dead(reason) => {
                    let mut offsets: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
                    let tickets = report.notice.tickets.iter();
                    for place in tickets.filter_map(|ticket| self.progress.place(*ticket)) {
                        offsets.entry(place.partition).or_default().push(place.offset);
                    }
                    self.letters.write(Letter::new(report, reason, offsets));
                }
            }
        }
        while let Some(written) = self.letters.next_written() {
            duty.changed = true;
            if let Some(own) = &mut self.own {
                own.given_up(&written, now);
            }
            for ticket in written.tickets {
                self.progress.settle(ticket, &written.receiver);
            }
        }
    }

    /// Whether so much waits that no more shall be read.
    pub(super) fn has_enough(&self) -> bool {
        self.progress.open() >= self.open_max()
    }

    fn open_max(&self) -> usize {
        self.settings.notify.open_max.unwrap_or(OPEN_MAX).get()
    }

    /// Stops reading while too much waits.
    pub(super) fn breathe(
        &mut self,
        member: &Arc<Member>,
        duty: &mut Duty,
    ) -> Result<(), KafkaError> {
        let (open, max) = (self.progress.open(), self.open_max());
        if duty.desk.is_some() && !duty.paused && open >= max {
            tracing::warn!(open, "too many decisions wait for their receivers; reading pauses");
            member.pause(&member.assignment()?)?;
            duty.paused = true;
        } else if duty.paused && open <= max - max.div_ceil(10) {
            tracing::info!(open, "reading of decisions goes on");
            member.resume(&member.assignment()?)?;
            duty.paused = false;
        }
        self.settings.metrics.waiting(open, self.progress.held(), duty.paused);
        Ok(())
    }
}
