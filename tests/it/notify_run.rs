//! The notifier as it runs: decisions in a real Kafka, receivers on the loopback.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::notify::{NotifyError, NotifyMetrics, NotifyRun, OwnRun, run, signature};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::broker::{self, Broker, End, PATIENCE};
use crate::notify::{Endpoint, SMTP_PASSWORD, Smtp, decision};

/// What a process of its own is to do.
const CHILD: &str = "TIDEGATE_TEST_NOTIFIER";

/// Topics and a group of one's own.
pub(crate) struct Stage<'a> {
    broker: &'a Broker,
    pub(crate) decisions: String,
    /// Decisions may be written once more.
    may_repeat: bool,
    pub(crate) control: Option<String>,
    dead: String,
    told: String,
    pub(crate) standing: String,
    group: String,
}

/// A notifier in this process.
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), NotifyError>>,
    metrics: NotifyMetrics,
    registry: prometheus::Registry,
}

impl Stage<'_> {
    pub(crate) fn new(broker: &Broker, partitions: i32) -> Stage<'_> {
        Stage {
            decisions: broker.topic("decisions", partitions),
            dead: broker.topic("dead", 1),
            told: broker.topic("told", 1),
            standing: broker.topic("standing", 1),
            group: broker::unique("group"),
            may_repeat: false,
            control: None,
            broker,
        }
    }

    /// With a topic of silences.
    pub(crate) fn with_control(self) -> Self {
        Stage { control: Some(self.broker.topic("control", 1)), ..self }
    }

    /// `notify` as in a configuration.
    pub(crate) fn start(&self, notify: &Value) -> Running {
        self.start_as("host-a", notify)
    }

    fn start_as(&self, instance: &str, notify: &Value) -> Running {
        self.start_with(instance, notify, None)
    }

    /// With what the instance has to say of itself.
    pub(crate) fn start_with(
        &self,
        instance: &str,
        notify: &Value,
        own: Option<OwnRun>,
    ) -> Running {
        let (stop, stopped) = watch::channel(false);
        let registry = prometheus::Registry::new();
        let metrics = NotifyMetrics::new(&registry).unwrap();
        let settings = NotifyRun {
            brokers: self.broker.address().to_owned(),
            group: self.group.clone(),
            instance: instance.to_owned(),
            properties: BTreeMap::from([("reconnect.backoff.max.ms".into(), "500".into())]),
            decisions_topic: self.decisions.clone(),
            may_repeat: self.may_repeat,
            dead_topic: self.dead.clone(),
            told_topic: self.told.clone(),
            standing_topic: self.standing.clone(),
            control_topic: self.control.clone(),
            publish: None,
            notify: serde_json::from_value(notify.clone()).unwrap(),
            reveal: false,
            metrics: metrics.clone(),
            own,
            leaving: Arc::default(),
        };
        Running { stop, task: tokio::spawn(run(settings, stopped)), metrics, registry }
    }

    /// The same in a process of its own, which can be killed.
    pub(crate) fn spawn(&self, notify: &Value) -> Child {
        let Stage { decisions, dead, told, standing, group, .. } = self;
        let names = [self.broker.address(), decisions, dead, told, standing, group];
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "notify_run::the_process_of_its_own", "--nocapture"])
            .env(CHILD, json!([names, notify]).to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    }

    pub(crate) fn decide(&self, ids: impl IntoIterator<Item = u32>) {
        self.broker.produce(&self.decisions, &records(ids));
    }

    /// Offsets and metadata, as the next start will find them.
    pub(crate) fn committed(&self) -> BTreeMap<i32, (i64, String)> {
        self.broker.committed_with_metadata(&format!("{}.notify", self.group), &self.decisions)
    }

    pub(crate) async fn until_all_is_committed(&self) {
        let ends = self.broker.ends(&self.decisions);
        until("all is committed", || {
            let committed = self.committed();
            ends.iter().all(|(partition, end)| {
                // The marker of a transaction may stand between the last record and the end.
                *end == 0 || committed.get(partition).is_some_and(|(at, _)| *at >= *end - 1)
            })
        })
        .await;
    }
}

impl Running {
    pub(crate) async fn end(self) {
        self.stop.send(true).unwrap();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }

    pub(crate) fn gauge(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        family.get_metric()[0].get_gauge().get_value()
    }
}

pub(crate) fn id(n: u32) -> String {
    format!("{n:032x}")
}

fn records(ids: impl IntoIterator<Item = u32>) -> Vec<(String, String)> {
    let text = |n| serde_json::to_string(&decision(&id(n))).unwrap();
    ids.into_iter().map(|n| (format!("u-{n}"), text(n))).collect()
}

pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert!(waited.await.is_ok(), "never came: {what}");
}

/// The decisions a webhook was sent, with how often.
fn told(endpoint: &Endpoint) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for (_, headers, _) in endpoint.seen() {
        *told.entry(headers["idempotency-key"].to_str().unwrap().to_owned()).or_default() += 1;
    }
    told
}

fn once(ids: impl IntoIterator<Item = u32>) -> BTreeMap<String, usize> {
    ids.into_iter().map(|n| (id(n), 1)).collect()
}

/// How many decisions a notice speaks of, by its title: one, and those that it counts.
pub(crate) fn spoken_of(title: &str) -> usize {
    let Some((first, _)) = title.rsplit_once(" more") else { return 1 };
    let count = first.rsplit(' ').next().unwrap_or_default().replace(',', "");
    1 + count.parse::<usize>().unwrap_or(0)
}

/// How many decisions a chat was told.
fn chat(endpoint: &Endpoint) -> usize {
    let title = |body: &[u8]| {
        let body: Value = serde_json::from_slice(body).unwrap();
        body["text"].as_str().unwrap().to_owned()
    };
    endpoint.seen().iter().map(|(_, _, body)| spoken_of(&title(body))).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn committed_decisions_arrive_signed_and_aborted_ones_do_not() {
    let Some(broker) = broker::shared() else { return };
    let stage = Stage::new(broker, 3);
    let (endpoint, at) = Endpoint::start(&[]).await;
    let running = stage.start(&json!({
        "receivers": { "hook": { "webhook": { "url": format!("http://{at}/x"), "secret": "s" } } },
        "default": ["hook"],
    }));
    broker.transact(&stage.decisions, &records(100..110), End::Abort);
    broker.transact(&stage.decisions, &records(0..10), End::Commit);
    broker.produce(&stage.decisions, &[("k", "no decision"), ("k", "{\"id\":1}")]);
    broker.transact(&stage.decisions, &records(10..20), End::Commit);
    until("twenty requests", || endpoint.seen().len() >= 20).await;
    stage.until_all_is_committed().await;
    assert_eq!(told(&endpoint), once(0..20));
    for (path, headers, body) in endpoint.seen() {
        assert_eq!(path, "/x");
        assert_eq!(headers["tidegate-signature"], signature(b"s", &body).as_str());
        let text = String::from_utf8(body).unwrap();
        assert!(text.contains("u-1***") && !text.contains("u-1001"), "{text}");
    }
    let unreadable = running.registry.gather();
    let unreadable =
        unreadable.iter().find(|family| family.name() == "tidegate_notices_unreadable_total");
    assert!((unreadable.unwrap().get_metric()[0].get_counter().get_value() - 2.0).abs() < 0.1);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_is_down_delays_no_other_and_is_told_when_it_is_back() {
    let Some(broker) = broker::shared() else { return };
    let stage = Stage::new(broker, 3);
    let (good, good_at) = Endpoint::start(&[]).await;
    let (late, late_at) = Endpoint::start(&[]).await;
    late.set_down(true);
    let running = stage.start(&json!({
        "receivers": { "good": { "webhook": { "url": format!("http://{good_at}/") } },
                       "late": { "webhook": { "url": format!("http://{late_at}/") } } },
        "default": ["good", "late"],
    }));
    stage.decide(0..50);
    until("the good one knows all", || good.seen().len() >= 50).await;
    until("the other has failed", || running.metrics.value("late", "failed") > 0).await;
    assert!(late.seen().is_empty());
    assert!((running.gauge("tidegate_notices_open") - 50.0).abs() < 0.1);
    late.set_down(false);
    until("the late one knows all", || late.seen().len() >= 50).await;
    stage.until_all_is_committed().await;
    assert_eq!((told(&good), told(&late)), (once(0..50), once(0..50)));
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_nothing_and_repeats_nothing() {
    let Some(broker) = broker::shared() else { return };
    let stage = Stage::new(broker, 1);
    let (hook, hook_at) = Endpoint::start(&[]).await;
    let (people, people_at) = Endpoint::start(&[]).await;
    people.set_down(true);
    let notify = json!({
        "receivers": { "hook": { "webhook": { "url": format!("http://{hook_at}/") } },
                       "chat": { "slack": { "url": format!("http://{people_at}/") } } },
        "routes": [{ "to": ["hook", "chat"], "group_wait": "100ms", "group_interval": "100ms" }],
    });
    let running = stage.start(&notify);
    stage.decide(0..20);
    until("the hook knows all", || hook.seen().len() >= 20).await;
    // Written while it runs, so that a crash finds it as well.
    let written = r#"{"v":1,"next":20,"pending":{"chat":[0,19]},"log":20}"#;
    until("who knows what is written", || {
        stage.committed().get(&0) == Some(&(0, written.to_owned()))
    })
    .await;
    running.end().await;
    stage.decide(20..30);
    let running = stage.start(&notify);
    until("the hook knows the new ones", || hook.seen().len() >= 30).await;
    running.end().await;
    assert_eq!(told(&hook), once(0..30));
    people.set_down(false);
    let running = stage.start(&notify);
    stage.decide([30]);
    until("the chat knows all", || chat(&people) >= 31).await;
    stage.until_all_is_committed().await;
    assert_eq!(told(&hook), once(0..31));
    assert_eq!(chat(&people), 31);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_is_written_again_is_told_once() {
    let Some(broker) = broker::shared() else { return };
    let stage = Stage { may_repeat: true, ..Stage::new(broker, 3) };
    let (endpoint, at) = Endpoint::start(&[]).await;
    let notify = json!({
        "receivers": { "hook": { "webhook": { "url": format!("http://{at}/x"), "secret": "s" } } },
        "default": ["hook"],
    });
    let running = stage.start(&notify);
    stage.decide(0..10);
    until("ten requests", || endpoint.seen().len() >= 10).await;
    stage.decide(5..12);
    until("two more", || endpoint.seen().len() >= 12).await;
    stage.until_all_is_committed().await;
    running.end().await;
    // All of that lies before what is committed, and the next start knows of it.
    stage.decide(8..14);
    let running = stage.start(&notify);
    until("two more", || endpoint.seen().len() >= 14).await;
    stage.until_all_is_committed().await;
    running.end().await;
    assert_eq!(told(&endpoint), once(0..14));
}

/// No test, but the notifier that one of them starts and kills.
#[tokio::test(flavor = "multi_thread")]
async fn the_process_of_its_own() {
    let Ok(task) = std::env::var(CHILD) else { return };
    let (names, notify): ([String; 6], _) = serde_json::from_str(&task).unwrap();
    let [brokers, decisions_topic, dead_topic, told_topic, standing_topic, group] = names;
    let (stop, stopped) = watch::channel(false);
    let settings = NotifyRun {
        brokers,
        group,
        instance: "host-a".to_owned(),
        properties: BTreeMap::new(),
        decisions_topic,
        may_repeat: false,
        dead_topic,
        told_topic,
        standing_topic,
        control_topic: None,
        publish: None,
        notify,
        reveal: false,
        metrics: NotifyMetrics::new(&prometheus::Registry::new()).unwrap(),
        own: None,
        leaving: Arc::default(),
    };
    // Ends with the process that started it, should that not kill it.
    std::thread::spawn(move || {
        std::io::stdin().read_line(&mut String::new()).unwrap();
        stop.send(true).unwrap();
    });
    run(settings, stopped).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_loses_nothing_and_repeats_nothing_that_was_committed() {
    let Some(broker) = broker::shared() else { return };
    let stage = Stage::new(broker, 1);
    let (hook, hook_at) = Endpoint::start(&[]).await;
    let (people, people_at) = Endpoint::start(&[]).await;
    people.set_down(true);
    let notify = json!({
        "receivers": { "hook": { "webhook": { "url": format!("http://{hook_at}/") } },
                       "chat": { "slack": { "url": format!("http://{people_at}/") } } },
        "routes": [{ "to": ["hook", "chat"], "group_wait": "100ms", "group_interval": "100ms" }],
    });
    let mut expected = 0;
    for round in 1..=3 {
        let mut child = stage.spawn(&notify);
        stage.decide(expected..expected + 20);
        expected += 20;
        let ids = usize::try_from(expected).unwrap();
        until("the hook knows all", || hook.seen().len() >= ids).await;
        let last = expected - 1;
        let written = format!(
            r#"{{"v":1,"next":{expected},"pending":{{"chat":[0,{last}]}},"log":{expected}}}"#
        );
        until("who knows what is written", || {
            stage.committed().get(&0).is_some_and(|(_, metadata)| *metadata == written)
        })
        .await;
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(told(&hook), once(0..expected), "round {round}");
    }
    people.set_down(false);
    let running = stage.start(&notify);
    stage.until_all_is_committed().await;
    running.end().await;
    assert_eq!(told(&hook), once(0..expected));
    assert_eq!(chat(&people), usize::try_from(expected).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_instance_takes_over_partitions_without_telling_again() {
    let Some(broker) = broker::shared() else { return };
    let stage = Stage::new(broker, 4);
    let (hook, hook_at) = Endpoint::start(&[]).await;
    let (late, late_at) = Endpoint::start(&[]).await;
    late.set_down(true);
    let notify = json!({
        "receivers": { "hook": { "webhook": { "url": format!("http://{hook_at}/") } },
                       "late": { "webhook": { "url": format!("http://{late_at}/") } } },
        "default": ["hook", "late"],
    });
    let first = stage.start(&notify);
    stage.decide(0..40);
    until("the hook knows all", || hook.seen().len() >= 40).await;
    let second = stage.start_as("host-b", &notify);
    let open = "tidegate_notices_open";
    until("both have what is open", || {
        second.gauge(open) > 0.5 && (first.gauge(open) + second.gauge(open) - 40.0).abs() < 0.1
    })
    .await;
    late.set_down(false);
    stage.decide(40..80);
    until("all are told", || hook.seen().len() >= 80 && late.seen().len() >= 80).await;
    stage.until_all_is_committed().await;
    assert_eq!((told(&hook), told(&late)), (once(0..80), once(0..80)));
    first.end().await;
    second.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_given_up_is_a_dead_letter_before_it_is_settled() {
    let Some(broker) = broker::shared() else { return };
    let stage = Stage::new(broker, 1);
    let (down, at) = Endpoint::start(&[]).await;
    down.set_down(true);
    let running = stage.start(&json!({
        "receivers": { "hook": { "webhook": { "url": format!("http://{at}/") } } },
        "default": ["hook"],
        "give_up": "1500ms",
    }));
    stage.decide(0..3);
    let letters = broker.read_until(&stage.dead, PATIENCE, |letters| letters.len() >= 3);
    stage.until_all_is_committed().await;
    running.end().await;
    let mut decisions = BTreeSet::new();
    for letter in letters {
        assert_eq!(letter.key.as_deref(), Some("hook"));
        let letter: Value = serde_json::from_str(&letter.value).unwrap();
        assert_eq!(letter["receiver"], "hook");
        assert!(letter["reason"].as_str().unwrap().contains("503"), "{letter}");
        assert!(letter["attempts"].is_u64() && letter["offsets"]["0"].is_array(), "{letter}");
        let listed = letter["decisions"].as_array().unwrap();
        assert_eq!(listed[0]["key"]["user"], "u-1001");
        decisions.extend(listed.iter().map(|d| d["id"].as_str().unwrap().to_owned()));
    }
    assert_eq!(decisions, once(0..3).into_keys().collect());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_few_notices_that_account_for_all() {
    let Some(broker) = broker::shared() else { return };
    let stage = Stage::new(broker, 3);
    let folder = tempfile::tempdir().unwrap();
    stage.decide(0..1_000);
    let running = stage.start(&json!({
        "receivers": { "demo": { "outbox": { "folder": folder.path() } } },
        "routes": [{ "to": ["demo"], "group_wait": "2s", "group_interval": "2s" }],
    }));
    stage.until_all_is_committed().await;
    running.end().await;
    let entries = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let mails: Vec<String> = entries
        .filter(|path| path.extension().is_some_and(|ending| ending == "eml"))
        .map(|path| std::fs::read_to_string(path).unwrap().replace('\r', ""))
        .collect();
    assert!(mails.len() < 10, "{} mails", mails.len());
    let subject = |mail: &String| {
        let (head, _) = mail.split_once("\n\n").unwrap();
        let lines = head.replace("\n ", " ");
        lines.lines().find_map(|line| line.strip_prefix("Subject: ").map(str::to_owned)).unwrap()
    };
    assert_eq!(mails.iter().map(|mail| spoken_of(&subject(mail))).sum::<usize>(), 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_pauses_while_too_much_waits_and_goes_on() {
    let Some(broker) = broker::shared() else { return };
    let stage = Stage::new(broker, 3);
    let (hook, at) = Endpoint::start(&[]).await;
    hook.set_down(true);
    let running = stage.start(&json!({
        "receivers": { "hook": { "webhook": { "url": format!("http://{at}/") } } },
        "default": ["hook"],
        "open_max": 20,
    }));
    stage.decide(0..500);
    until("reading pauses", || running.gauge("tidegate_notices_paused") > 0.5).await;
    hook.set_down(false);
    until("all are told", || hook.seen().len() >= 500).await;
    stage.until_all_is_committed().await;
    assert_eq!(told(&hook), once(0..500));
    assert!(running.gauge("tidegate_notices_paused") < 0.5);
    running.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_tells_of_decisions_in_kafka() {
    let Some(broker) = broker::shared() else { return };
    let Some(smtp) = Smtp::start("tls").await else { return };
    let stage = Stage::new(broker, 1);
    let running = stage.start(&json!({
        "receivers": { "mail": smtp.receiver("tls", SMTP_PASSWORD, true) },
        "routes": [{ "match": { "severity": ["critical"] }, "to": ["mail"], "group_wait": "1s" }],
    }));
    broker.transact(&stage.decisions, &records(0..3), End::Commit);
    stage.until_all_is_committed().await;
    running.end().await;
    let mail = smtp.mail().await;
    assert!(mail.contains("Subject: [critical] cap: user u-1*** and 2 more"), "{mail}");
    assert!(!mail.contains("u-1001"), "{mail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_goes_away_ends_nothing_and_repeats_nothing() {
    let Some(broker) = broker::private(&[]) else { return };
    let (hook, hook_at) = Endpoint::start(&[]).await;
    let (late, late_at) = Endpoint::start(&[]).await;
    late.set_down(true);
    let notify = json!({
        "receivers": { "hook": { "webhook": { "url": format!("http://{hook_at}/") } },
                       "late": { "webhook": { "url": format!("http://{late_at}/") } } },
        "default": ["hook", "late"],
    });
    let stage = Stage::new(&broker, 1);
    // Started while there is no broker.
    broker.stop();
    let running = stage.start(&notify);
    broker.start();
    stage.decide(0..5);
    until("the hook knows the first", || hook.seen().len() >= 5).await;
    broker.stop();
    late.set_down(false);
    until("the late one is told without a broker", || late.seen().len() >= 5).await;
    broker.start();
    stage.decide(5..10);
    until("both know all", || hook.seen().len() >= 10 && late.seen().len() >= 10).await;
    stage.until_all_is_committed().await;
    assert_eq!((told(&hook), told(&late)), (once(0..10), once(0..10)));
    // A stop does not wait for a broker.
    broker.stop();
    running.end().await;
}
