//! Names of labels, and when an alert ends.

use super::{ends, name_of};
use crate::notify::sample;

#[test]
fn names_of_labels_are_what_prometheus_takes() {
    let rows = [("user", "user"), ("attrs.shop-id", "attrs_shop_id"), ("1st", "_1st"), ("店", "_")];
    for (field, name) in rows {
        assert_eq!(name_of(field), name);
    }
}

#[test]
fn an_alert_ends_when_its_window_has_passed() {
    let mut decision = sample::cap();
    assert_eq!(ends(&decision), Some(1_763_827_200_000));
    let window = decision.window.as_mut().unwrap();
    window.label = "10m".to_owned();
    (window.start.0, window.end.0) = (1_000, 601_000);
    assert_eq!(ends(&decision), Some(1_201_000));
    decision.window = None;
    assert_eq!(ends(&decision), None);
}
