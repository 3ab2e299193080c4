//! From effects of the engine to records of the output topics (contract D).

use crate::engine::{Effect, account_key, command_key};
use crate::event::{Canary, Reason};
use crate::stream::{Place, Produce, Record, Sink};

/// What is counted once a record is committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Note {
    Decision {
        rule: String,
        level: u32,
        mode: String,
    },
    Command(String),
    Quarantined(Reason),
    /// The account of a day, and whether its records add up.
    Daily {
        ok: bool,
    },
}

/// The record of an effect, and what to count for it.
pub(crate) fn record(effect: &Effect) -> (Produce, Option<Note>) {
    let produce = |sink, key: String, value: serde_json::Result<Vec<u8>>| Produce {
        sink,
        partition: None,
        key: Some(key.into_bytes()),
        // Plain data with text keys always has a JSON form.
        value: Some(value.unwrap_or_default()),
        timestamp_ms: None,
        headers: Vec::new(),
    };
    match effect {
        Effect::Decision(decision) => {
            let value = serde_json::to_vec(decision);
            let note = Note::Decision {
                rule: decision.rule.clone(),
                level: decision.level,
                mode: decision.mode.clone(),
            };
            (produce(Sink::Decisions, account_key(&decision.key), value), Some(note))
        }
        Effect::Resolved(decision) | Effect::Daily(decision) => {
            let value = serde_json::to_vec(decision);
            let report = decision.daily.as_deref();
            let note = report.map(|report| Note::Daily { ok: report.conservation.ok });
            (produce(Sink::Decisions, account_key(&decision.key), value), note)
        }
        Effect::Canary(decision) => {
            let value = serde_json::to_vec(decision);
            let header = (Canary::HEADER.to_owned(), Some(Canary::HEADER_VALUE.to_vec()));
            let produce = produce(Sink::Decisions, account_key(&decision.key), value);
            (Produce { headers: vec![header], ..produce }, None)
        }
        Effect::Command(command) => {
            let value = serde_json::to_vec(command);
            let note = Note::Command(command.command.clone());
            (produce(Sink::Commands, command_key(&command.target), value), Some(note))
        }
        Effect::Account(account) => {
            let value = serde_json::to_vec(account);
            (produce(Sink::Accounts, account_key(&account.target), value), None)
        }
    }
}

/// The record of its own that an account of a day has, beside its decision.
pub(crate) fn report(effect: &Effect) -> Option<Produce> {
    let Effect::Daily(decision) = effect else { return None };
    let report = decision.daily.as_deref()?;
    Some(Produce {
        sink: Sink::Daily,
        partition: None,
        key: Some(report.date.clone().into_bytes()),
        value: Some(serde_json::to_vec(report).unwrap_or_default()),
        timestamp_ms: None,
        headers: Vec::new(),
    })
}

/// A partial aggregate for the owner of its keys.
pub(crate) fn partial(to: u32, payload: Vec<u8>) -> Produce {
    Produce {
        sink: Sink::Partials,
        partition: i32::try_from(to).ok(),
        key: None,
        value: Some(payload),
        timestamp_ms: None,
        headers: Vec::new(),
    }
}

/// The copy of a record for the quarantine topic: unchanged, with four headers more (E4).
pub(crate) fn quarantined(
    record: &Record<'_>,
    topic: &str,
    place: Place,
    reason: Reason,
) -> Produce {
    let mut headers = record.headers.read();
    let more = [
        ("reason", reason.to_string()),
        ("topic", topic.to_owned()),
        ("partition", place.partition.to_string()),
        ("offset", record.offset.to_string()),
    ];
    let text = |(name, value): (&str, String)| (name.to_owned(), Some(value.into_bytes()));
    headers.extend(more.map(text));
    Produce {
        sink: Sink::Quarantine,
        partition: None,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        timestamp_ms: record.timestamp_ms,
        headers,
    }
}
