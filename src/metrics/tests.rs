//! What stands at `/metrics` before anything has happened.

use prometheus::{Registry, TextEncoder};

use super::Metrics;
use crate::rule::{RuleSet, Source, load};

fn rules(text: &str) -> RuleSet {
    let text = format!("version: 1\nrules: [{text}]");
    load(&[Source { path: "r.yaml".to_owned(), text }]).unwrap()
}

fn decisions(metrics: &Metrics) -> Vec<String> {
    let text = TextEncoder::new().encode_to_string(&metrics.registry.gather()).unwrap();
    let name = "tidegate_decisions_total";
    text.lines().filter_map(|line| line.strip_prefix(name)).map(str::to_owned).collect()
}

#[test]
fn the_decisions_of_a_rule_set_are_counted_from_0_before_the_first_and_go_on_under_the_next() {
    let metrics = Metrics::new(&Registry::new()).unwrap();
    assert!(decisions(&metrics).is_empty());
    let cap = "{ name: cap, on: issue, measure: count, window: 1h, levels: [{ above: 5 }, { above: 9 }] }";
    metrics.begin_decisions(&rules(&format!(
        "{cap}, {{ name: trial, on: issue, mode: shadow }}, {{ name: off, on: issue, mode: off }}"
    )));
    let counted = |counts: [u64; 3]| {
        [
            format!("{{level=\"0\",mode=\"live\",rule=\"cap\"}} {}", counts[0]),
            format!("{{level=\"0\",mode=\"shadow\",rule=\"trial\"}} {}", counts[1]),
            format!("{{level=\"1\",mode=\"live\",rule=\"cap\"}} {}", counts[2]),
        ]
    };
    assert_eq!(decisions(&metrics), counted([0, 0, 0]));
    metrics.decisions.with_label_values(&["cap", "1", "live"]).inc();
    metrics.begin_decisions(&rules(cap));
    assert_eq!(decisions(&metrics), counted([0, 0, 1]), "what was counted stays");
    metrics.begin_decisions(&rules("{ name: new, on: issue }"));
    assert_eq!(decisions(&metrics).len(), 4);
}
