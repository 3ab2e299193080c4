//! Rows of what partitions say, and the watermark that follows.

use super::{Inputs, Told};

/// (partition, watermark, idle, record timestamp) and the expected watermark.
type Row = (i32, Option<i64>, bool, Option<i64>, Option<i64>);

fn check(partitions: u32, rows: &[Row]) {
    let mut inputs = Inputs::default();
    for (at, (from, watermark, idle, record_ts, expected)) in rows.iter().enumerate() {
        let told = Told { watermark: *watermark, idle: *idle };
        let got = inputs.tell(*from, told, partitions, *record_ts, 60_000);
        assert_eq!(got, *expected, "row {at}");
    }
}

#[test]
fn the_least_of_all_that_spoke_counts_once_all_have_spoken() {
    check(
        2,
        &[
            (0, Some(100), false, Some(0), None),
            (1, Some(50), false, Some(10), Some(50)),
            (1, Some(120), false, Some(20), Some(100)),
        ],
    );
}

#[test]
fn an_idle_partition_holds_nothing_back_even_if_it_never_had_an_event() {
    check(
        2,
        &[
            (0, Some(100), false, Some(0), None),
            (1, None, true, Some(10), Some(100)),
            (0, Some(300), false, Some(20), Some(300)),
            (1, Some(200), false, Some(30), Some(200)),
        ],
    );
}

#[test]
fn one_that_nobody_owns_or_that_lags_holds_back_for_idle_after() {
    check(
        2,
        &[
            (0, Some(100), false, Some(0), None),
            (0, Some(30_000), false, Some(30_000), None),
            (0, Some(60_000), false, Some(60_000), Some(100)),
            (0, Some(90_000), false, Some(90_000), Some(30_000)),
            (1, Some(500), false, Some(90_001), Some(30_000)),
            (0, Some(200_000), false, Some(200_000), Some(90_000)),
        ],
    );
}

#[test]
fn time_goes_on_while_all_are_idle() {
    check(
        2,
        &[
            (0, Some(100), true, Some(1_000), None),
            (1, Some(50), true, Some(1_010), Some(100)),
            (0, Some(100), true, Some(6_010), Some(5_100)),
            (1, Some(5_200), false, Some(6_020), Some(5_200)),
            (1, Some(5_200), true, Some(7_000), Some(5_200)),
            (1, Some(5_200), true, Some(7_500), Some(5_700)),
        ],
    );
}

#[test]
fn without_record_timestamps_only_the_watermarks_count() {
    check(1, &[(0, Some(100), false, None, Some(100)), (0, Some(100), true, None, Some(100))]);
}
