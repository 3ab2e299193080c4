//! The account of a day, from the topic that has all of them.

use jiff::civil::Date;
use serde_json::Value;

use crate::http::{DailyRequest, WhyError};
use crate::stream::kafka::{KafkaSettings, SurveyError, TopicError, survey};

pub(super) async fn answer(kafka: KafkaSettings, request: DailyRequest) -> Result<Value, WhyError> {
    if let Some(date) = &request.date
        && !date.parse::<Date>().is_ok_and(|parsed| parsed.to_string() == *date)
    {
        return Err(WhyError::Bad(format!("`{date}` is no date; write such as `2025-11-22`")));
    }
    let found = tokio::task::spawn_blocking(move || find(&kafka, request.date.as_deref())).await;
    found.unwrap_or_else(|error| Err(WhyError::Failed(error.to_string())))
}

/// The last record of the date, or of the last date.
fn find(kafka: &KafkaSettings, date: Option<&str>) -> Result<Value, WhyError> {
    let mut found: Option<(Vec<u8>, Vec<u8>)> = None;
    let read = survey(kafka, &kafka.topics.daily, None, &mut |key, value| {
        let Some(value) = value else { return };
        let is_wanted = match date {
            Some(date) => key == date.as_bytes(),
            None => found.as_ref().is_none_or(|(latest, _)| latest.as_slice() <= key),
        };
        if is_wanted {
            found = Some((key.to_vec(), value.to_vec()));
        }
    });
    match read {
        Ok(()) | Err(SurveyError::Topic(TopicError::Missing(_))) => {}
        Err(error) => return Err(WhyError::Unready(error.to_string())),
    }
    let Some((_, report)) = found else {
        let which = date.map_or_else(|| "any day".to_owned(), str::to_owned);
        return Err(WhyError::NotFound(format!(
            "there is no account of {which}; a day has its account once every partition is past it"
        )));
    };
    serde_json::from_slice(&report).map_err(|error| WhyError::Failed(error.to_string()))
}
