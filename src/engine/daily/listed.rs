//! What a report lists, and what it adds up instead: no list is without a limit, and no report is
//! larger than a topic takes.

use std::cmp::Reverse;

use crate::engine::daily::book::Book;
use crate::engine::daily::report::{DailyReport, Figures, Periods, SourceFigures};
use crate::engine::daily::sums::{Amount, COLUMNS, Row, Sums, add_row};

/// Sources that stand by name: those with the most points on the day.
const SOURCES: usize = 128;
/// Rows of decisions, and of commands: those with the most.
const ROWS: usize = 500;
/// Partitions that it waited for.
const WAITING: usize = 500;
/// Brokers take a megabyte unless told otherwise, and decisions carry the report, too.
pub(super) const REPORT_BYTES: usize = 600 << 10;
/// Where it is too large all lists become half as long, so often at most.
const HALVINGS_MAX: usize = 9;

/// Lists the sources of a day in the report, and cuts all lists to their length.
pub(super) fn list(book: &Book, day: &Sums, report: &DailyReport) -> DailyReport {
    let listed = |halvings: usize| {
        let mut listed = report.clone();
        (listed.sources, listed.other_sources) = sources(book, day, SOURCES >> halvings);
        cut(&mut listed, halvings);
        listed
    };
    let fits = |listed: &DailyReport| {
        serde_json::to_string(listed).is_ok_and(|text| text.len() <= REPORT_BYTES)
    };
    (0..HALVINGS_MAX).map(listed).find(fits).unwrap_or_else(|| listed(HALVINGS_MAX))
}

/// The figures of one row of the day, and of the same in the periods to date.
pub(super) fn periods(book: &Book, day: &Sums, of: impl Fn(&Sums) -> Row) -> Periods {
    Periods {
        day: Figures::of(&of(day)),
        month: Figures::of(&of(&book.month)),
        quarter: Figures::of(&of(&book.quarter)),
        year: Figures::of(&of(&book.year)),
    }
}

fn sources(book: &Book, day: &Sums, most: usize) -> (Vec<SourceFigures>, Option<Periods>) {
    let nothing = [Amount::default(); COLUMNS];
    let of = |sums: &Sums, source: &str| sums.named.get(source).copied().unwrap_or(nothing);
    let moved = |sums: &Sums, source: &str| {
        let row = of(sums, source);
        let points = row.iter().map(|amount| u128::from(amount.points.unsigned_abs()));
        (points.sum::<u128>(), row.iter().map(|amount| amount.events).sum::<u64>())
    };
    // What came for the day came for its year.
    let mut names: Vec<&str> = book.year.named.keys().map(String::as_str).collect();
    names.sort_by_cached_key(|name| {
        (Reverse((moved(day, name), moved(&book.year, name))), (*name).to_owned())
    });
    let (named, rest) = names.split_at(most.min(names.len()));
    let mut named = named.to_vec();
    named.sort_unstable();
    let others = |sums: &Sums| {
        rest.iter().fold(sums.other, |mut row, source| {
            add_row(&mut row, &of(sums, source));
            row
        })
    };
    let has_others = !others(&book.year).iter().all(Amount::is_nothing);
    let figures = |source: &str| SourceFigures {
        source: source.to_owned(),
        figures: periods(book, day, |sums| of(sums, source)),
    };
    let listed = named.into_iter().map(figures).collect();
    (listed, has_others.then(|| periods(book, day, others)))
}

fn cut(report: &mut DailyReport, halvings: usize) {
    let gone = keep(&mut report.decisions, ROWS >> halvings, |row| row.decisions);
    report.other_decisions = gone.iter().map(|row| row.decisions).sum();
    let gone = keep(&mut report.commands, ROWS >> halvings, |row| row.count);
    report.other_commands = gone.iter().map(|row| row.count).sum();
    report.caps.truncate(report.caps.len() >> halvings);
    let partitions = &mut report.conservation.partitions;
    let most = partitions.len() >> halvings;
    let (bad, good): (Vec<_>, Vec<_>) = partitions.drain(..).partition(|one| !one.ok);
    partitions.extend(bad.into_iter().chain(good).take(most));
    partitions.sort_unstable_by_key(|one| one.partition);
    let more = report.waiting.len().saturating_sub(WAITING >> halvings);
    if more > 0 {
        report.waiting.truncate(WAITING >> halvings);
        report.waiting.push(format!("{more} more"));
    }
}

/// Keeps those that count most, in their order; the others.
fn keep<T: Ord>(rows: &mut Vec<T>, most: usize, count: impl Fn(&T) -> u64) -> Vec<T> {
    if rows.len() <= most {
        return Vec::new();
    }
    rows.sort_by(|a, b| count(b).cmp(&count(a)).then_with(|| a.cmp(b)));
    let gone = rows.split_off(most);
    rows.sort_unstable();
    gone
}
