//! Durations: `500ms`, `30s`, `10m`, `1h`, `7d`.

use std::time::Duration;

/// The longest duration accepted: a hundred years. Keeps sums of times far from overflow.
pub const DURATION_MAX_MS: i64 = 36_500 * 86_400_000;

/// Milliseconds of a positive whole number with its unit, at most [`DURATION_MAX_MS`].
pub fn parse_duration(text: &str) -> Option<i64> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(end)?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let ms = digits.parse::<i64>().ok()?.checked_mul(unit_ms)?;
    (1..=DURATION_MAX_MS).contains(&ms).then_some(ms)
}

/// Whole milliseconds; the most there are where it is longer.
pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// As [`parse_duration`] reads it, in the greatest unit that leaves no rest.
pub fn write_duration(ms: u128) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];
    let unit = units.into_iter().find(|(_, size)| ms > 0 && ms.is_multiple_of(*size));
    match unit {
        Some((unit, size)) => format!("{}{unit}", ms / size),
        None => format!("{ms}ms"),
    }
}
