//! Faults of seasonal baselines, as rows, and their defaults.

use crate::rule::tests::threshold;
use crate::rule::{Baseline, Check, Method, Season, Source, load, reach_ms};

/// The baseline stands in line 8 after `window` and `zscore`.
#[track_caller]
fn seasonal(per: &str, window: &str, keys: &str, expected: &str) {
    let rest =
        format!("zscore: {{above: 4}}\n  baseline: {{method: seasonal{keys}}}\n  per: {per}");
    threshold(&format!("window: {window}\n  {rest}"), expected);
}

#[test]
fn seasons_are_made_of_windows() {
    seasonal("global", "1h", "", "");
    seasonal("source", "day", ", season: 14d, history: 26", "");
    seasonal("attrs.shop", "5m", ", season: 1d, history: 14, neighbours: 2, min_windows: 70", "");
    seasonal("global", "30m", ", season: 1h, neighbours: 0", "");
    let hint = "\n  hint: such as `season: 7d`: the same slot of the week";
    seasonal(
        "global",
        "1h",
        ", season: 90m",
        &format!(
            "8:40: error: `season` is a multiple of the window, twice as long at least: `90m`{hint}"
        ),
    );
    seasonal(
        "global",
        "1h",
        ", season: 1h",
        &format!(
            "8:40: error: `season` is a multiple of the window, twice as long at least: `1h`{hint}"
        ),
    );
    seasonal(
        "global",
        "day",
        ", season: 36h",
        &format!(
            "8:40: error: `season` is a multiple of a day, twice as long at least: `36h`{hint}"
        ),
    );
    seasonal(
        "global",
        "11m",
        "",
        &format!(
            "8:22: error: `season` is a multiple of the window, twice as long at least: `seasonal`{hint}"
        ),
    );
    seasonal(
        "global",
        "month",
        "",
        "8:22: error: a season is made of days or of fixed windows: `seasonal`\n  hint: such as `window: day` or `window: 1h`",
    );
}

#[test]
fn seasons_keep_within_limits() {
    seasonal(
        "global",
        "1m",
        ", history: 10",
        "8:41: error: 10 seasons have 100800 windows, and each key keeps at most 100000: `10`\n  hint: take a longer window, a shorter season or fewer seasons",
    );
    seasonal(
        "global",
        "1h",
        ", history: 101",
        "8:41: error: `history` is a whole number from 2 to 100: `101`",
    );
    seasonal(
        "global",
        "day",
        ", neighbours: 4",
        "8:44: error: a season has 7 windows, the slot and its neighbours 9: `4`",
    );
    seasonal(
        "global",
        "1h",
        ", min_windows: 25",
        "8:45: error: `min_windows` is more than 8 seasons have, 24: `25`\n  hint: take more seasons or `neighbours`",
    );
    for per in ["user", "device", "[source, ip]"] {
        seasonal(
            per,
            "1h",
            "",
            "8:22: error: `seasonal` needs `per: global`, `source` or `attrs.NAME`: `seasonal`\n  hint: it keeps every window of all its seasons, too much for each user, device or address; there `ewma` is the method",
        );
    }
    threshold(
        "window: 1h\n  zscore: {above: 4}\n  baseline: {season: 7d}",
        "8:14: error: only seasonal baselines have this key: `season`\n  hint: write `method: seasonal`",
    );
}

#[test]
fn what_is_left_out_suits_the_window() {
    let baseline = |window: &str, keys: &str| -> Baseline {
        let text = format!(
            "{{version: 1, rules: [{{name: r, on: issue, per: global, measure: count, window: {window}, zscore: {{above: 4}}, baseline: {{method: seasonal{keys}}}}}]}}"
        );
        let set = load(&[Source { path: "r.yaml".into(), text }]).unwrap();
        let Check::ZScore(zscore) = &set.rules[0].check else { unreachable!() };
        zscore.baseline
    };
    let season = |windows, neighbours| {
        Method::Seasonal(Season { length_ms: 604_800_000, windows, neighbours })
    };
    let of = |baseline: Baseline| (baseline.method, baseline.history, baseline.min_windows);
    assert_eq!(of(baseline("1h", "")), (season(168, 1), 8, 9));
    assert_eq!(of(baseline("day", "")), (season(7, 0), 8, 4));
    assert_eq!(of(baseline("day", ", history: 3")), (season(7, 0), 3, 3));
    assert_eq!(of(baseline("1h", ", neighbours: 0")), (season(168, 0), 8, 4));
    assert_eq!(baseline("1h", "").empties_max(), 8 * 168);
}

#[test]
fn a_season_reaches_as_far_back_as_all_of_its_windows() {
    let text = "{version: 1, rules: [{name: r, on: issue, per: global, measure: count, window: 1h, zscore: {above: 4}, baseline: {method: seasonal}}]}";
    let set = load(&[Source { path: "r.yaml".into(), text: text.into() }]).unwrap();
    assert_eq!(reach_ms(&set.rules[0]), (8 * 168 + 1) * 3_600_000);
}
