//! Writes down what receivers have taken, as soon as they have, and reports it then (N4).
//!
//! In order, so that all before a record's place in the log has been reported once that record
//! has. A receiver is sent no more than [`WINDOW`] notices ahead of what is written; while Kafka
//! takes nothing for [`PATIENCE`] it is told on all the same, for what is told twice after a
//! crash does less harm than what is told late.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::Instant;

use super::delivery::{Outcome, Report};
use super::letters::producer;
use super::told::records;
use crate::stream::kafka::Quiet;

/// Notices of one receiver that may be on their way or not yet written down: at most so many may
/// be told again after a crash. A record takes some milliseconds, so that eight at a time are
/// more than a thousand a second.
pub(super) const WINDOW: usize = 8;
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a halt waits for what is being written.
const FLUSH: Duration = Duration::from_millis(400);

/// A report, and the place that its notice takes up until it is written down.
pub(super) type Sent = (Report, Option<OwnedSemaphorePermit>);

/// Where it is written; nowhere by default.
#[derive(Default)]
pub(super) struct Ledger {
    to: Option<(ClientConfig, String)>,
    /// Made when there is something to write: it keeps a thread busy for a hundredth of a core.
    producer: Option<FutureProducer<Quiet>>,
    waiting: VecDeque<Waiting>,
    /// Since Kafka has taken nothing for too long; nobody waits for it.
    is_lame: bool,
}

struct Waiting {
    report: Report,
    place: Option<OwnedSemaphorePermit>,
    since: Instant,
    records: VecDeque<DeliveryFuture>,
}

impl Ledger {
    pub(super) fn new(config: ClientConfig, topic: &str) -> Ledger {
        Ledger { to: Some((config, topic.to_owned())), ..Ledger::default() }
    }

    /// Until all who send are gone; the reports then come without waiting for long.
    pub(super) async fn run(
        mut self,
        mut sent: UnboundedReceiver<Sent>,
        reports: UnboundedSender<Report>,
    ) {
        loop {
            let impatient = self.impatient_at();
            tokio::select! {
                biased;
                report = next(&mut self.waiting, &mut self.is_lame),
                    if !self.waiting.is_empty() => tell(&reports, report),
                one = sent.recv() => match one {
                    Some(one) => self.take(one),
                    None => break,
                },
                () = tokio::time::sleep_until(impatient.unwrap_or_else(Instant::now)),
                    if impatient.is_some() => self.wait_no_more(),
            }
        }
        let flush = async {
            while !self.waiting.is_empty() {
                tell(&reports, next(&mut self.waiting, &mut self.is_lame).await);
            }
        };
        tokio::time::timeout(FLUSH, flush).await.unwrap_or_default();
        for waiting in self.waiting {
            tell(&reports, waiting.report);
        }
    }

    fn take(&mut self, (report, place): Sent) {
        let records = match report.outcome {
            Outcome::Delivered => self.write(&report).unwrap_or_else(|error| {
                tracing::warn!(%error, "what was told cannot be written down");
                self.is_lame = true;
                VecDeque::new()
            }),
            // Its letter is what counts.
            Outcome::Dead(_) | Outcome::Recalled(_) => VecDeque::new(),
        };
        let place = place.filter(|_| !self.is_lame && !records.is_empty());
        self.waiting.push_back(Waiting { report, place, since: Instant::now(), records });
    }

    fn write(&mut self, report: &Report) -> Result<VecDeque<DeliveryFuture>, KafkaError> {
        let Some((config, topic)) = &self.to else { return Ok(VecDeque::new()) };
        let texts = records(&report.notice);
        if texts.is_empty() {
            return Ok(VecDeque::new());
        }
        let producer = match &mut self.producer {
            Some(producer) if producer.client().fatal_error().is_none() => producer,
            none_good => none_good.insert(producer(config)?),
        };
        let write = |text: &String| {
            let record = FutureRecord::<str, String>::to(topic).partition(0).payload(text);
            producer.send_result(record).map_err(|(error, _)| error)
        };
        texts.iter().map(write).collect()
    }

    fn impatient_at(&self) -> Option<Instant> {
        let oldest = self.waiting.iter().find(|waiting| waiting.place.is_some())?;
        Some(oldest.since + PATIENCE)
    }

    fn wait_no_more(&mut self) {
        tracing::warn!("kafka does not take what was told; telling goes on, and may be repeated");
        self.is_lame = true;
        for waiting in &mut self.waiting {
            waiting.place = None;
        }
    }
}

/// The oldest report, once it is written down or cannot be. May be dropped and called again.
async fn next(waiting: &mut VecDeque<Waiting>, is_lame: &mut bool) -> Report {
    poll_fn(|ctx| {
        let Some(first) = waiting.front_mut() else { return std::task::Poll::Pending };
        while let Some(record) = first.records.front_mut() {
            let written = std::task::ready!(Pin::new(record).poll(ctx));
            first.records.pop_front();
            match written {
                Ok(Ok(at)) => {
                    *is_lame = false;
                    first.report.written_at = Some(at.offset);
                }
                Ok(Err((error, _))) => {
                    tracing::warn!(%error, "what was told is not written down");
                }
                // The producer is gone.
                Err(_) => {}
            }
        }
        waiting
            .pop_front()
            .map_or(std::task::Poll::Pending, |first| std::task::Poll::Ready(first.report))
    })
    .await
}

/// Refused only when the other side is gone, and with it whoever would commit.
fn tell(reports: &UnboundedSender<Report>, report: Report) {
    reports.send(report).unwrap_or_default();
}
