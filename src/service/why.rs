//! Answers why a rule fired for a target, or did not (C5): asks the workers of this instance, and
//! the other instances of the group for what they own.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::{Config, FoldConfig};
use crate::engine::explain::{Answer, Question, merge};
use crate::engine::{Decision, user_partition};
use crate::event::Decoder;
use crate::http::{WhyError, WhyRequest};
use crate::notify::Secret;
use crate::service::kafka_settings;
use crate::stream::kafka::{
    FoundEvent, KafkaSettings, Member, Wanted, decisions_of, find_event, members,
};
use crate::stream::{Asked, Asks, PlanCell, Told, lock};

/// A worker answers within so long, or is not counted on.
const ANSWER: Duration = Duration::from_secs(5);
/// Another instance does.
const PEER: Duration = Duration::from_secs(8);
/// Records of a partition that are looked through for an event, from the end.
const DEPTH: i64 = 1_000_000;
/// Decisions of one event that are told.
const DECISIONS_MAX: usize = 100;

/// What the answers come from.
pub(super) struct Whys {
    instance: String,
    kafka: KafkaSettings,
    token: Option<Secret>,
    decoder: Decoder,
    max_bytes: usize,
    /// Partitions of the events topic, and where the workers take questions, once they run.
    pub(super) fleet: Mutex<Option<(u32, Vec<Arc<Asks>>)>>,
    pub(super) plans: Arc<PlanCell>,
}

/// What one instance knows.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Part {
    instance: String,
    answers: Vec<Answer>,
    partitions: Vec<i32>,
    restoring: Vec<i32>,
}

impl Whys {
    pub(super) fn new(config: &Config, fold: FoldConfig, plans: Arc<PlanCell>) -> Whys {
        Whys {
            instance: config.kafka.instance.clone(),
            kafka: kafka_settings(config),
            token: config.http.token.clone(),
            decoder: fold.decoder,
            max_bytes: fold.max_bytes,
            fleet: Mutex::new(None),
            plans,
        }
    }

    pub(super) fn set_fleet(&self, partitions: u32, asks: Vec<Arc<Asks>>) {
        *lock(&self.fleet) = Some((partitions, asks));
    }

    pub(super) async fn answer(self: Arc<Whys>, request: WhyRequest) -> Result<Value, WhyError> {
        let Some((partitions, asks)) = lock(&self.fleet).clone() else {
            return Err(WhyError::Unready("no worker has started yet".to_owned()));
        };
        if request.local {
            let event = request.record.map(String::into_bytes);
            let part = self.own(&asks, request.question, event).await;
            return serde_json::to_value(part).map_err(|error| WhyError::Failed(error.to_string()));
        }
        let event = self.event(&request, partitions).await?;
        let record = event.as_ref().map(|event| event.value.clone());
        let mut parts = vec![self.own(&asks, request.question.clone(), record.clone()).await];
        let mut missing = Vec::new();
        let reached = parts.iter().flat_map(|part| &part.partitions).count();
        if reached < partitions as usize {
            let record = record.map(|record| String::from_utf8_lossy(&record).into_owned());
            let local = WhyRequest { local: true, record, ..request.clone() };
            let local = serde_json::to_value(local).unwrap_or_default();
            parts.extend(self.others("/api/v1/why", local, &mut missing).await);
        }
        Ok(self.whole(&request, (partitions, parts), event, missing).await)
    }

    /// What the workers of this instance know.
    async fn own(&self, asks: &[Arc<Asks>], question: Question, event: Option<Vec<u8>>) -> Part {
        let put =
            |asks: &Arc<Asks>| asks.put(Asked { question: question.clone(), event: event.clone() });
        let waiting: Vec<_> = asks.iter().map(put).collect();
        let mut part = Part { instance: self.instance.clone(), ..Part::default() };
        for told in waiting {
            if let Ok(Ok(Told { answers, partitions, restoring })) =
                tokio::time::timeout(ANSWER, told).await
            {
                part.answers.extend(answers);
                part.partitions.extend(partitions);
                part.restoring.extend(restoring);
            }
        }
        part
    }

    /// What the other instances of the group answer to the same question.
    pub(super) async fn others<T: DeserializeOwned + Send + 'static>(
        &self,
        path: &'static str,
        question: Value,
        missing: &mut Vec<String>,
    ) -> Vec<T> {
        let kafka = self.kafka.clone();
        let found = tokio::task::spawn_blocking(move || members(&kafka)).await;
        let found = found.map_err(|error| error.to_string()).flatten();
        let members = match found {
            Ok(members) => members,
            Err(reason) => {
                missing.push(format!("other instances are not known: {reason}"));
                return Vec::new();
            }
        };
        let own = format!("{}-", self.instance);
        let is_own = |slot: &str| {
            slot.strip_prefix(&own).is_some_and(|n| n.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let mut addresses = BTreeSet::new();
        for member in members.iter().filter(|member| !is_own(&member.slot)) {
            match url_of(member) {
                Some(url) => {
                    addresses.insert(url);
                }
                None => missing.push(format!("worker {}: its address is not known", member.slot)),
            }
        }
        let asked: Vec<_> = addresses
            .into_iter()
            .map(|url| {
                let (question, token) = (question.clone(), self.token.clone());
                tokio::spawn(async move {
                    let answer = ask::<T>(&format!("{url}{path}"), token.as_ref(), &question).await;
                    (url, answer)
                })
            })
            .collect();
        let mut parts = Vec::new();
        for peer in asked {
            match peer.await {
                Ok((_, Ok(part))) => parts.push(part),
                Ok((url, Err(reason))) => missing.push(format!("{url} does not answer: {reason}")),
                Err(error) => missing.push(error.to_string()),
            }
        }
        parts
    }

    /// The event that is asked about.
    async fn event(
        &self,
        request: &WhyRequest,
        partitions: u32,
    ) -> Result<Option<FoundEvent>, WhyError> {
        let Some(id) = request.event.clone() else { return Ok(None) };
        let user = request.question.fields.get("user").cloned();
        let (kafka, decoder, max_bytes) =
            (self.kafka.clone(), self.decoder.clone(), self.max_bytes);
        let first = user.as_deref().map_or(0, |user| user_partition(user, partitions));
        let looked = id.clone();
        let found = tokio::task::spawn_blocking(move || {
            let wanted = Wanted {
                id: &looked,
                user: user.as_deref(),
                decoder: &decoder,
                max_bytes,
                depth: DEPTH,
                first: i32::try_from(first).unwrap_or(0),
            };
            find_event(&kafka, &wanted)
        });
        match found.await {
            Ok(Ok(Some(event))) => Ok(Some(event)),
            Ok(Ok(None)) => Err(WhyError::NotFound(format!(
                "no event `{id}` among the last {DEPTH} records of each partition: an older one \
                 can be asked of a file, with --rules and --input"
            ))),
            Ok(Err(reason)) => Err(WhyError::Failed(reason)),
            Err(error) => Err(WhyError::Failed(error.to_string())),
        }
    }

    async fn whole(
        &self,
        request: &WhyRequest,
        (partitions, parts): (u32, Vec<Part>),
        event: Option<FoundEvent>,
        mut missing: Vec<String>,
    ) -> Value {
        let told = parts.iter().map(|part| (&part.partitions, &part.restoring));
        gaps(partitions, told, &mut missing);
        let instances: Vec<&str> = parts.iter().map(|part| part.instance.as_str()).collect();
        let instances = json!(instances);
        let answer = merge(parts.into_iter().flat_map(|part| part.answers).collect());
        let decisions = match (&event, &request.event) {
            (Some(event), Some(id)) => self.decisions(event, id, &mut missing).await,
            _ => Vec::new(),
        };
        let shown = event.as_ref().map(|event| {
            json!({
                "topic": &*self.kafka.topics.events, "partition": event.partition,
                "offset": event.offset, "record_ts": event.record_ts,
                "record": String::from_utf8_lossy(&event.value),
            })
        });
        let mut whole = serde_json::to_value(&answer).unwrap_or_default();
        if let Some(fields) = whole.as_object_mut() {
            if let Some(event) = shown {
                fields.insert("event".to_owned(), event);
                fields.insert("decisions".to_owned(), json!(decisions));
            }
            fields.insert("instances".to_owned(), instances);
            fields.insert("missing".to_owned(), json!(missing));
        }
        whole
    }

    /// What the event has triggered.
    async fn decisions(
        &self,
        event: &FoundEvent,
        id: &str,
        missing: &mut Vec<String>,
    ) -> Vec<Decision> {
        let (kafka, event, id) = (self.kafka.clone(), event.clone(), id.to_owned());
        let found =
            tokio::task::spawn_blocking(move || decisions_of(&kafka, &event, &id, DECISIONS_MAX));
        match found.await {
            Ok(Ok(decisions)) => decisions,
            Ok(Err(reason)) => {
                missing.push(format!("decisions of the event: {reason}"));
                Vec::new()
            }
            Err(error) => {
                missing.push(format!("decisions of the event: {error}"));
                Vec::new()
            }
        }
    }
}

/// Names the partitions of which nothing is known: of each instance those that answered, and those
/// that are being restored.
pub(super) fn gaps<'a>(
    partitions: u32,
    told: impl Iterator<Item = (&'a Vec<i32>, &'a Vec<i32>)>,
    missing: &mut Vec<String>,
) {
    let (mut answered, mut restoring) = (BTreeSet::<i32>::new(), BTreeSet::<i32>::new());
    for (some, others) in told {
        answered.extend(some);
        restoring.extend(others);
    }
    for partition in 0..i32::try_from(partitions).unwrap_or(0) {
        if restoring.contains(&partition) {
            missing.push(format!("partition {partition} is being restored"));
        } else if !answered.contains(&partition) {
            missing.push(format!("partition {partition}: nobody answers for it"));
        }
    }
}

/// Where a member's instance can be asked. An instance that listens on every address of its host
/// is reached at the one from which it reaches the broker.
fn url_of(member: &Member) -> Option<String> {
    let address = member.address.as_deref()?;
    if address.contains("://") {
        return Some(address.trim_end_matches('/').to_owned());
    }
    let (host, port) = address.rsplit_once(':')?;
    let host = if matches!(host, "0.0.0.0" | "[::]") { member.host.as_str() } else { host };
    Some(format!("http://{host}:{port}"))
}

async fn ask<T: DeserializeOwned>(
    url: &str,
    token: Option<&Secret>,
    question: &Value,
) -> Result<T, String> {
    let plain = |error: reqwest::Error| error.without_url().to_string();
    let client = reqwest::Client::builder()
        .timeout(PEER)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(plain)?;
    let mut request = client.post(url).json(question);
    if let Some(token) = token {
        request = request.bearer_auth(token.expose());
    }
    let answer = request.send().await.and_then(reqwest::Response::error_for_status);
    answer.map_err(plain)?.json::<T>().await.map_err(plain)
}

#[cfg(test)]
mod tests {
    use super::url_of;
    use crate::stream::kafka::Member;

    #[test]
    fn an_instance_is_asked_where_it_says() {
        let at = |address: &str| {
            url_of(&Member {
                slot: "a-0".to_owned(),
                address: Some(address.to_owned()),
                host: "10.0.0.9".to_owned(),
            })
        };
        assert_eq!(at("10.0.0.3:8080").as_deref(), Some("http://10.0.0.3:8080"));
        assert_eq!(at("0.0.0.0:8080").as_deref(), Some("http://10.0.0.9:8080"));
        assert_eq!(
            at("https://tidegate.example/a/").as_deref(),
            Some("https://tidegate.example/a")
        );
        let unnamed = Member { slot: "a-0".into(), address: None, host: "10.0.0.9".into() };
        assert_eq!(url_of(&unnamed), None);
    }
}
