//! Holds on their way from one state to the next.

use std::sync::Arc;

use serde_json::json;

use super::Holds;
use crate::engine::{Effect, Input, Lists, Origin, Output, Plan, Settings, State, step};
use crate::event::Decoder;
use crate::rule::{Source, load};

const START: i64 = 1_763_780_000_000;

fn plan() -> Plan {
    let text = "
version: 1
budget: { freezes: 5, per: 1h }
rules:
  - { name: big, on: issue, where: { points: { gt: 100 } }, then: [{ freeze: { for: 1h } }] }
  - { name: free, on: expire, then: [unfreeze] }
"
    .to_owned();
    let rules = load(&[Source { path: "r.yaml".to_owned(), text }]).unwrap();
    Plan::new(Arc::new(rules), Lists::new(0), Settings::default())
}

/// Folds in an event; its effects.
fn event(state: &mut State, kind: &str, user: &str, ts: i64) -> Vec<Effect> {
    let mut out = Output::default();
    let text = json!({ "id": format!("{user}{ts}"), "ts": ts, "user": user, "kind": kind,
        "points": 500 });
    let text = text.to_string();
    let event = Decoder::default().decode(text.as_bytes(), 65_536).unwrap();
    step(state, &plan(), Input::Event { event: &event, offset: ts, record_ts: None }, &mut out);
    out.effects
}

fn state() -> State {
    State::new(Origin { topic: "events".into(), partition: 0 })
}

#[test]
fn a_state_that_takes_the_holds_of_another_goes_on_with_them() {
    let mut old = state();
    for n in 0..5 {
        event(&mut old, "issue", &format!("u{n}"), START + n);
    }
    for accounts_max in [1, 2, 5, 100] {
        // Over the wire, in parts.
        let mut new = state();
        event(&mut new, "issue", "other", START);
        for (at, part) in old.holds().cut(accounts_max).into_iter().enumerate() {
            let part: Holds = serde_json::from_str(&serde_json::to_string(&part).unwrap()).unwrap();
            if at == 0 {
                new.replace_holds(part);
            } else {
                new.add_holds(part);
            }
        }
        assert_eq!(new.holds(), old.holds());
        assert_eq!(new.accounts(), 5);
        let mut old = old.clone();
        // The budget is exhausted, a hold is lifted, and the others end.
        for (kind, user, ts) in
            [("issue", "u9", 10), ("expire", "u1", 11), ("issue", "u8", 3_600_003)]
        {
            let effects = event(&mut new, kind, user, START + ts);
            assert_eq!(effects, event(&mut old, kind, user, START + ts));
            assert!(!effects.is_empty());
        }
    }
}

#[test]
fn no_holds_are_one_part() {
    assert_eq!(state().holds().cut(10), [Holds::default()]);
}
