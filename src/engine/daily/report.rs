//! The report of one day, as it is written (`docs/daily.md`). Field order is the wire order.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::engine::WindowSpan;
use crate::engine::daily::sums::{Amount, Row};
use crate::event::EventTime;
use crate::rule::Severity;

/// One day of the account.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DailyReport {
    /// Version of the format: 1.
    pub v: u32,
    /// The local date, `2025-11-22`.
    pub date: String,
    /// IANA zone of the rule set.
    pub zone: String,
    /// The day is `[start, end)`.
    pub start: EventTime,
    pub end: EventTime,
    /// The first date that the account has counted: sums to date begin there.
    pub since: String,
    /// Every partition was past the day.
    pub complete: bool,
    /// Partitions that were not: how far each had come is in `conservation`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<String>,
    pub total: Periods,
    /// In order of names, those with the most points on the day; the empty name is that of events
    /// without a source.
    pub sources: Vec<SourceFigures>,
    /// What all others brought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other_sources: Option<Periods>,
    /// What came since the last report for days that had one; it is in the sums to date.
    pub corrections: Vec<Correction>,
    /// The fullest first.
    pub caps: Vec<Cap>,
    pub decisions: Vec<RuleCount>,
    pub commands: Vec<CommandCount>,
    /// In rows beyond the 500 that are listed of each: those with the least.
    #[serde(default, skip_serializing_if = "is_none")]
    pub other_decisions: u64,
    #[serde(default, skip_serializing_if = "is_none")]
    pub other_commands: u64,
    pub conservation: Conservation,
}

/// Of a count that is left out where there is nothing to count.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
pub(crate) fn is_none(count: &u64) -> bool {
    *count == 0
}

/// A day, and what its month, quarter and year had come to at its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Periods {
    pub day: Figures,
    pub month: Figures,
    pub quarter: Figures,
    pub year: Figures,
}

/// Events and points by what they did to balances; on the wire only those that there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    #[serde(default, skip_serializing_if = "Amount::is_nothing")]
    pub issued: Amount,
    #[serde(default, skip_serializing_if = "Amount::is_nothing")]
    pub redeemed: Amount,
    #[serde(default, skip_serializing_if = "Amount::is_nothing")]
    pub expired: Amount,
    /// With their sign.
    #[serde(default, skip_serializing_if = "Amount::is_nothing")]
    pub adjusted: Amount,
    /// By what they take back.
    #[serde(default, skip_serializing_if = "Reversed::is_nothing")]
    pub reversed: Reversed,
    /// What all of it added to balances. Reversals that do not say what they take back are not in
    /// it.
    pub net: i64,
}

/// Reversals by the kind of the original.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reversed {
    #[serde(default, skip_serializing_if = "Amount::is_nothing")]
    pub issued: Amount,
    #[serde(default, skip_serializing_if = "Amount::is_nothing")]
    pub redeemed: Amount,
    #[serde(default, skip_serializing_if = "Amount::is_nothing")]
    pub expired: Amount,
    #[serde(default, skip_serializing_if = "Amount::is_nothing")]
    pub adjusted: Amount,
    /// Of another reversal, or of what is not said.
    #[serde(default, skip_serializing_if = "Amount::is_nothing")]
    pub other: Amount,
}

impl Reversed {
    fn is_nothing(&self) -> bool {
        *self == Reversed::default()
    }
}

impl Figures {
    pub(crate) fn of(row: &Row) -> Figures {
        let [issued, redeemed, expired, adjusted, back_issued, rest @ ..] = *row;
        let [back_redeemed, back_expired, back_adjusted, other] = rest;
        let plus = [issued, adjusted, back_redeemed, back_expired];
        let minus = [redeemed, expired, back_issued, back_adjusted];
        let sum = |amounts: [Amount; 4]| -> i128 {
            amounts.iter().map(|amount| i128::from(amount.points)).sum()
        };
        let net = sum(plus) - sum(minus);
        Figures {
            issued,
            redeemed,
            expired,
            adjusted,
            reversed: Reversed {
                issued: back_issued,
                redeemed: back_redeemed,
                expired: back_expired,
                adjusted: back_adjusted,
                other,
            },
            net: i64::try_from(net).unwrap_or(if net < 0 { i64::MIN } else { i64::MAX }),
        }
    }
}

/// The figures of one source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceFigures {
    pub source: String,
    #[serde(flatten)]
    pub figures: Periods,
}

/// What came for a day after its report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// The day, or the oldest of many.
    pub date: String,
    pub figures: Figures,
}

/// A calendar cap on a source, or on all together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cap {
    pub rule: String,
    /// As in decisions.
    pub key: Value,
    pub window: WindowSpan,
    pub measure: String,
    pub value: Value,
    /// The next bound; the last where all are exceeded.
    pub bound: Value,
    pub level: u32,
    pub exceeded: bool,
    /// Value in per cent of the bound.
    pub percent: f64,
    /// When it will be exceeded at the rate at the end of the day, where the window goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<EventTime>,
}

/// Decisions of one level of a rule, by the day of their event.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleCount {
    pub rule: String,
    pub level: u32,
    pub severity: Severity,
    pub mode: String,
    pub decisions: u64,
}

/// Commands of a rule: `freeze`, `review` and the like.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CommandCount {
    pub rule: String,
    pub command: String,
    pub count: u64,
}

/// Whether all records are accounted for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Conservation {
    /// No fault was found.
    pub ok: bool,
    /// What does not add up, a line each.
    pub faults: Vec<String>,
    pub total: Records,
    /// In order of partitions; of those beyond 500 the sums alone are told.
    pub partitions: Vec<PartitionRecords>,
}

/// What became of records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Records {
    pub consumed: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub late: u64,
    pub quarantined: u64,
}

/// The records of one partition of the events topic while its watermark lay in the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionRecords {
    pub partition: i32,
    /// Offsets of the first and the last record; none where there was no record.
    pub first_offset: Option<i64>,
    pub last_offset: Option<i64>,
    #[serde(flatten)]
    pub records: Records,
    /// Offsets between them without a record: markers of transactions, and what was compacted.
    pub empty_offsets: i64,
    /// How far the partition had come when the report was made.
    pub watermark: Option<EventTime>,
    pub idle: bool,
    pub ok: bool,
}
