//! Watches the instance itself: sends canaries, looks at what there is to see once a second, and
//! hands what it has to say to the notifier, which needs no broker for that.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::config::{CanaryPath, Config};
use crate::engine::{Decision, Plan};
use crate::event::{Canary, EventTime};
use crate::metrics::Metrics;
use crate::notify::{Alive, OwnNews};
use crate::rule::millis;
use crate::service::{Status, Totals};
use crate::stream::kafka::{CanaryLine, KafkaSettings};
use crate::stream::{Clock, Fleet, Phase, Source, SystemClock, WorkerView, lock};
use crate::watch::{Canaries, Facts, Limits, News, Pulse, Restores, Watch};

/// How long it is waited for canaries to come back before the clock is looked at.
const STEP: Duration = Duration::from_millis(100);
/// What is wrong with rule files has a decision of its own (R17).
const RULES: &str = "tidegate.rules";
/// Pause where no canary can be sent.
const PAUSE: Duration = Duration::from_secs(1);

/// The watch over a running instance.
pub(super) struct Sentry {
    watch: Watch,
    limits: Limits,
    restores: Restores,
    /// Where canaries are sent.
    pulse: Option<Arc<Pulse>>,
    /// Where there are receivers to tell.
    news: Option<UnboundedSender<OwnNews>>,
    /// Until it is known what stood before a restart.
    stood: Option<UnboundedReceiver<Vec<Decision>>>,
    events: String,
    faulty_rules: Option<String>,
    /// When canaries came through last, as of the last look.
    beaten_ms: Option<i64>,
    stop: Arc<AtomicBool>,
}

/// What the notifier needs of it.
pub(super) struct Reports {
    pub(super) news: UnboundedReceiver<OwnNews>,
    pub(super) stood: UnboundedSender<Vec<Decision>>,
    pub(super) alive: Alive,
}

impl Sentry {
    /// Starts to send canaries.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(
        config: &Config,
        kafka: &KafkaSettings,
        (fleet, status): (&Fleet, &Arc<Status>),
        metrics: &Metrics,
    ) -> std::io::Result<(Sentry, Reports)> {
        let stop: Arc<AtomicBool> = Arc::default();
        let settings = &config.watch;
        let lost_after_ms = millis(settings.canary_lost_after);
        let pulse = match config.canary_path() {
            CanaryPath::Off | CanaryPath::Auto => None,
            path => {
                let pulse = Arc::new(Pulse::new(now_ms()));
                let post = Post {
                    kafka: kafka.clone(),
                    instance: config.kafka.instance.clone(),
                    by: if path == CanaryPath::Events { Source::Events } else { Source::Partials },
                    canaries: Canaries::new(
                        format!("{}-{:08x}", config.kafka.instance, rand::random::<u32>()),
                        millis(settings.canary_interval),
                        lost_after_ms,
                    ),
                    views: fleet.view_handles(),
                    pulse: pulse.clone(),
                    metrics: metrics.clone(),
                    stop: stop.clone(),
                };
                std::thread::Builder::new().name("canaries".into()).spawn(move || post.serve())?;
                Some(pulse)
            }
        };
        let (news, heard) = unbounded_channel();
        let (stood, knows) = unbounded_channel();
        let limits = Limits {
            lost_after_ms,
            lag: settings.lag,
            lag_for_ms: millis(settings.lag_for),
            stalled_ms: millis(settings.restore_stalled),
            quarantine: settings.quarantine,
        };
        for name in Watch::NAMES {
            metrics.watch_alerts.with_label_values(&[name]).set(0);
        }
        let tells = settings.notices && !config.notify.receivers.is_empty();
        let alive = alive(pulse.clone(), status.clone(), lost_after_ms);
        let sentry = Sentry {
            watch: Watch::new(&config.kafka.instance, limits),
            limits,
            restores: Restores::default(),
            pulse,
            news: tells.then_some(news),
            stood: tells.then_some(knows),
            events: config.topics.events.clone(),
            faulty_rules: None,
            beaten_ms: None,
            stop,
        };
        Ok((sentry, Reports { news: heard, stood, alive }))
    }

    /// Whether it tells people by itself what is wrong with the rules.
    pub(super) fn tells(&self) -> bool {
        self.news.is_some()
    }

    pub(super) fn faulty_rules(&mut self, summary: &str) {
        self.faulty_rules = Some(summary.to_owned());
    }

    /// One look; what has begun or is over, for the topic of decisions, where it is told. What is
    /// wrong with the rules stands there already.
    pub(super) fn look(
        &mut self,
        status: &Status,
        in_force: &Plan,
        metrics: &Metrics,
    ) -> Vec<Decision> {
        if metrics.rules_reload_success.get() == 1 {
            self.faulty_rules = None;
        }
        let (readiness, views) = (status.readiness(), status.views());
        let now_ms = now_ms();
        let restore_ms = self.restores(&views, metrics, now_ms);
        let totals = Totals::of(metrics);
        let own = views.iter().flat_map(|view| &view.partitions);
        let facts = Facts {
            silent_ms: self.pulse.as_ref().map(|pulse| pulse.silent_ms(now_ms)),
            has_beaten: self.pulse.as_ref().is_some_and(|pulse| pulse.beaten_ms().is_some()),
            not_ready: (!readiness.ready).then_some(readiness.reason.as_str()),
            lag: own.filter(|own| own.topic == self.events).filter_map(|own| own.lag).sum(),
            consumed: totals.consumed,
            quarantined: totals.quarantined.saturating_add(totals.late),
            restore_ms,
            faulty_rules: self.faulty_rules.as_deref(),
            unreadable: metrics.control_unreadable.get(),
            control: views.iter().find_map(|view| view.control.as_deref()),
            ruleset: &in_force.rule_set().version,
        };
        let wall_ms = SystemClock.wall_us() / 1000;
        if !knows_what_stood(&mut self.stood, &mut self.watch, (now_ms, wall_ms)) {
            return Vec::new();
        }
        let news = self.watch.look(&facts, now_ms, wall_ms);
        if !news.is_empty() {
            let standing: Vec<&str> = self.watch.standing().collect();
            for name in Watch::NAMES {
                let stands = i64::from(standing.contains(&name));
                metrics.watch_alerts.with_label_values(&[name]).set(stands);
            }
        }
        let mut written = Vec::new();
        for one in news {
            let is_presumed = matches!(one, News::Presumed(_));
            let (decision, is_change) = match one {
                News::Stands(decision) | News::Presumed(decision) => (decision, false),
                News::Began(decision) => {
                    tracing::error!(rule = decision.rule, "{}", decision.summary);
                    (decision, true)
                }
                News::Over(decision) => {
                    tracing::info!("{}", decision.summary);
                    (decision, true)
                }
            };
            if let Some(news) = &self.news {
                if is_change && rule_of(&decision) != RULES {
                    written.push(Decision { alert: None, ..decision.clone() });
                }
                // Refused only where the notifier has ended, and with it the process.
                news.send(OwnNews { decision, is_presumed }).unwrap_or_default();
            }
        }
        written
    }

    /// Looks whether state is being restored, and that goes on; for how many ms it has not.
    fn restores(&mut self, views: &[WorkerView], metrics: &Metrics, now_ms: i64) -> Option<i64> {
        let all_work = views.iter().all(|view| view.state == Phase::Running);
        let beaten = self.pulse.as_ref().map(|pulse| pulse.beaten_ms());
        let is_over = match beaten {
            // Once it has been seen to work again.
            Some(beaten) => beaten > self.beaten_ms,
            None => all_work,
        };
        self.beaten_ms = beaten.flatten();
        if is_over {
            self.restores.over();
        }
        let at = views.iter().flat_map(restored_to);
        let restore_ms = self.restores.look(at, now_ms);
        let is_restoring = restore_ms.is_some_and(|ms| ms < self.limits.stalled_ms);
        metrics.restoring.set(is_restoring.into());
        if let Some(pulse) = &self.pulse {
            pulse.set_restoring(is_restoring);
        }
        restore_ms
    }
}

impl Drop for Sentry {
    /// The thread is not waited for: it may be waiting for a broker.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
    }
}

/// Takes over what stood before a restart, once the notifier has told; whether it has.
fn knows_what_stood(
    stood: &mut Option<UnboundedReceiver<Vec<Decision>>>,
    watch: &mut Watch,
    (now_ms, wall_ms): (i64, i64),
) -> bool {
    let Some(knows) = stood else { return true };
    match knows.try_recv() {
        Ok(decisions) => watch.resume(decisions, now_ms, wall_ms),
        Err(TryRecvError::Empty) => return false,
        // The notifier has ended.
        Err(TryRecvError::Disconnected) => {}
    }
    *stood = None;
    true
}

/// The rule that a decision is about.
fn rule_of(decision: &Decision) -> &str {
    decision.resolved.as_ref().map_or(&decision.rule, |resolved| &resolved.rule)
}

/// What a worker restores, and how far it is: the snapshots that it reads, and then the log.
fn restored_to(view: &WorkerView) -> Vec<(String, i64)> {
    let mut at = Vec::new();
    if let Some(loaded) = view.loading
        && matches!(view.state, Phase::Restoring | Phase::Running)
    {
        at.push((view.slot.clone(), i64::try_from(loaded).unwrap_or(i64::MAX)));
    }
    if view.state == Phase::Restoring {
        let partitions = view.partitions.iter();
        at.extend(partitions.map(|own| (format!("{}[{}]", own.topic, own.partition), own.next)));
    }
    at
}

/// Whether everything works, as far as can be known; and why not.
fn alive(pulse: Option<Arc<Pulse>>, status: Arc<Status>, lost_after_ms: i64) -> Alive {
    Arc::new(move || match &pulse {
        Some(pulse) if pulse.is_alive(now_ms(), lost_after_ms) => Ok(()),
        Some(pulse) if pulse.is_restoring() => Err("state is being restored".to_owned()),
        Some(_) => Err("no canary comes through".to_owned()),
        None => {
            let readiness = status.readiness();
            if readiness.ready { Ok(()) } else { Err(readiness.reason) }
        }
    })
}

/// Partitions that are to answer.
#[derive(Debug, PartialEq, Eq)]
struct Own {
    /// Whose state is there.
    partitions: Vec<i32>,
    /// There are no others.
    is_all: bool,
}

/// The partitions of the workers in a topic; `None` while one of these neither works nor restores.
fn owned(views: impl Iterator<Item: Deref<Target = WorkerView>>, topic: &str) -> Option<Own> {
    let mut own = Own { partitions: Vec::new(), is_all: true };
    for view in views {
        match view.state {
            // Between two polls it does nothing but read a snapshot.
            Phase::Running if view.loading.is_some() => own.is_all = false,
            Phase::Running => {}
            Phase::Restoring => own.is_all = false,
            Phase::Joining | Phase::Stuck | Phase::Stopped => return None,
        }
        if view.loading.is_none() {
            let there = view.partitions.iter().filter(|one| one.restored && one.topic == topic);
            own.partitions.extend(there.map(|one| one.partition));
        }
    }
    own.partitions.sort_unstable();
    Some(own)
}

/// The thread that sends canaries.
struct Post {
    kafka: KafkaSettings,
    instance: String,
    by: Source,
    canaries: Canaries,
    views: Vec<Arc<Mutex<WorkerView>>>,
    pulse: Arc<Pulse>,
    metrics: Metrics,
    stop: Arc<AtomicBool>,
}

impl Post {
    fn serve(mut self) {
        let mut line = None;
        while !self.stop.load(Ordering::Acquire) {
            let open = match line.take() {
                Some(open) => Ok(open),
                None => CanaryLine::open(&self.kafka, &self.instance, self.by),
            };
            let pause = match open.and_then(|mut open| self.turn(&mut open).map(|()| open)) {
                Ok(open) => {
                    line = Some(open);
                    if self.canaries.waits() { Duration::ZERO } else { STEP }
                }
                Err(reason) => {
                    tracing::debug!(reason, "canaries cannot be sent");
                    PAUSE
                }
            };
            std::thread::sleep(pause);
        }
    }

    /// Sends a round that is due, and hears what has come back.
    fn turn(&mut self, line: &mut CanaryLine) -> Result<(), String> {
        // While a worker cannot work nothing that comes back would prove anything.
        if let Some(own) = self.owned() {
            self.canaries.keep(&own.partitions);
            let is_due = self.canaries.is_due(now_ms());
            if is_due && own.partitions.is_empty() {
                self.canaries.skip(now_ms());
                self.through(own.is_all);
            } else if is_due {
                self.send(line, &own)?;
            }
        }
        if !self.canaries.waits() {
            line.rest();
            return Ok(());
        }
        // After an error of the reader, from the end on; what was missed is given up.
        line.listen()?;
        for id in line.hear(STEP) {
            let Some(back) = self.canaries.hear(&id, now_ms()) else { continue };
            #[expect(clippy::cast_precision_loss, reason = "seconds are floats in metrics")]
            self.metrics.canary_seconds.observe(back.took_ms as f64 / 1000.0);
            self.count("returned", 1);
            if back.is_whole {
                self.through(back.is_of_all);
            }
        }
        let lost = self.canaries.give_up(now_ms());
        if lost.is_empty() {
            return Ok(());
        }
        tracing::warn!(partitions = ?lost, "canaries were sent to these partitions and did not come through");
        self.count("lost", u64::try_from(lost.len()).unwrap_or(u64::MAX));
        // The topic of decisions may have other partitions than at the start.
        Err("canaries are lost".to_owned())
    }

    fn send(&mut self, line: &mut CanaryLine, own: &Own) -> Result<(), String> {
        line.listen()?;
        let ids = self.canaries.begin(&own.partitions, own.is_all, now_ms());
        let ts = EventTime(SystemClock.wall_us() / 1000);
        let canary = |(partition, id)| (partition, Canary::new(id, self.instance.clone(), ts));
        let canaries: Vec<(i32, Canary)> = ids.into_iter().map(canary).collect();
        self.count("sent", u64::try_from(canaries.len()).unwrap_or(u64::MAX));
        line.send(&canaries)
    }

    fn owned(&self) -> Option<Own> {
        let source = match self.by {
            Source::Events => &self.kafka.topics.events,
            Source::Partials => &self.kafka.topics.partials,
        };
        owned(self.views.iter().map(|view| lock(view)), source)
    }

    /// All of a round has come through.
    fn through(&self, is_of_all: bool) {
        let now_ms = now_ms();
        if !is_of_all {
            // Of the others something else is said, should they not come on.
            if self.pulse.is_restoring() {
                self.pulse.excuse(now_ms);
            }
            return;
        }
        self.pulse.beat(now_ms);
        #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch are a float here")]
        self.metrics.canary_timestamp_seconds.set(SystemClock.wall_us() as f64 / 1e6);
    }

    fn count(&self, outcome: &str, by: u64) {
        self.metrics.canaries.with_label_values(&[outcome]).inc_by(by);
    }
}

fn now_ms() -> i64 {
    SystemClock.now_us() / 1000
}

#[cfg(test)]
mod tests;
