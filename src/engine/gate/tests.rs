//! A gate and a state behind it against a state that looks for duplicates itself.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::engine::{Input, Lists, Origin, Outcome, Output, State, step};
use crate::event::Decoder;
use crate::rule::{Source, load};

const RULES: &str = "
version: 1
rules:
  - { name: cap, on: issue, measure: sum(points), window: 1h, above: 60 }
  - { name: all, on: issue, per: global, measure: count, window: 10m, above: 12 }
";

fn plan(dedup_ms: Option<i64>, max_ahead_ms: Option<i64>) -> Plan {
    let set = load(&[Source { path: "a.yaml".to_owned(), text: RULES.to_owned() }]).unwrap();
    let settings = Settings { dedup_ms, max_ahead_ms, ..Settings::default() };
    Plan::new(Arc::new(set), Lists::default(), settings)
}

fn state() -> State {
    State::new(Origin { topic: "points.events".into(), partition: 0 })
}

/// User, number of the id, milliseconds since the event before, and how far the record is behind it.
type Row = (u8, u8, i64, Option<i64>);

fn row() -> impl Strategy<Value = Row> {
    let gap = prop_oneof![6 => 0..90_000_i64, 2 => -400_000..0_i64, 1 => 0..2_000_000_i64];
    (0..3_u8, 0..12_u8, gap, prop::option::of(-50_000..400_000_i64))
}

proptest! {
    #[test]
    fn what_comes_through_a_gate_is_what_a_state_lets_in(
        rows in prop::collection::vec(row(), 1..80),
        dedup_ms in prop_oneof![1 => Just(None), 4 => (0..900_000_i64).prop_map(Some)],
        has_most in any::<bool>(),
    ) {
        let whole = plan(dedup_ms, has_most.then_some(300_000));
        let behind = whole.clone().behind_gate();
        let mut gate = Gate::new(whole.settings.clone());
        let (mut alone, mut after) = (state(), state());
        let mut outs = [Output::default(), Output::default()];
        let mut ts = 1_763_740_800_000_i64;
        let mut duplicates = 0;
        for (offset, (user, id, gap, behind_ms)) in (0..).zip(rows) {
            ts += gap;
            let text = format!(
                r#"{{"id":"e{id}","ts":{ts},"user":"u{user}","kind":"issue","points":9}}"#
            );
            let event = Decoder::default().decode(text.as_bytes(), 65_536).unwrap();
            let hashes = Hashes::of(&event);
            let record_ts = behind_ms.map(|behind_ms| EventTime(ts - behind_ms));
            let input = || Input::Event { event: &event, offset, record_ts };
            step(&mut alone, &whole, input(), &mut outs[0]);
            gate.foresee(&hashes);
            let has_come = gate.has_come(&event, &hashes, record_ts);
            let gated = if has_come { Input::Duplicate { offset } } else { input() };
            step(&mut after, &behind, gated, &mut outs[1]);
            duplicates += u64::from(has_come);
            prop_assert_eq!(outs[0].outcome, outs[1].outcome);
            prop_assert_eq!(has_come, outs[0].outcome == Outcome::Duplicate);
            prop_assert_eq!(alone.watermark(), after.watermark());
        }
        prop_assert_eq!(duplicates, outs[0].counts.duplicate);
        let said = outs.each_ref().map(|out| format!("{:?}", (&out.effects, &out.counts)));
        prop_assert_eq!(&said[0], &said[1]);
        prop_assert_eq!(alone.dedup.len(), gate.dedup.len());
    }
}
