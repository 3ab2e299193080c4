//! The account of the points, day by day: what was issued, redeemed and expired, by source, and
//! whether every record is in it.
//!
//! Each partition of the events adds up what it accepts, by local day, source and column, and
//! tells it at each flush, in the transaction of that flush, to the owner of the account: the state
//! of partition 0 of the partials topic. [`DailyOutbox`] is what waits to be told, `sheet` the
//! record, `book` the owner's side: days that are open, what has come to date, and what each
//! partition says of its records. When all partitions are past a day, or do not come for too long,
//! the owner issues the day's [`DailyReport`]; what comes for a day later is a correction in the
//! next one.
//!
//! Every list has its limit, in what is kept and in what is written, and what is beyond it is added up:
//! totals are exact, and no record is larger than a topic takes.
//!
//! The record of a partition says beside what is new how many records and points it has taken in
//! since its state began: entered twice, so that a record lost or told twice on the way shows.

mod book;
mod caps;
mod issue;
mod listed;
mod outbox;
mod pieces;
mod report;
mod sheet;
mod sums;

pub(crate) use book::Book;
pub(crate) use caps::caps_at;
pub use outbox::{DailyOutbox, Sender};
pub(crate) use report::is_none;
pub use report::{
    Cap, CommandCount, Conservation, Correction, DailyReport, Figures, PartitionRecords, Periods,
    Records, Reversed, RuleCount, SourceFigures,
};
pub(crate) use sheet::is_sheet;
pub use sums::Amount;
pub(crate) use sums::Intake;

/// The rule that a report's decision names.
pub const DAILY: &str = "tidegate.daily";

/// Sources that are kept by name, the first of them that came in a year; what others bring stands
/// together.
pub(crate) const SOURCES_MAX: usize = 1024;

/// A report waits so long for a partition that is behind or silent, milliseconds of processing
/// time.
pub(crate) const WAIT_MS: i64 = 6 * 3_600_000;

#[cfg(test)]
mod tests;
