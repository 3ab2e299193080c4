//! Changes by people and the journal's records of them: what decodes says the same when it is
//! written again, and no state that takes it in goes wrong.

use serde_json::json;
use tidegate::engine::{
    Change, ChangePlace, Holds, Input, Output, Plan, Seat, Settings, State, step,
};
use tidegate::event::Decoder;
use tidegate::stream::Journaled;

use super::{JSON_WORDS, Target, owned};
use crate::naive::plan;

const CHANGES: [&str; 8] = [
    r#"{"v":1,"id":"c1","ts":1763779200123,"actor":"ann","reason":"ticket 42","change":"freeze","target":{"user":"u-1"},"scope":"issue","until":1763782800000}"#,
    r#"{"v":1,"id":"c2","ts":1763779200123,"actor":"ann","reason":"r","change":"freeze","target":{"source":"signin","attrs.tier":"gold"},"scope":"account","until":null}"#,
    r#"{"v":1,"id":"c3","ts":1763779200123,"actor":"bob","reason":"r","change":"unfreeze","target":{"global":true},"hold":"ab","rule":"day","ruleset":"v1","since":1763779200000}"#,
    r#"{"v":1,"id":"c4","ts":-1,"actor":"bob","reason":"r","change":"list_add","list":"bad","value":"u-1","until":1763782800000}"#,
    r#"{"v":1,"id":"c5","ts":0,"actor":"bob","reason":"r","change":"list_remove","list":"bad","value":"u-1"}"#,
    r#"{"v":1,"id":"c7","ts":0,"actor":"bob","reason":"r","change":"release","decision":"ab","rule":"day","target":{"user":"u-1"},"scope":"issue","until":1763782800000}"#,
    r#"{"v":1,"id":"c8","ts":0,"actor":"bob","reason":"r","change":"discard","decision":"ab","rule":"day","target":{"user":"u-1"}}"#,
    r#"{"v":1,"id":"c6","ts":0,"actor":"bob","reason":"r","change":"rules","ruleset":"v1","set":"v1-l","initial":true,"files":[{"name":"r.yaml","text":"version: 1\nrules: [{ name: a, on: issue, per: user, measure: count, window: 1h, above: 3 }]\n"}],"lists":[{"name":"bad","text":"value\nu-1\n"}]}"#,
];

const HOLDS: &str = r#"{"accounts":[{"target":{"user":"u-1"},"holds":[{"hold":"ab","scope":"issue","until":1763779300000,"rule":"day","ts":1763779200000,"ruleset":"v1"},{"hold":"cd","scope":"account","until":null,"rule":"tidegate.freeze","ts":1763779200000}]}],"budgets":{"":{"freezes":[1763779200000,1763779201000],"exhausted":false},"day":{"freezes":[],"exhausted":true}}}"#;

const RULES: &str = "
version: 1
lists: { bad: { field: user } }
budget: { freezes: 3, per: 1h }
rules:
  - { name: day, on: issue, measure: count, window: day, above: 1, then: [{ freeze: { scope: issue, for: 1m } }] }
  - { name: listed, where: { user: { in: bad } }, then: [unfreeze] }
";

fn words() -> Vec<Vec<u8>> {
    let more = [
        "\"v\":1,",
        "\"v\":2,",
        "\"change\":\"unfreeze\",",
        "\"until\":-9223372036854775808,",
        "\"until\":9223372036854775807,",
        "\"target\":{\"global\":true},",
        "\"target\":{},",
        "\"attrs.\":\"\"",
        "\"scope\":\"redeem\",",
        "\"holds\":[],",
        "0.1",
    ];
    owned(&[JSON_WORDS.as_slice(), &more].concat())
}

/// A state that holds something, and events to follow.
struct Bystander {
    plan: Plan,
    state: State,
    out: Output,
}

impl Bystander {
    fn new(topic: &str) -> Bystander {
        let origin = tidegate::engine::Origin { topic: topic.into(), partition: 0 };
        Bystander { plan: plan(RULES), state: State::new(origin), out: Output::default() }
    }

    fn events(&mut self, range: std::ops::Range<i64>) {
        for n in range {
            let ts = 1_763_779_200_000 + n * 30_000;
            let line =
                format!(r#"{{"id":"e{n}","ts":{ts},"user":"u-1","kind":"issue","points":1}}"#);
            let event = Decoder::default().decode(line.as_bytes(), 65_536).unwrap();
            let input = Input::Event { event: &event, offset: n, record_ts: None };
            step(&mut self.state, &self.plan, input, &mut self.out);
        }
    }

    fn change(&mut self, change: &Change, seat: Seat) {
        let place = ChangePlace { topic: "control", offset: 3, seat, partitions: 4 };
        let input = Input::Change { change, place };
        step(&mut self.state, &self.plan, input, &mut self.out);
    }

    /// It can still be told, and holds stay what they are when a state begins anew.
    fn check(&mut self) {
        self.events(10..13);
        assert_eq!(self.out.counts.accepted, self.out.counts.consumed);
        let told = self.state.canonical(&self.plan, &self.out);
        assert!(told.len() >= 2);
        let holds = self.state.holds();
        self.state.replace_holds(holds.clone());
        assert_eq!(self.state.holds(), holds);
    }
}

#[test]
fn changes() {
    let seeds = owned(&CHANGES);
    assert!(seeds.iter().all(|seed| Change::decode(seed).is_ok()));
    let holds = |input: &[u8]| {
        let Ok(change) = Change::decode(input) else { return };
        assert_eq!(Change::decode(&change.encode()), Ok(change.clone()));
        assert!(!change.key().is_empty() && change.decision_id().len() == 32);
        for seat in [Seat::Events(0), change.seat(4)] {
            let mut one = Bystander::new("events");
            one.events(0..3);
            one.change(&change, seat);
            one.check();
        }
        if let tidegate::engine::Act::Rules(rules) = &change.act {
            drop(rules.plan(Settings::default()));
        }
    };
    Target { name: "changes::changes", seeds: &seeds, words: &words(), holds: &holds }.run();
}

#[test]
fn journal() {
    let changes: Vec<serde_json::Value> = (0..)
        .zip(&CHANGES[..5])
        .map(|(at, text)| json!({ "at": at, "change": serde_json::from_str::<serde_json::Value>(text).unwrap() }))
        .collect();
    let holds: serde_json::Value = serde_json::from_str(HOLDS).unwrap();
    let entry = |changes: &[serde_json::Value], begun: Option<serde_json::Value>| {
        let mut entry = json!({ "v": 2, "topic": "events", "partition": 3, "offset": 7,
            "control": 5, "partitions": 4, "changes": changes });
        if let Some(begun) = begun {
            entry["begun"] = begun;
        }
        entry.to_string().into_bytes()
    };
    let begun = |holds| Some(json!({ "set": "v1-l", "at": 4, "first": true, "holds": holds }));
    let seeds = [
        entry(&changes[..1], None),
        entry(&changes, None),
        entry(&[], begun(json!(null))),
        entry(&[], begun(holds)),
    ];
    assert!(seeds.iter().all(|seed| Journaled::decode(seed).is_ok()));
    let holds = |input: &[u8]| {
        let Ok(entry) = Journaled::decode(input) else { return };
        assert_eq!(Journaled::decode(&entry.encode()), Ok(entry));
    };
    Target { name: "changes::journal", seeds: &seeds, words: &words(), holds: &holds }.run();
}

#[test]
fn holds_that_go_over() {
    let holds = |input: &[u8]| {
        let Ok(holds) = serde_json::from_slice::<Holds>(input) else { return };
        let mut one = Bystander::new("events");
        one.events(0..3);
        one.state.replace_holds(holds);
        one.change(&Change::decode(CHANGES[2].as_bytes()).unwrap(), Seat::Events(0));
        one.check();
    };
    let seeds = owned(&[HOLDS, r#"{"accounts":[]}"#]);
    assert!(seeds.iter().all(|seed| serde_json::from_slice::<Holds>(seed).is_ok()));
    let name = "changes::holds_that_go_over";
    Target { name, seeds: &seeds, words: &words(), holds: &holds }.run();
}
