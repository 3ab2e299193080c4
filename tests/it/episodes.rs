//! The shipped rules against generated streams: abuse is found, look-alikes are left alone.

use std::path::Path;
use std::sync::Arc;

use tidegate::backtest::Backtest;
use tidegate::control::read_rules;
use tidegate::engine::{Effect, Lists, Plan, Settings};
use tidegate::event::Decoder;
use tidegate::generate::score::{Score, Table, Verdict};
use tidegate::generate::{Disorder, Options, Stream};

pub(crate) fn shipped() -> Plan {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let (set, entries) = read_rules(&root).unwrap();
    let lists: Lists = entries.into_iter().collect();
    Plan::new(Arc::new(set), lists, Settings { max_ahead_ms: None, ..Settings::default() })
}

/// Runs the shipped rules over a stream, shows the table and holds what every stream must.
#[expect(clippy::print_stdout, reason = "the table is what a person runs this test for")]
fn run(options: &Options) -> Table {
    let mut stream = Stream::new(options);
    let mut score = Score::new(stream.labels().to_vec());
    let mut fold = Backtest::new(shipped(), Decoder::default(), 65_536, "generated");
    let mut sink = |effect: &Effect| {
        if let Effect::Decision(decision) = effect {
            score.add(decision);
        }
        Ok(())
    };
    while let Some(line) = stream.next_line() {
        fold.feed(line.bytes);
        fold.take(&mut sink).unwrap();
    }
    fold.end();
    fold.take(&mut sink).unwrap();
    let table = score.table().clone();
    println!("{table}");
    assert_eq!(table.count(Verdict::Missed), 0, "\n{table}");
    assert_eq!(table.count(Verdict::Frozen), 0, "\n{table}");
    assert_eq!(table.other_freezes, 0, "\n{table}");
    table
}

fn labels(table: &Table) -> Vec<&str> {
    table.rows.iter().map(|row| &*row.label).collect()
}

#[test]
fn half_a_minute_is_enough_for_caps_velocity_devices_and_lists() {
    let table = run(&Options { users: 2000, rate: 200, seconds: 30, ..Options::default() });
    assert_eq!(table.injected(), 12);
    assert_eq!(table.count(Verdict::Spared), 7);
}

#[test]
fn a_stream_across_midnight_keeps_each_episode_whole() {
    // 2025-11-22T23:56:00+08:00
    let start = 1_763_740_800_000 + 86_400_000 - 240_000;
    for seed in [2, 3] {
        run(&Options { users: 3000, rate: 20, start, seed, ..Options::default() });
    }
}

#[test]
fn three_hours_give_a_baseline_for_minutes() {
    let options = Options { users: 5000, rate: 2, seconds: 10_800, ..Options::default() };
    let table = run(&options);
    assert!(labels(&table).contains(&"tariff_minute"));
    assert!(labels(&table).contains(&"redemption_run"));
}

#[test]
fn eleven_days_give_a_baseline_for_days_and_habits() {
    // From mid-morning, so that the first day is cut short.
    let start = 1_763_740_800_000 + 36_000_000;
    let (events, seconds) = (Some(40_000), 11 * 86_400);
    let options = Options { users: 2000, events, seconds, start, ..Options::default() };
    let table = run(&options);
    assert!(labels(&table).contains(&"tariff_day"));
    assert!(labels(&table).contains(&"broken_habit"));
}

#[test]
fn disorder_changes_no_verdict() {
    let disorder = Disorder { late: 0.02, duplicates: 0.02, broken: 0.02, far_ahead: 0.0 };
    run(&Options { users: 3000, rate: 20, disorder, ..Options::default() });
}

#[test]
fn without_rules_everything_is_missed() {
    let stream = Stream::new(&Options { seconds: 60, ..Options::default() });
    let table = Score::new(stream.labels().to_vec()).table().clone();
    assert_eq!(table.count(Verdict::Missed), table.injected());
    assert_eq!(table.count(Verdict::Caught), 0);
}
