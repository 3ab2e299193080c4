//! Faults of levels that look ahead, as rows.

use crate::rule::tests::threshold;

/// A cap by source and day, its levels in line 8.
#[track_caller]
fn levels(levels: &str, expected: &str) {
    threshold(&format!("window: day\n  per: source\n  levels: [{levels}]"), expected);
}

#[test]
fn a_forecast_stands_before_its_bound() {
    levels("{above: 9, forecast: 2h}, {above: 9}", "");
    levels("{above: 5}, {above: 9, forecast: 2h}, {above: 9, forecast: 30m}, {above: 9}", "");
    levels("{above: 9, forecast: 2h}, {above: 20, forecast: 2h}", "");
    let hint = "\n  hint: of two levels with one bound the one with `forecast`, or with the longer one, stands first";
    levels(
        "{above: 9}, {above: 9, forecast: 2h}",
        &format!("8:32: error: the bounds of levels rise from one to the next: `9`{hint}"),
    );
    levels(
        "{above: 9, forecast: 1h}, {above: 9, forecast: 1h}",
        &format!("8:46: error: the bounds of levels rise from one to the next: `9`{hint}"),
    );
    levels(
        "{above: 9, forecast: 2h}, {above: 5}",
        &format!("8:46: error: the bounds of levels rise from one to the next: `5`{hint}"),
    );
    levels(
        "{above: 9, forecast: 2}",
        "8:33: error: `forecast` is a duration: `2`\n  hint: it needs a unit, such as `2s`",
    );
}

#[test]
fn a_forecast_warns_and_does_no_more() {
    levels("{above: 9, forecast: 2h, severity: critical, then: [review, {alert: {to: boss}}]}", "");
    let hint = "\n  hint: it stands in a level of the same bound without `forecast`";
    levels(
        "{above: 9, forecast: 2h, then: [{freeze: {scope: issue, for: window}}]}",
        &format!("8:45: error: a forecast warns and does no more: `freeze`{hint}"),
    );
    levels(
        "{above: 9, forecast: 2h, then: [unfreeze]}",
        &format!("8:44: error: a forecast warns and does no more: `unfreeze`{hint}"),
    );
}

#[test]
fn a_forecast_needs_a_cap_on_what_grows_at_a_rate() {
    threshold("window: month\n  per: global\n  above: 9\n  forecast: 2d", "");
    threshold("window: week\n  per: [source, attrs.x]\n  above: 9\n  forecast: 2d", "");
    let at = |keys: &str, place: &str, what: &str, hint: &str| {
        let expected = format!("{place}: error: `forecast` {what}: `forecast`\n  hint: {hint}");
        threshold(&format!("{keys}\n  forecast: 2h"), &expected);
    };
    at(
        "window: 1d\n  per: global\n  above: 9",
        "9:3",
        "needs a calendar window",
        "such as `window: day`; a rolling window loses as it gains",
    );
    at(
        "window: day\n  above: 9\n  per: [source, device]",
        "9:3",
        "needs `per: global`, `source` or `attrs.NAME`",
        "what one user, device or address does is too little for a rate",
    );
    at(
        "window: day\n  per: global\n  below: 9",
        "9:3",
        "goes with `above`",
        "silence comes without notice",
    );
    threshold(
        "window: day\n  per: global\n  levels: [{above: 9}]\n  forecast: 2h",
        "9:3: error: stands beside `levels`: `forecast`\n  hint: move `forecast` into the levels",
    );
    threshold(
        "window: 1h\n  zscore: {above: 4}\n  forecast: 2h",
        "8:3: error: does not go with `zscore`: `forecast`\n  hint: bounds in standard deviations stand in `zscore`",
    );
    let rule = |keys: &str, expected: &str| crate::rule::tests::rule(keys, expected);
    rule(
        "on: issue\n  measure: distinct(user)\n  window: day\n  per: global\n  above: 9\n  forecast: 2h",
        "9:3: error: `forecast` is for caps on `count` or `sum(points)`: `forecast`\n  hint: nothing else grows at a rate",
    );
    let side = "{on: issue, measure: count}";
    rule(
        &format!(
            "ratio: {{of: {side}, to: {side}}}\n  per: global\n  window: day\n  above: 1\n  forecast: 2h"
        ),
        "8:3: error: `forecast` is for caps on `count` or `sum(points)`: `forecast`\n  hint: leave it out",
    );
}
