//! The sections as typed values, with their defaults (contract K).
//!
//! `Debug` of a section tells nothing: any value may have come by reference. What may be shown
//! is what [`Config::print`] shows.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::print::Shown;
use super::span;
use crate::notify::{NotifySettings, Secret};

/// The whole configuration: every key has its value, every reference is resolved.
#[derive(Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub kafka: KafkaConfig,
    pub topics: TopicsConfig,
    pub input: InputConfig,
    pub engine: EngineConfig,
    /// A rule file or a folder of them.
    pub rules: PathBuf,
    pub state: StateConfig,
    pub http: HttpConfig,
    pub notify: NotifySettings,
    pub watch: WatchConfig,
    pub privacy: PrivacyConfig,
    #[serde(skip)]
    pub(super) shown: Shown,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            kafka: KafkaConfig::default(),
            topics: TopicsConfig::default(),
            input: InputConfig::default(),
            engine: EngineConfig::default(),
            rules: PathBuf::from("rules/"),
            state: StateConfig::default(),
            http: HttpConfig::default(),
            notify: NotifySettings::default(),
            watch: WatchConfig::default(),
            privacy: PrivacyConfig::default(),
            shown: Shown::default(),
        }
    }
}

impl Config {
    /// The way of canaries: `auto` has become one of the others.
    pub fn canary_path(&self) -> CanaryPath {
        let is_told = !self.notify.receivers.is_empty() || self.notify.heartbeat.is_some();
        match self.watch.canary {
            CanaryPath::Auto if is_told => CanaryPath::Partials,
            CanaryPath::Auto => CanaryPath::Off,
            path => path,
        }
    }
}

/// Only what [`Config::print`] shows.
impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.print())
    }
}

macro_rules! silent {
    ($($section:ident),*) => {$(
        impl fmt::Debug for $section {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($section)).finish_non_exhaustive()
            }
        }
    )*};
}

silent!(
    KafkaConfig,
    TopicsConfig,
    InputConfig,
    EngineConfig,
    StateConfig,
    HttpConfig,
    WatchConfig,
    PrivacyConfig
);

#[derive(Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct KafkaConfig {
    /// `host:port`, several parted by commas. Empty only where nothing connects.
    pub brokers: String,
    pub group: String,
    /// Names this process among those of the group; the host's name unless given.
    pub instance: String,
    /// Handed to librdkafka as they are.
    pub properties: BTreeMap<String, String>,
    /// Whether partitions move to others at once when the process stops (C7).
    pub leave_on_stop: bool,
}

impl Default for KafkaConfig {
    fn default() -> Self {
        KafkaConfig {
            brokers: String::new(),
            group: "tidegate".to_owned(),
            instance: host_name(),
            properties: BTreeMap::new(),
            leave_on_stop: false,
        }
    }
}

impl KafkaConfig {
    /// The topic of partial aggregates.
    pub fn partials(&self) -> String {
        format!("{}.partials", self.group)
    }

    /// The topic of what was applied where.
    pub fn journal(&self) -> String {
        format!("{}.journal", self.group)
    }

    /// The topic of what receivers were told.
    pub fn told(&self) -> String {
        format!("{}.told", self.group)
    }

    /// The topic of what is muted, or stands, and is not yet told, or not its end.
    pub fn standing(&self) -> String {
        format!("{}.standing", self.group)
    }
}

/// The host's name in characters that Kafka takes; empty if it has none.
fn host_name() -> String {
    let name = hostname::get().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect()
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopicsConfig {
    pub events: String,
    pub commands: String,
    pub decisions: String,
    pub quarantine: String,
    pub accounts: String,
    pub control: String,
    pub notices_dead: String,
    /// The account of each day.
    pub daily: String,
    /// Whether `run` creates what is missing.
    pub create: bool,
    /// Of the topics that are created.
    pub partitions: i32,
}

impl Default for TopicsConfig {
    fn default() -> Self {
        TopicsConfig {
            events: "points.events".to_owned(),
            commands: "points.commands".to_owned(),
            decisions: "tidegate.decisions".to_owned(),
            quarantine: "points.quarantine".to_owned(),
            accounts: "tidegate.accounts".to_owned(),
            control: "tidegate.control".to_owned(),
            notices_dead: "tidegate.notices.dead".to_owned(),
            daily: "tidegate.daily".to_owned(),
            create: true,
            partitions: 4,
        }
    }
}

impl TopicsConfig {
    /// Each key with its topic.
    pub(super) fn named(&self) -> [(&'static str, &str); 8] {
        [
            ("events", &self.events),
            ("commands", &self.commands),
            ("decisions", &self.decisions),
            ("quarantine", &self.quarantine),
            ("accounts", &self.accounts),
            ("control", &self.control),
            ("notices_dead", &self.notices_dead),
            ("daily", &self.daily),
        ]
    }
}

/// Where reading starts without a committed offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    #[default]
    Oldest,
    Latest,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct InputConfig {
    pub start: Start,
    /// How far an event may lie after its record's timestamp (E4).
    #[serde(with = "span")]
    pub max_ahead: Duration,
    pub max_bytes: usize,
    /// Our name → JSON pointer (E3).
    pub fields: BTreeMap<String, String>,
    /// Their word → our kind (E3).
    pub kinds: BTreeMap<String, String>,
}

impl Default for InputConfig {
    fn default() -> Self {
        InputConfig {
            start: Start::default(),
            max_ahead: Duration::from_mins(5),
            max_bytes: 65_536,
            fields: BTreeMap::new(),
            kinds: BTreeMap::new(),
        }
    }
}

/// When decisions and commands leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    #[default]
    ExactlyOnce,
    AtLeastOnce,
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct EngineConfig {
    pub workers: usize,
    pub delivery: Delivery,
    #[serde(with = "span")]
    pub flush_interval: Duration,
    #[serde(with = "span")]
    pub allowed_lateness: Duration,
    /// How long event ids are remembered (E5); `None` is `off`.
    #[serde(with = "span::or_off")]
    pub dedup: Option<Duration>,
    /// How long a silent partition may hold the shared watermark back (R8).
    #[serde(with = "span")]
    pub idle_after: Duration,
    /// Keys that the state of a partition holds at most.
    pub max_keys: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        EngineConfig {
            // One core is left to librdkafka's own threads, notices and the status page.
            workers: cores.saturating_sub(1).max(1),
            delivery: Delivery::default(),
            flush_interval: Duration::from_millis(100),
            allowed_lateness: Duration::from_mins(10),
            dedup: Some(Duration::from_mins(10)),
            idle_after: Duration::from_mins(1),
            max_keys: 4_000_000,
        }
    }
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct StateConfig {
    /// `file:FOLDER`, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX` or `off`.
    pub snapshots: String,
    #[serde(with = "span")]
    pub interval: Duration,
    /// Snapshots kept of each partition.
    pub keep: usize,
    /// Whether to go on from a snapshot although the log has lost records that came after it.
    pub accept_gap: bool,
}

impl Default for StateConfig {
    fn default() -> Self {
        let snapshots = "file:./data/snapshots".to_owned();
        StateConfig { snapshots, interval: Duration::from_mins(5), keep: 3, accept_gap: false }
    }
}

#[derive(Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// What a request has to bring; required unless `listen` is on the loopback.
    pub token: Option<Secret>,
    /// The URL at which the other instances reach this one, where that is not `listen`.
    pub advertise: Option<String>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            token: None,
            advertise: None,
        }
    }
}

/// No host names: a name that resolves elsewhere tomorrow would open the page to others.
fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        let such = "an address and port, such as `127.0.0.1:8080`";
        D::Error::custom(format!("`{text}` is not {such}"))
    })
}

/// Which way canaries take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CanaryPath {
    /// By the topic of partial aggregates where `notify` names receivers, and none otherwise.
    #[default]
    Auto,
    /// By the topic of events: the whole way, and others who read that topic see them.
    Events,
    /// By the topic of partial aggregates, which is our own.
    Partials,
    Off,
}

/// What an instance looks at to tell whether it works, and from where on it says so.
#[derive(Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct WatchConfig {
    pub canary: CanaryPath,
    #[serde(with = "span")]
    pub canary_interval: Duration,
    /// For how long none comes through before that is told.
    #[serde(with = "span")]
    pub canary_lost_after: Duration,
    /// Whether the instance tells by the routes of `notify` what is wrong with it.
    pub notices: bool,
    /// Records not read, for how long.
    pub lag: i64,
    #[serde(with = "span")]
    pub lag_for: Duration,
    /// For how long a restore does not go on.
    #[serde(with = "span")]
    pub restore_stalled: Duration,
    /// Share of the records of five minutes that goes to quarantine, 0 to 1.
    pub quarantine: f64,
}

impl Default for WatchConfig {
    fn default() -> Self {
        WatchConfig {
            canary: CanaryPath::default(),
            canary_interval: Duration::from_secs(30),
            canary_lost_after: Duration::from_mins(2),
            notices: true,
            lag: 10_000,
            lag_for: Duration::from_mins(5),
            restore_stalled: Duration::from_mins(5),
            quarantine: 0.01,
        }
    }
}

#[derive(Clone, Copy, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrivacyConfig {
    /// Lifts masking everywhere (N5).
    pub reveal: bool,
}

/// The dotted keys of the default configuration that are no sections.
pub(super) fn keys() -> Vec<String> {
    fn gather(value: &Value, path: &str, keys: &mut Vec<String>) {
        match value {
            Value::Object(entries) if !entries.is_empty() => {
                for (name, below) in entries {
                    let dot = if path.is_empty() { "" } else { "." };
                    gather(below, &format!("{path}{dot}{name}"), keys);
                }
            }
            _ => keys.push(path.to_owned()),
        }
    }
    let mut keys = Vec::new();
    gather(&serde_json::to_value(Config::default()).unwrap_or_default(), "", &mut keys);
    keys
}
