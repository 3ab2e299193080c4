//! What people ask and say about notices: which decisions one tells of, silences, and
//! acknowledgements. Everything said goes to the control topic, and from there to every instance.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::config::Config;
use crate::control::silence_until;
use crate::engine::{Act, Decision};
use crate::event::EventTime;
use crate::http::{By, ListRequest, NewSilence, NoticeRequest, WhyError};
use crate::notify::{Groups, Mutes, NotifySettings, Signed, Signer, masked};
use crate::service::{kafka_settings, notify_settings};
use crate::stream::kafka::{KafkaSettings, new_change, publish, records, survey};
use crate::stream::{Clock, SystemClock};

/// Records that one question looks at, at most.
const LOOKED_MAX: i64 = 1_000_000;

/// What the answers come from.
pub(super) struct Notices {
    kafka: KafkaSettings,
    settings: NotifySettings,
    groups: Groups,
    signer: Option<Signer>,
    reveal: bool,
}

impl Notices {
    pub(super) fn new(config: &Config) -> Notices {
        let settings = notify_settings(config);
        Notices {
            kafka: kafka_settings(config),
            groups: Groups::new(&settings),
            signer: settings.secret.clone().map(Signer::new),
            reveal: config.privacy.reveal,
            settings,
        }
    }

    pub(super) async fn answer(
        self: Arc<Notices>,
        request: NoticeRequest,
    ) -> Result<Value, WhyError> {
        match request {
            NoticeRequest::List(request) => in_background(move || self.list(&request)).await,
            NoticeRequest::Silences => {
                let mutes = in_background(move || mutes(&self.kafka, &self.settings)).await?;
                let now = now_ms();
                let silences = mutes.silences().into_iter().map(|one| {
                    let is_in_force = one.is_in_force(now);
                    json!({ "silence": one, "in_force": is_in_force })
                });
                Ok(json!({ "silences": silences.collect::<Vec<_>>() }))
            }
            NoticeRequest::Silence(new) => {
                let NewSilence { matcher, lasts, until, actor, reason } = new;
                let max_ms = self.settings.silence_max_ms();
                let until = silence_until(lasts.as_deref(), until.as_deref(), now_ms(), max_ms)
                    .map_err(WhyError::Bad)?;
                self.say(Act::Silence { matcher, until }, By { actor, reason }).await
            }
            NoticeRequest::EndSilence { silence, by } => {
                let this = self.clone();
                let mutes = in_background(move || mutes(&this.kafka, &this.settings)).await?;
                let known = mutes.silence(&silence);
                let known = known.ok_or_else(|| {
                    WhyError::NotFound(format!("no silence has the id {silence}"))
                })?;
                let matcher = known.matcher.clone();
                self.say(Act::EndSilence { silence, matcher, expired: false }, by).await
            }
            NoticeRequest::Acknowledge { group, through, by } => {
                let through = EventTime(through.unwrap_or_else(now_ms));
                let reason =
                    if by.reason.is_empty() { "acknowledged".to_owned() } else { by.reason };
                let by = By { reason, ..by };
                self.say(Act::Acknowledge { group, through }, by).await
            }
            NoticeRequest::Follow { signed, signature, actor } => {
                self.follow(signed, &signature, actor).await
            }
        }
    }

    async fn follow(
        &self,
        signed: Signed,
        signature: &str,
        actor: Option<String>,
    ) -> Result<Value, WhyError> {
        let signer = self.signer.as_ref();
        if !signer.is_some_and(|signer| signer.admits(&signed, signature, now_ms())) {
            let why = "this link is not ours, or more than a day old";
            return Err(WhyError::Bad(why.to_owned()));
        }
        let actor = actor.unwrap_or_else(|| "whoever followed the link".to_owned());
        let act = Act::Acknowledge { group: signed.group, through: EventTime(signed.through) };
        let by = By { actor: actor.clone(), reason: "by the link of a notice".to_owned() };
        let mut answer = self.say(act, by).await?;
        answer["actor"] = actor.into();
        Ok(answer)
    }

    async fn say(&self, act: Act, by: By) -> Result<Value, WhyError> {
        let change = new_change(act, by.actor, by.reason);
        change.check().map_err(WhyError::Bad)?;
        let kafka = self.kafka.clone();
        let written = change.clone();
        let offset = publish(&kafka, &written).await;
        let offset = offset.map_err(|error| WhyError::Unready(error.to_string()))?;
        Ok(json!({ "change": change.id, "decision": change.decision_id(),
            "topic": kafka.topics.control.to_string(), "partition": 0, "offset": offset }))
    }

    fn list(&self, request: &ListRequest) -> Result<Value, WhyError> {
        let range = |(first, last): &(i64, i64)| last.saturating_sub(*first).saturating_add(1);
        let looked: i64 = request.places.values().map(range).fold(0, i64::saturating_add);
        if looked > LOOKED_MAX || request.places.values().any(|place| range(place) < 1) {
            return Err(WhyError::Bad(format!("`at` names 1 to {LOOKED_MAX} records in all")));
        }
        let mut decisions = Vec::new();
        let mut known = BTreeSet::new();
        let mut next = None;
        let topic = self.kafka.topics.decisions.to_string();
        let mut places: Vec<(i32, (i64, i64))> =
            request.places.iter().map(|(partition, range)| (*partition, *range)).collect();
        while !places.is_empty() && next.is_none() {
            let (partition, (first, last)) = places.remove(0);
            records(&self.kafka, (&topic, partition), (first, last + 1), &mut |offset, value| {
                if next.is_some() {
                    return;
                }
                let Ok(decision) = serde_json::from_slice::<Decision>(value) else { return };
                if !self.is_wanted(&decision, &request.groups) {
                    return;
                }
                if decisions.len() == request.limit {
                    next = Some((partition, offset, last));
                    return;
                }
                // What was written again is shown once.
                if known.insert(decision.id.clone()) {
                    decisions.push(self.shown(&decision));
                }
            })
            .map_err(WhyError::Unready)?;
        }
        let next = next.map(|(partition, offset, last)| {
            let rest = places.iter().map(|(p, (first, last))| format!(",{p}:{first}-{last}"));
            let rest = rest.collect::<Vec<_>>().concat();
            let groups = request.groups.iter().map(|group| format!("&group={group}"));
            let groups = groups.collect::<Vec<_>>().concat();
            format!("at={partition}:{offset}-{last}{rest}{groups}&limit={}", request.limit)
        });
        Ok(json!({ "count": decisions.len(), "decisions": decisions, "next": next }))
    }

    fn is_wanted(&self, decision: &Decision, groups: &[String]) -> bool {
        let told = decision.alert.is_some() && decision.mode == "live";
        told && (groups.is_empty()
            || self.groups.of(decision).iter().any(|one| groups.contains(one)))
    }

    fn shown(&self, decision: &Decision) -> Value {
        let shown = if self.reveal { decision.clone() } else { masked(decision) };
        let at = jiff::Timestamp::from_millisecond(decision.ts.0);
        let mut value = serde_json::to_value(shown).unwrap_or_default();
        value["at"] = at.map_or_else(|_| decision.ts.0.to_string(), |at| at.to_string()).into();
        value
    }
}

/// Silences and acknowledgements as they stand in the control topic.
fn mutes(kafka: &KafkaSettings, settings: &NotifySettings) -> Result<Mutes, WhyError> {
    let mut mutes = Mutes::new(settings.silence_max_ms());
    let topic = kafka.topics.control.to_string();
    let read = survey(kafka, &topic, None, &mut |_, value| {
        mutes.take(value.unwrap_or_default());
    });
    read.map_err(|error| WhyError::Unready(error.to_string()))?;
    Ok(mutes)
}

async fn in_background<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, WhyError> + Send + 'static,
) -> Result<T, WhyError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(WhyError::Failed(error.to_string())))
}

fn now_ms() -> i64 {
    SystemClock.wall_us() / 1000
}
