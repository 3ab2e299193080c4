//! The notifier in trouble, with a real Kafka: killed at random with receivers that come and go,
//! a storm of decisions, and silences that outlive the process.
//!
//! `TIDEGATE_NOTIFY_SECONDS=600` makes the first one long, `TIDEGATE_NOTIFY_STORM=100000` the
//! second one large.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router as Http;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tidegate::engine::{Act, Change, Matcher};
use tidegate::event::EventTime;

use crate::broker::{self, PATIENCE};
use crate::notify::{Endpoint, decision};
use crate::notify_run::{Stage, id, spoken_of, until};
use crate::process::Instance;
use crate::run::{Setup, event};

/// Notices of a receiver that may be on their way, or taken and not yet written down, at a kill.
const WINDOW: usize = 8;

/// A webhook that remembers when what came, and how it answered.
#[derive(Clone, Default)]
struct Shaky {
    seen: Arc<Mutex<Vec<(String, Instant, bool)>>>,
    down: Arc<Mutex<bool>>,
    random: Arc<Mutex<Option<ChaCha8Rng>>>,
}

impl Shaky {
    async fn start(seed: u64) -> (Shaky, std::net::SocketAddr) {
        let shaky = Shaky::default();
        *shaky.random.lock().unwrap() = Some(ChaCha8Rng::seed_from_u64(seed));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Http::new().fallback(take).with_state(shaky.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (shaky, address)
    }
}

async fn take(State(shaky): State<Shaky>, headers: HeaderMap, _: Bytes) -> StatusCode {
    if *shaky.down.lock().unwrap() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let id = headers["idempotency-key"].to_str().unwrap().to_owned();
    // It has taken it, and says that it has failed.
    let fails = shaky.random.lock().unwrap().as_mut().unwrap().random_range(0..25) == 0;
    shaky.seen.lock().unwrap().push((id, Instant::now(), !fails));
    if fails { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_with_receivers_that_come_and_go_it_tells_all_and_nothing_twice() {
    let Some(broker) = broker::shared() else { return };
    let seconds = std::env::var("TIDEGATE_NOTIFY_SECONDS").ok();
    let seconds: u64 = seconds.and_then(|text| text.parse().ok()).unwrap_or(15);
    let kills = if seconds < 60 { 2 } else { 5 };
    let stage = Stage::new(broker, 3);
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (a, a_at) = Shaky::start(1).await;
    let (b, b_at) = Shaky::start(2).await;
    let notify = json!({
        "receivers": { "a": { "webhook": { "url": format!("http://{a_at}/") } },
                       "b": { "webhook": { "url": format!("http://{b_at}/") } } },
        "default": ["a", "b"],
    });
    let began = Instant::now();
    let whole = Duration::from_secs(seconds);
    let life = whole / (kills + 1);
    let mut child = stage.spawn(&notify);
    let mut deaths: Vec<Instant> = Vec::new();
    let mut born_at = Instant::now();
    let mut decided = 0;
    while began.elapsed() < whole {
        stage.decide(decided..decided + 10);
        decided += 10;
        for shaky in [&a, &b] {
            if random.random_range(0..20) == 0 {
                let mut down = shaky.down.lock().unwrap();
                *down = !*down;
            }
        }
        if born_at.elapsed() > life && deaths.len() < kills as usize {
            child.kill().unwrap();
            child.wait().unwrap();
            deaths.push(Instant::now());
            child = stage.spawn(&notify);
            born_at = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for shaky in [&a, &b] {
        *shaky.down.lock().unwrap() = false;
    }
    // What has failed most waits 30 s for its next try.
    let told = |shaky: &Shaky| {
        let seen = shaky.seen.lock().unwrap();
        let ids: BTreeSet<String> =
            seen.iter().filter(|(.., ok)| *ok).map(|(id, ..)| id.clone()).collect();
        ids.len()
    };
    let all = usize::try_from(decided).unwrap();
    let end = Instant::now() + Duration::from_secs(90);
    while (told(&a) < all || told(&b) < all) && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stage.until_all_is_committed().await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(deaths.len(), kills as usize);
    for (name, shaky) in [("a", &a), ("b", &b)] {
        assert_eq!(told(shaky), all, "{name} has not heard of all");
        let again = again(name, shaky, &deaths);
        broker::tell(&format!("{name}: {all} told, {again} again after {kills} kills"));
    }
}

/// How many a receiver heard of again, each of which it must have taken as one of the last before
/// a kill, so that this was not yet written down.
fn again(name: &str, shaky: &Shaky, deaths: &[Instant]) -> usize {
    let seen = shaky.seen.lock().unwrap();
    let taken: Vec<&(String, Instant, bool)> = seen.iter().filter(|(.., ok)| *ok).collect();
    let mut last: BTreeSet<(&String, Instant)> = BTreeSet::new();
    for death in deaths {
        let before = taken.iter().rev().filter(|(_, at, _)| at <= death);
        last.extend(before.take(WINDOW).map(|(id, at, _)| (id, *at)));
    }
    let mut first: BTreeMap<&String, Instant> = BTreeMap::new();
    let mut again = 0;
    for (id, at, _) in taken {
        let Some(before) = first.insert(id, *at) else { continue };
        assert!(last.contains(&(id, before)), "{name} heard twice of {id}");
        again += 1;
    }
    again
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_is_few_notices_with_every_decision_behind_their_links() {
    let Some(broker) = broker::shared() else { return };
    let storm = std::env::var("TIDEGATE_NOTIFY_STORM").ok();
    let storm: u32 = storm.and_then(|text| text.parse().ok()).unwrap_or(5_000);
    let stage = Stage::new(broker, 3);
    let (chat, at) = Endpoint::start(&[]).await;
    let notify = json!({
        "receivers": { "chat": { "slack": { "url": format!("http://{at}/") }, "rate": 2 } },
        "routes": [{ "to": ["chat"], "group_wait": "1s", "group_interval": "3s" }],
        "url": "https://risk.example", "open_max": 1_000_000,
    });
    let running = stage.start(&notify);
    let began = Instant::now();
    for from in (0..storm).step_by(1_000) {
        stage.decide(from..(from + 1_000).min(storm));
    }
    until("something was told", || !chat.seen().is_empty()).await;
    // Two a minute at the most, and the rest in one digest: 30 s later.
    let end = began + PATIENCE + Duration::from_mins(2);
    let told = || -> Vec<Value> {
        chat.seen().iter().map(|(_, _, body)| serde_json::from_slice(body).unwrap()).collect()
    };
    let count = |told: &[Value]| -> usize {
        told.iter().map(|body| spoken_of(body["text"].as_str().unwrap())).sum()
    };
    while count(&told()) < storm as usize && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    stage.until_all_is_committed().await;
    running.end().await;
    let texts = told();
    assert_eq!(count(&texts), storm as usize);
    let minutes = began.elapsed().as_secs() / 60 + 1;
    assert!(texts.len() as u64 <= 2 + 2 * minutes, "{} notices in {minutes} min", texts.len());
    let mut ranges: Vec<(i32, i64, i64)> = Vec::new();
    for text in &texts {
        let text = text["blocks"].to_string();
        let link = text.split("https://risk.example/notices?at=").nth(1).unwrap();
        for place in link.split(['&', '|', '>', '"', '\\']).next().unwrap().split(',') {
            let (partition, range) = place.split_once(':').unwrap();
            let (first, last) = range.split_once('-').unwrap();
            let number = |text: &str| text.parse().unwrap();
            ranges.push((partition.parse().unwrap(), number(first), number(last)));
        }
    }
    let all = broker.read_all(&stage.decisions).into_iter();
    let behind: BTreeSet<(i32, i64)> = all
        .map(|record| (record.partition, record.offset))
        .filter(|(partition, offset)| {
            ranges
                .iter()
                .any(|(own, first, last)| own == partition && (first..=last).contains(&offset))
        })
        .collect();
    assert_eq!(behind.len(), storm as usize, "every decision is listed");
    broker::tell(&format!("{storm} decisions, {} notices", texts.len()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silence_outlives_the_process_and_what_still_fires_is_told_when_it_ends() {
    let Some(broker) = broker::shared() else { return };
    let stage = Stage::new(broker, 1).with_control();
    let (chat, at) = Endpoint::start(&[]).await;
    let notify = json!({
        "receivers": { "chat": { "slack": { "url": format!("http://{at}/") } } },
        "routes": [{ "to": ["chat"], "group_wait": "100ms", "group_interval": "100ms" }],
    });
    let say = |id: &str, act: Act| {
        let ts = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let ts = EventTime(ts.as_millis().try_into().unwrap());
        let (actor, reason) = ("ann".to_owned(), "ticket 42".to_owned());
        let change = Change { v: 1, id: id.to_owned(), ts, actor, reason, act };
        let record = String::from_utf8(change.encode()).unwrap();
        broker.produce(stage.control.as_ref().unwrap(), &[(change.key(), record)]);
    };
    let matcher = Matcher { rule: vec!["cap".to_owned()], ..Matcher::default() };
    let until_ms = EventTime(4_000_000_000_000);
    say("s", Act::Silence { matcher: matcher.clone(), until: until_ms });
    let fires = |n: u32| {
        let mut fires = decision(&id(n));
        let window = json!({"start": 0, "end": 4_000_000_000_000_i64, "label": "day x UTC"});
        fires.window = serde_json::from_value(window).unwrap();
        (format!("u-{n}"), serde_json::to_string(&fires).unwrap())
    };
    let running = stage.start(&notify);
    broker.produce(&stage.decisions, &[fires(1)]);
    let held = "tidegate_notices_held";
    until("it is held", || running.gauge(held) > 0.5).await;
    // The offset does not stand still as long as the silence lasts, nor does that rest on the topic.
    let goes_on = |to: i64| stage.committed().get(&0).is_some_and(|(at, _)| *at == to);
    until("the offset goes on", || goes_on(1)).await;
    assert!(running.gauge(held) > 0.5);
    running.end().await;
    broker.empty(&stage.decisions);
    let running = stage.start(&notify);
    broker.produce(&stage.decisions, &[fires(2)]);
    until("both are held", || running.gauge(held) > 1.5).await;
    until("the offset goes on again", || goes_on(2)).await;
    assert_eq!(chat.seen().len(), 0);
    say("e", Act::EndSilence { silence: "s".to_owned(), matcher, expired: false });
    until("it is told", || !chat.seen().is_empty()).await;
    stage.until_all_is_committed().await;
    running.end().await;
    let text = String::from_utf8(chat.seen()[0].2.clone()).unwrap();
    assert!(text.contains("was silenced by ann until now"), "{text}");
    assert!(text.contains("and 1 more"), "{text}");
    assert_eq!(chat.seen().len(), 1);
    // Nothing of it is left.
    let running = stage.start(&notify);
    broker.produce(&stage.decisions, &[fires(3)]);
    until("what comes after is told", || chat.seen().len() > 1).await;
    stage.until_all_is_committed().await;
    running.end().await;
    let text = String::from_utf8(chat.seen()[1].2.clone()).unwrap();
    assert!(!text.contains("more") && !text.contains("silenced"), "{text}");
}

/// Processor time of a process's workers, in seconds: their threads have the names of their slots.
fn of_workers(process: u32, slot: &str) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let tasks = tasks.map(|task| task.unwrap().path());
    let ticks = |path: std::path::PathBuf| -> u64 {
        let comm = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
        let stat = std::fs::read_to_string(path.join("stat")).unwrap_or_default();
        // Behind the name, which may hold anything, the 12th and 13th are user and system time.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
        let both = fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap());
        if comm.starts_with(slot) { both.sum() } else { 0 }
    };
    let ticks: u64 = tasks.map(ticks).sum();
    // A tick is 10 ms on every Linux that we know of.
    f64::from(u32::try_from(ticks).unwrap()) / 100.0
}

/// Only where the storm is asked for: a figure of a loaded machine says little.
#[tokio::test(flavor = "multi_thread")]
async fn detection_keeps_its_pace_in_a_storm() {
    let Some(broker) = broker::shared() else { return };
    let Some(storm) = std::env::var("TIDEGATE_NOTIFY_STORM").ok().and_then(|n| n.parse().ok())
    else {
        return broker::skipped("it measures; set TIDEGATE_NOTIFY_STORM=100000 to run it");
    };
    let (chat, at) = Endpoint::start(&[]).await;
    let events: Vec<(String, String)> =
        (0..storm).map(|n| event(n, &format!("u-{}", n % 1_000), 1)).collect();
    let mut seconds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    // Decisions of the same number, of which nobody is told, or some people.
    for mode in ["shadow", "live", "shadow", "live"] {
        let more = format!(
            "engine: {{ workers: 1 }}\nhttp: {{ listen: '127.0.0.1:0' }}\nnotify: {{ receivers: \
             {{ chat: {{ slack: {{ url: 'http://{at}/' }}, rate: 2 }} }}, \
             routes: [{{ to: [chat], group_wait: 100ms, group_interval: 1s }}] }}"
        );
        let setup = Setup::new(broker.address(), "storm", &more).host("slot");
        let rules = format!("version: 1\nrules: [{{ name: storm, on: issue, mode: {mode} }}]\n");
        setup.write("rules/rules.yaml", &rules);
        let instance = Instance::start(setup.path());
        until("it is a member", || tokio::task::block_in_place(|| instance.is_ready())).await;
        let before = of_workers(instance.id(), "slot-");
        broker.produce(&setup.topic("events"), &events);
        let end = Instant::now() + Duration::from_mins(5);
        while !setup.caught_up(broker) && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        assert!(setup.caught_up(broker));
        let spent = of_workers(instance.id(), "slot-") - before;
        broker::tell(&format!("{mode}: {spent:.2} s of processor time for {storm} events"));
        seconds.entry(mode).or_default().push(spent);
        if mode == "live" {
            // Detection may be done before anybody has been told.
            until("people are told", || !chat.seen().is_empty()).await;
        }
        assert!(instance.stop().0.success());
    }
    let least = |mode: &str| seconds[mode].iter().copied().fold(f64::INFINITY, f64::min);
    assert!(least("live") < least("shadow") * 1.25, "{seconds:?}");
}
