//! A full state: made-up names that come once make room for each other, and nobody else does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use proptest::prelude::*;
use tidegate::engine::{Effect, Input, Lists, Origin, Output, Plan, Settings, State, step};
use tidegate::event::Decoder;
use tidegate::rule::{Source, load};

/// A plan whose states hold so many keys.
pub(crate) fn bounded(rules: &str, max_keys: usize) -> Plan {
    let source = Source { path: "rules.yaml".to_owned(), text: rules.to_owned() };
    let set = load(&[source]).unwrap();
    let settings = Settings { max_keys: Some(max_keys), ..Settings::default() };
    Plan::new(Arc::new(set), Lists::new(0), settings)
}

/// The state of a log of events, and that of the partial aggregates it tells.
struct Pair {
    plan: Plan,
    events: (State, Output),
    shared: (State, Output),
    offset: i64,
}

impl Pair {
    fn new(plan: Plan) -> Pair {
        let origin = |topic: &str| Origin { topic: topic.into(), partition: 0 };
        Pair {
            plan,
            events: (State::new(origin("events")), Output::default()),
            shared: (State::new(origin("partials")), Output::default()),
            offset: 0,
        }
    }

    /// An event of a user; the rules that fire, with their keys.
    fn feed(&mut self, user: &str, device: &str) -> Vec<(String, String)> {
        let offset = self.offset;
        self.offset += 1;
        let line = format!(
            r#"{{"id":"e{offset}","ts":{},"user":"{user}","kind":"issue","points":1,"device":"{device}"}}"#,
            1_763_779_200_000 + offset
        );
        let event = Decoder::default().decode(line.as_bytes(), 65_536);
        let event = &event.unwrap();
        let (state, out) = &mut self.events;
        step(state, &self.plan, Input::Event { event, offset, record_ts: None }, out);
        let from = state.origin().clone();
        let records = out.partials.drain(&from, state.watermark(), 1, false, false);
        let mut effects: Vec<Effect> = out.effects.drain(..).collect();
        let (shared, out) = &mut self.shared;
        for (_, payload) in records {
            let input = Input::Partials { payload: &payload, offset, record_ts: Some(event.ts.0) };
            step(shared, &self.plan, input, out);
        }
        effects.append(&mut out.effects);
        let fired = effects.into_iter().filter_map(|effect| match effect {
            Effect::Decision(decision) => Some((decision.rule, serde_json::json!(decision.key))),
            _ => None,
        });
        fired.map(|(rule, key)| (rule, key.to_string())).collect()
    }
}

/// Who is counted, by the words of the documentation.
#[derive(Default)]
struct Naive {
    counts: BTreeMap<u8, u32>,
    once: VecDeque<u8>,
    evicted: u64,
    refused: u64,
}

impl Naive {
    /// Whether a rule of `above: 2` fires.
    fn feed(&mut self, user: u8, max: usize) -> bool {
        if let Some(count) = self.counts.get_mut(&user) {
            *count += 1;
            self.once.retain(|other| *other != user);
            return *count == 3;
        }
        if self.counts.len() >= max {
            let Some(first) = self.once.pop_front() else {
                self.refused += 1;
                return false;
            };
            self.counts.remove(&first);
            self.evicted += 1;
        }
        self.counts.insert(user, 1);
        self.once.push_back(user);
        false
    }
}

const USERS: &str = "
version: 1
timezone: Asia/Shanghai
rules: [{ name: often, on: issue, per: user, measure: count, window: day, above: 2 }]
";

proptest! {
    #[test]
    fn keys_counted_once_make_room_in_the_order_they_came(
        users in prop::collection::vec(0u8..12, 1..200),
        max in 1usize..10,
    ) {
        let mut pair = Pair::new(bounded(USERS, max));
        let mut naive = Naive::default();
        for user in users {
            let fired = !pair.feed(&format!("u{user}"), "d").is_empty();
            prop_assert_eq!(fired, naive.feed(user, max));
            prop_assert_eq!(pair.events.0.keys(), naive.counts.len());
            let counts = &pair.events.1.counts;
            prop_assert_eq!((counts.keys_evicted, counts.keys_refused), (naive.evicted, naive.refused));
        }
    }
}

const BOTH: &str = "
version: 1
timezone: Asia/Shanghai
rules:
  - { name: often, on: issue, per: user, measure: count, window: day, above: 2 }
  - { name: again, on: issue, per: user, measure: sum(points), window: 1h, above: 2 }
  - { name: worn, on: issue, per: device, measure: count, window: day, above: 2 }
  - { name: lent, on: issue, per: device, measure: distinct(user), window: 1h, above: 2 }
  - { name: once, on: issue, where: { points: { gt: 0 } }, cooldown: 1h, then: [review] }
";

/// A hundred users and devices that come twice before a flood, and once after it, fire; what the
/// flood leaves behind does not grow with it.
#[test]
fn a_flood_of_names_that_come_once_drives_nobody_out_and_does_not_pile_up() {
    let max = 2_000;
    let flood = 20 * max;
    // Without the rule that cools down for each.
    let rules = BOTH.rsplit_once("  - {").unwrap().0;
    let mut pair = Pair::new(bounded(rules, max));
    for n in 0..200 {
        assert!(pair.feed(&format!("slow-{}", n % 100), &format!("phone-{}", n % 100)).is_empty());
    }
    // Ids are remembered by time, not by number.
    let bytes = |state: &State| state.bytes() - state.bytes_of_ids();
    let mut full = (0, 0);
    for n in 0..flood {
        assert!(pair.feed(&format!("bot-{n}"), &format!("made-up-{n}")).is_empty());
        if n == 2 * max {
            full = (bytes(&pair.events.0), bytes(&pair.shared.0));
        }
    }
    for (state, out) in [&pair.events, &pair.shared] {
        assert_eq!(state.keys(), max);
        let given_up = (flood + 100 - max) as u64;
        assert_eq!((out.counts.keys_evicted, out.counts.keys_refused), (given_up, 0));
    }
    let grown = bytes(&pair.events.0);
    assert!(grown < full.0 * 3 / 2, "{grown} bytes, {} when it was full", full.0);
    let grown = bytes(&pair.shared.0);
    assert!(grown < full.1 * 3 / 2, "{grown} bytes, {} when it was full", full.1);
    let mut fired = BTreeSet::new();
    for n in 0..100 {
        fired.extend(pair.feed(&format!("slow-{n}"), &format!("phone-{n}")));
    }
    let of = |rule: &str| fired.iter().filter(|(name, _)| name == rule).count();
    assert_eq!([of("often"), of("again"), of("worn")], [100, 100, 100]);
}

/// What has fired, and cools down, stays: nobody is told of it twice.
#[test]
fn a_key_that_cools_down_makes_no_room() {
    let mut pair = Pair::new(bounded(BOTH, 3));
    let mut told = |user: &str| {
        let fired = pair.feed(user, &format!("of-{user}"));
        (fired.iter().filter(|(rule, _)| rule == "once").count(), pair.events.1.counts.keys_refused)
    };
    for user in ["a", "b", "c"] {
        assert_eq!(told(user), (1, 0), "{user}");
    }
    // Nobody may go for the fourth. By three rules it is not counted; the one that needs no
    // counter tells of it all the same, and again, since it remembers nothing.
    assert_eq!(told("d"), (1, 3));
    assert_eq!(told("d"), (1, 6));
    for user in ["a", "b", "c"] {
        assert_eq!(told(user), (0, 6), "{user}");
    }
}

/// Whoever takes a place over that has been given up twice goes when its window is over, like
/// anybody else.
#[test]
fn a_place_given_up_twice_is_given_back() {
    let plan = bounded(
        "
version: 1
rules:
  - { name: again, on: issue, per: user, measure: count, window: 1h, above: 5 }
  - { name: lent, on: redeem, per: [user, device], measure: count, window: 1h, above: 5 }
",
        1,
    );
    let (mut state, mut out) =
        (State::new(Origin { topic: "events".into(), partition: 0 }), Output::default());
    let mut feed = |minute: i64, user: &str, kind: &str| {
        let ts = 1_763_779_200_000 + minute * 60_000;
        let line = format!(
            r#"{{"id":"e{minute}","ts":{ts},"user":"{user}","kind":"{kind}","points":1,"device":"d"}}"#
        );
        let event = Decoder::default().decode(line.as_bytes(), 65_536);
        let (event, offset) = (&event.unwrap(), minute);
        step(&mut state, &plan, Input::Event { event, offset, record_ts: None }, &mut out);
        state.keys()
    };
    assert_eq!(feed(0, "a", "issue"), 1);
    assert_eq!(feed(10, "b", "issue"), 1, "in the place of a");
    assert_eq!(feed(20, "c", "redeem"), 1, "b has gone, and nobody is in its place");
    // The hour of a is over, with the lateness; those of b and c are not.
    assert_eq!(feed(76, "d", "issue"), 1, "in that place");
    assert_eq!(feed(600, "e", "expire"), 0);
}
