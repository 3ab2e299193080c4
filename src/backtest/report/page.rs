//! A report, or a difference with the report of its new rules, as one page of HTML: plots drawn in
//! it, no scripts, nothing from elsewhere.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::value::{Serde, Value as Shown};
use minijinja::{Environment, context};
use serde::Serialize;

use crate::backtest::diff::Difference;
use crate::backtest::report::Report;
use crate::backtest::report::plot::{Plot, number};
use crate::backtest::text::grouped;

/// A page that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the page: {0}")]
pub struct PageError(#[from] minijinja::Error);

/// The page of a report; with a difference, what changes comes first.
///
/// # Errors
/// When the template cannot be filled in.
pub fn page(report: &Report, difference: Option<&Difference>) -> Result<String, PageError> {
    let mut environment = Environment::new();
    // The name's ending turns on the escaping of texts.
    environment.add_template("page.html", include_str!("page.html"))?;
    let zone = TimeZone::get(&report.timezone).unwrap_or(TimeZone::UTC);
    let when = move |ms: i64| words_of(ms, &zone);
    let plots: Vec<Shown> = report
        .by_rule
        .iter()
        .map(|rule| {
            let time = Plot::of_time(report, &rule.timeline, &when);
            let reach = rule.reached.as_ref().map(Plot::of_reach);
            context! { time => shown(&time), reach => shown(&reach) }
        })
        .collect();
    environment.add_filter("when", when);
    environment.add_filter("grouped", |value: i64| grouped(value));
    environment.add_filter("number", number);
    environment.add_filter("value", |value: Shown| match i64::try_from(value.clone()) {
        Ok(whole) => grouped(whole),
        Err(_) => f64::try_from(value).map_or_else(|_| "–".to_owned(), number),
    });
    let version = env!("CARGO_PKG_VERSION");
    let page = environment.get_template("page.html")?;
    let (report, difference) = (shown(report), shown(&difference));
    Ok(page.render(context! { report, difference, plots, version })?)
}

fn shown(value: &impl Serialize) -> Shown {
    Shown::from(Serde(value))
}

/// An instant as the rule set's zone has it.
fn words_of(ms: i64, zone: &TimeZone) -> String {
    let at = Timestamp::from_millisecond(ms).map(|at| at.to_zoned_datetime(zone.clone()));
    at.map_or_else(|_| ms.to_string(), |at| at.strftime("%Y-%m-%d %H:%M:%S").to_string())
}
