//! What no type can say: bounds, and what must agree with something else.

use std::time::Duration;

use super::fault::Fault;
use super::sections::{Config, Delivery, HttpConfig, WatchConfig};

/// The longest name of a topic that Kafka takes.
const TOPIC_BYTES_MAX: usize = 249;
/// A worker is a thread with a consumer, a producer and its share of memory.
const WORKERS_MAX: usize = 1_024;
/// Fewer keys would be a mistake.
const KEYS_MIN: usize = 1_000;
/// A longer flush would outlast Kafka's patience with a transaction.
const FLUSH_MAX: Duration = Duration::from_secs(10);
/// Within a shorter session a worker could not know that its partitions are still its own.
const SESSION_MS: u64 = 5_000;
/// Kinds of stores for snapshots.
const STORES: [&str; 4] = ["file:", "s3://", "gs://", "az://"];
/// Kafka's own bound on a request is below this.
const RECORD_BYTES_MAX: usize = 100 * 1024 * 1024;

/// All faults; empty when the configuration can be used. `connects` needs `kafka.brokers`.
pub(super) fn faults(config: &Config, connects: bool) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut need = |holds: bool, key: &str, message: &str| {
        if !holds {
            faults.push(Fault::of(key, message));
        }
    };
    let input = &config.input;
    need(input.max_bytes > 0, "input.max_bytes", "must be more than 0");
    need(
        input.max_bytes <= RECORD_BYTES_MAX,
        "input.max_bytes",
        "must be at most 104857600 (100 MiB)",
    );
    need(config.topics.partitions >= 1, "topics.partitions", "must be at least 1");
    let engine = &config.engine;
    need(engine.workers >= 1, "engine.workers", "must be at least 1");
    need(engine.max_keys >= KEYS_MIN, "engine.max_keys", "must be at least 1000");
    need(engine.workers <= WORKERS_MAX, "engine.workers", "must be at most 1024");
    need(engine.flush_interval <= FLUSH_MAX, "engine.flush_interval", "must be at most 10s");
    let session = config.kafka.properties.get("session.timeout.ms");
    let is_short = session.and_then(|ms| ms.parse::<u64>().ok()).is_some_and(|ms| ms < SESSION_MS);
    need(
        engine.delivery == Delivery::ExactlyOnce || !is_short,
        "engine.delivery",
        "at_least_once needs a kafka.properties.session.timeout.ms of at least 5000",
    );
    need(
        engine.dedup.is_none_or(|dedup| dedup >= engine.allowed_lateness),
        "engine.dedup",
        "must be at least engine.allowed_lateness",
    );
    let store = &config.state.snapshots;
    let is_store = |scheme: &str| store.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty());
    need(
        store == "off" || STORES.into_iter().any(is_store),
        "state.snapshots",
        "must be `file:FOLDER`, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, \
         `az://CONTAINER/PREFIX` or `off`",
    );
    let seconds = Duration::from_secs(1);
    need(config.state.interval >= seconds, "state.interval", "must be at least 1s");
    need(config.state.keep >= 1, "state.keep", "must be at least 1");
    need(!config.rules.as_os_str().is_empty(), "rules", "must name a file or a folder");
    let kafka = &config.kafka;
    need(
        !connects || !kafka.brokers.is_empty(),
        "kafka.brokers",
        "is required, such as `127.0.0.1:9092`; in the file, as TIDEGATE_KAFKA__BROKERS or as a flag",
    );
    let names = "must be made of letters, digits, `.`, `_` and `-`, at most 200 of them";
    need(is_name(&kafka.group, 200), "kafka.group", names);
    need(is_name(&kafka.instance, 200), "kafka.instance", names);
    pages(&config.http, &mut need);
    watching(&config.watch, &mut need);
    need(
        config.notify.url.as_deref().is_none_or(is_web_address),
        "notify.url",
        "must be an http or https URL without user, query and fragment, such as `https://tidegate.example`",
    );
    if let Err(error) = config.fold() {
        let key = format!("input.{}", error.section);
        faults.push(Fault::of(&key, format!("`{}` {}", error.entry, error.problem)));
    }
    faults.extend(topics(config));
    for fault in config.notify.faults() {
        let message = fault.to_string();
        faults.push(Fault::of("notify", message.strip_prefix("notify: ").unwrap_or(&message)));
    }
    faults
}

/// What the pages need.
fn pages(http: &HttpConfig, need: &mut dyn FnMut(bool, &str, &str)) {
    need(
        http.token.is_some() || http.listen.ip().to_canonical().is_loopback(),
        "http.listen",
        "is not on the loopback, so others could read what the pages show: set `http.token`, such as `${TIDEGATE_TOKEN}` or `file:http-token`, made with `openssl rand -hex 32`",
    );
    need(
        http.token.as_ref().is_none_or(|token| is_token(token.expose())),
        "http.token",
        "must be 16 to 256 ASCII letters, digits or `-._~+/=`; `openssl rand -hex 32` makes one",
    );
    need(
        http.advertise.as_deref().is_none_or(is_web_address),
        "http.advertise",
        "must be an http or https URL without user, query and fragment, such as `http://10.0.0.3:8080`",
    );
}

/// What an instance looks at in itself.
fn watching(watch: &WatchConfig, need: &mut dyn FnMut(bool, &str, &str)) {
    let second = Duration::from_secs(1);
    need(watch.canary_interval >= second, "watch.canary_interval", "must be at least 1s");
    need(
        watch.canary_lost_after >= watch.canary_interval + second,
        "watch.canary_lost_after",
        "must be at least a second more than watch.canary_interval",
    );
    need(watch.lag >= 1, "watch.lag", "must be at least 1");
    need(
        watch.quarantine > 0.0 && watch.quarantine <= 1.0,
        "watch.quarantine",
        "must be more than 0 and at most 1: a share of the records, such as 0.01",
    );
}

/// Names that Kafka takes, each once: two uses of one topic would read each other's records.
fn topics(config: &Config) -> Vec<Fault> {
    let kafka = &config.kafka;
    let internal = [
        ("partials", kafka.partials()),
        ("journal", kafka.journal()),
        ("log of notices", kafka.told()),
        ("standing notices", kafka.standing()),
    ];
    let mut faults = Vec::new();
    let mut seen: Vec<(String, &str)> = internal
        .iter()
        .map(|(key, topic)| (format!("the {key} of kafka.group"), topic.as_str()))
        .collect();
    for (key, topic) in config.topics.named() {
        let key = format!("topics.{key}");
        if !is_name(topic, TOPIC_BYTES_MAX) {
            let message = "must be made of letters, digits, `.`, `_` and `-`, at most 249 of them";
            faults.push(Fault::of(&key, message));
        } else if let Some((other, _)) = seen.iter().find(|(_, known)| *known == topic) {
            faults.push(Fault::of(&key, format!("names the same topic as {other}")));
        }
        seen.push((key, topic));
    }
    faults
}

/// What may stand in an `Authorization` header (RFC 6750), and is too long to be guessed.
fn is_token(token: &str) -> bool {
    (16..=256).contains(&token.len())
        && token.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte))
}

/// A URL to which `/api/…` can be appended.
fn is_web_address(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else { return false };
    matches!(url.scheme(), "http" | "https")
        && text.len() <= 200
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none()
}

fn is_name(name: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&name.len())
        && !matches!(name, "." | "..")
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}
