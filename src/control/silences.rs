//! When a silence ends, as people say it: never without an end (N3).

use jiff::tz::TimeZone;

use crate::event::EventTime;
use crate::rule::{parse_duration, parse_instant, write_duration};

/// From how long it lasts, or until when; at most `max_ms` from `now`.
///
/// # Errors
/// What is wrong with it, in words.
pub fn silence_until(
    lasts: Option<&str>,
    until: Option<&str>,
    now: i64,
    max_ms: i64,
) -> Result<EventTime, String> {
    let until = match (lasts, until) {
        (Some(lasts), None) => {
            let ms = parse_duration(lasts);
            let ms = ms.ok_or_else(|| format!("`{lasts}`: write such as 30m, 12h or 7d"))?;
            EventTime(now.saturating_add(ms))
        }
        (None, Some(until)) => parse_instant(until, &TimeZone::UTC)
            .ok_or_else(|| format!("`{until}`: write RFC 3339, a date or milliseconds"))?,
        _ => return Err("a silence ends: say `for` how long, or `until` when".to_owned()),
    };
    if until.0 <= now {
        return Err("the end lies in the past".to_owned());
    }
    if until.0 > now.saturating_add(max_ms) {
        let most = write_duration(u128::try_from(max_ms).unwrap_or_default());
        return Err(format!("a silence lasts {most} at most (`notify.silence_max`)"));
    }
    Ok(until)
}
