//! The topics must be there, with partition counts that fit, before a worker starts.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use crate::stream::kafka::client::{KafkaSettings, unusable};
use crate::stream::kafka::complaints::{Barrier, Ear};

const ASK: Duration = Duration::from_secs(5);
/// A topic just created is in every broker's metadata within so long.
const APPEAR: Duration = Duration::from_secs(20);

/// Why the topics cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TopicError {
    /// The broker does not answer: try again.
    #[error("cannot reach the broker: {0}")]
    Unreachable(String),
    /// TLS or SASL: try again, since what is wrong may be mended on the broker's side.
    #[error(
        "no way into the broker: {0}; look at `security.protocol`, `sasl.…` and `ssl.…` in kafka.properties"
    )]
    NotAdmitted(String),
    #[error(
        "missing topics: {0}; create them with `tidegate topics create`, or set `topics.create: true`"
    )]
    Missing(String),
    #[error(
        "the broker does not permit to create topic {topic}: {reason}; have it created with {partitions} partitions, or grant the right to create topics"
    )]
    NotPermitted { topic: String, partitions: i32, reason: String },
    #[error("{0}")]
    Settings(String),
    #[error("cannot create topic {topic}: {reason}")]
    Refused { topic: String, reason: String },
    #[error(
        "topic {events} has {has} partitions and {partials} has {other}: they must be equal, because partition p of both belongs to the same worker; raise the smaller with kafka-topics --alter"
    )]
    Disagree { events: String, has: usize, partials: String, other: usize },
    #[error("topic {topic} has {has} partitions, it must have 1 to keep its order")]
    NotOne { topic: String, has: usize },
}

/// A topic as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) name: String,
    pub(super) partitions: i32,
    config: Vec<(&'static str, &'static str)>,
}

/// Checks the topics, creates missing ones when `create` says so (new ones with `partitions`
/// partitions; partials with as many as the events have), and waits until they are known.
/// Returns the number of partitions of the events topic, and the names of those created.
///
/// # Errors
/// [`TopicError::Unreachable`] and [`TopicError::NotAdmitted`] may pass; all others need somebody.
pub async fn prepare(
    settings: &KafkaSettings,
    create: bool,
    partitions: u32,
) -> Result<(u32, Vec<String>), TopicError> {
    let known = tokio::task::block_in_place(|| counts(settings))?;
    let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
    let wanted = wanted(settings, &known, partitions);
    let missing: Vec<Wanted> =
        wanted.into_iter().filter(|topic| !known.contains_key(&topic.name)).collect();
    if !missing.is_empty() && !create {
        let names: Vec<&str> = missing.iter().map(|topic| topic.name.as_str()).collect();
        return Err(TopicError::Missing(names.join(", ")));
    }
    make(settings, &missing).await?;
    let until = Instant::now() + APPEAR;
    let known = loop {
        let known = tokio::task::block_in_place(|| counts(settings))?;
        let gone: Vec<&str> = missing
            .iter()
            .filter(|topic| !known.contains_key(&topic.name))
            .map(|topic| topic.name.as_str())
            .collect();
        if gone.is_empty() {
            break known;
        }
        if Instant::now() > until {
            return Err(TopicError::Unreachable(format!(
                "topics {} were created and are not known yet",
                gone.join(", ")
            )));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let events = check(settings, &known)?;
    Ok((events, missing.into_iter().map(|topic| topic.name).collect()))
}

/// How long the broker keeps the events; `None` is for ever.
///
/// # Errors
/// Why it does not tell.
pub async fn retention_ms(settings: &KafkaSettings) -> Result<Option<i64>, String> {
    let admin: AdminClient<DefaultClientContext> =
        settings.client("tidegate-topics").create().map_err(|error| unusable(&error))?;
    let topic = ResourceSpecifier::Topic(&settings.topics.events);
    let options = AdminOptions::new().request_timeout(Some(ASK));
    let answers = admin.describe_configs([&topic], &options).await;
    let answer = answers.map_err(|error| error.to_string())?.pop().ok_or("no answer")?;
    let config = answer.map_err(|code| code.to_string())?;
    let value = config.get("retention.ms").and_then(|entry| entry.value.as_deref());
    let kept: i64 = value.and_then(|value| value.parse().ok()).ok_or("no `retention.ms`")?;
    Ok((kept >= 0).then_some(kept))
}

/// Partition counts that must fit; returns that of the events.
fn check(settings: &KafkaSettings, known: &BTreeMap<String, usize>) -> Result<u32, TopicError> {
    let names = &settings.topics;
    let count = |name: &str| known.get(name).copied().unwrap_or(0);
    let (has, other) = (count(&names.events), count(&names.partials));
    if has != other {
        return Err(TopicError::Disagree {
            events: names.events.to_string(),
            has,
            partials: names.partials.to_string(),
            other,
        });
    }
    for name in [&names.control, &names.journal, &names.told, &names.standing] {
        if count(name) != 1 {
            return Err(TopicError::NotOne { topic: name.to_string(), has: count(name) });
        }
    }
    Ok(u32::try_from(has).unwrap_or(u32::MAX))
}

pub(super) fn wanted(
    settings: &KafkaSettings,
    known: &BTreeMap<String, usize>,
    partitions: i32,
) -> Vec<Wanted> {
    let names = &settings.topics;
    let events = known.get(&*names.events).and_then(|count| i32::try_from(*count).ok());
    let events = events.unwrap_or(partitions);
    let log_time = ("message.timestamp.type", "LogAppendTime");
    // State is rebuilt from these, and by default a broker deletes after a week.
    let keep = ("retention.ms", "-1");
    let compact = ("cleanup.policy", "compact");
    // A list entry that a later one replaces is seen, and written down, by all who were away for
    // less than a week.
    let linger = ("min.compaction.lag.ms", "604800000");
    // A restart reads it whole; a segment that is being written is not compacted.
    let small = ("segment.bytes", "16777216");
    let eager = ("min.cleanable.dirty.ratio", "0.1");
    // Far longer than from one commit to the next.
    let week = ("retention.ms", "604800000");
    let topic = |name: &str, partitions, config: &[(&'static str, &'static str)]| Wanted {
        name: name.to_owned(),
        partitions,
        config: config.to_vec(),
    };
    vec![
        topic(&names.events, events, &[log_time]),
        topic(&names.partials, events, &[log_time, keep]),
        topic(&names.commands, partitions, &[]),
        topic(&names.decisions, partitions, &[]),
        topic(&names.quarantine, partitions, &[]),
        topic(&names.accounts, partitions, &[compact]),
        topic(&names.control, 1, &[compact, linger]),
        topic(&names.journal, 1, &[keep]),
        topic(&names.notices_dead, 1, &[]),
        topic(&names.told, 1, &[week]),
        topic(&names.standing, 1, &[compact, small, eager]),
        topic(&names.daily, 1, &[compact]),
    ]
}

async fn make(settings: &KafkaSettings, missing: &[Wanted]) -> Result<(), TopicError> {
    if missing.is_empty() {
        return Ok(());
    }
    let unreachable = |error: KafkaError| TopicError::Unreachable(error.to_string());
    let admin: AdminClient<DefaultClientContext> =
        settings.client("tidegate-topics").create().map_err(unmade)?;
    let new: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|topic| {
            // -1: the broker's default replication.
            let replication = TopicReplication::Fixed(-1);
            let new = NewTopic::new(&topic.name, topic.partitions, replication);
            topic.config.iter().fold(new, |new, (name, value)| new.set(name, value))
        })
        .collect();
    let options = AdminOptions::new().operation_timeout(Some(ASK)).request_timeout(Some(ASK));
    let results = admin.create_topics(&new, &options).await.map_err(unreachable)?;
    for result in results {
        let Err((name, code)) = result else { continue };
        let partitions =
            missing.iter().find(|topic| topic.name == name).map_or(1, |topic| topic.partitions);
        match code {
            // Another instance was faster.
            RDKafkaErrorCode::TopicAlreadyExists => {}
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::ClusterAuthorizationFailed
            | RDKafkaErrorCode::PolicyViolation => {
                let reason = code.to_string();
                return Err(TopicError::NotPermitted { topic: name, partitions, reason });
            }
            RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::InvalidPartitions
            | RDKafkaErrorCode::InvalidConfig
            | RDKafkaErrorCode::InvalidRequest => {
                return Err(TopicError::Refused { topic: name, reason: code.to_string() });
            }
            // A cluster that is just starting has many ways to say so.
            _ => return Err(TopicError::Unreachable(code.to_string())),
        }
    }
    Ok(())
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(super) fn unmade(error: KafkaError) -> TopicError {
    TopicError::Settings(unusable(&error))
}

/// Partitions of every topic of the cluster. Asks for all, so that asking creates none.
pub(super) fn counts(settings: &KafkaSettings) -> Result<BTreeMap<String, usize>, TopicError> {
    let config = settings.client("tidegate-topics");
    let client: BaseConsumer<Ear> =
        BaseConsumer::from_config_and_context(&config, Ear::default()).map_err(unmade)?;
    let metadata = client.fetch_metadata(None, ASK).map_err(|error| {
        let ear = client.context();
        match ear.listen(|time| drop(client.poll(time))) {
            Some(Barrier::Refused(reason)) => TopicError::NotAdmitted(reason),
            Some(Barrier::Away(reason)) => TopicError::Unreachable(reason),
            None => TopicError::Unreachable(error.to_string()),
        }
    })?;
    let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
    Ok(topics.map(|topic| (topic.name().to_owned(), topic.partitions().len())).collect())
}
