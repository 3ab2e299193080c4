//! Durations as they are written: `500ms`, `30s`, `10m`, `1h`, `7d`.

use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::Serializer;

use crate::rule::{parse_duration, write_duration};

pub(super) fn serialize<S: Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&write_duration(value.as_millis()))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    read(&String::deserialize(deserializer)?)
}

/// A duration or `off`.
pub(super) mod or_off {
    use super::{Deserialize, Deserializer, Duration, Serializer};

    #[expect(clippy::ref_option, reason = "the form that serde asks for")]
    pub(in crate::config) fn serialize<S: Serializer>(
        value: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, serializer),
            None => serializer.serialize_str("off"),
        }
    }

    pub(in crate::config) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" { Ok(None) } else { super::read(&text).map(Some) }
    }
}

fn read<E: Error>(text: &str) -> Result<Duration, E> {
    let ms = parse_duration(text).and_then(|ms| u64::try_from(ms).ok());
    ms.map(Duration::from_millis).ok_or_else(|| {
        E::custom(format!("`{text}` is not a duration; write `500ms`, `30s`, `10m`, `1h`, `7d`"))
    })
}
