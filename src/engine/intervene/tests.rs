//! Changes applied to the states of all partitions.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::engine::{
    Change, ChangePlace, Effect, Input, Lists, Origin, Output, Plan, Seat, Settings, State,
    account_key, step,
};
use crate::event::Decoder;
use crate::rule::{ListEntry, Source, load};

const RULES: &str = "
version: 1
lists:
  bad: { file: bad.csv, field: user }
rules:
  - { name: listed, on: redeem, where: { user: { in: bad } }, then: [review] }
  - { name: big, on: issue, where: { points: { gt: 100 } }, then: [{ freeze: { for: 1h } }] }
  - { name: free, on: expire, then: [unfreeze] }
  - { name: few, on: adjust, budget: { freezes: 1, per: 1h }, then: [{ freeze: { scope: redeem, for: 2h } }] }
";

const PARTITIONS: u32 = 2;

/// The states of all partitions of both logs.
struct World {
    plan: Plan,
    states: Vec<(Seat, State, Output)>,
    changes: i64,
}

impl World {
    fn new() -> World {
        let source = Source { path: "r.yaml".to_owned(), text: RULES.to_owned() };
        let mut lists = Lists::new(1);
        let filed =
            ListEntry { value: "filed".to_owned(), reason: None, expires: None, author: None };
        lists.set(0, vec![filed]);
        let plan = Plan::new(Arc::new(load(&[source]).unwrap()), lists, Settings::default());
        let state = |seat, topic: &str, partition: u32| {
            let partition = partition.try_into().unwrap();
            (seat, State::new(Origin { topic: topic.into(), partition }), Output::default())
        };
        let states = (0..PARTITIONS).flat_map(|p| {
            [state(Seat::Events(p), "events", p), state(Seat::Partials(p), "partials", p)]
        });
        World { plan, states: states.collect(), changes: 0 }
    }

    /// Makes a change, and returns its effects as JSON, by state.
    fn change(&mut self, act: &Value) -> Vec<Value> {
        self.changes += 1;
        let mut change = json!({ "v": 1, "id": format!("c{}", self.changes), "ts": 1_000,
            "actor": "ann", "reason": "ticket 42" });
        change.as_object_mut().unwrap().extend(act.as_object().unwrap().clone());
        let change = Change::decode(change.to_string().as_bytes()).unwrap();
        for (seat, state, out) in &mut self.states {
            let place = ChangePlace {
                topic: "control",
                offset: self.changes,
                seat: *seat,
                partitions: PARTITIONS,
            };
            step(state, &self.plan, Input::Change { change: &change, place }, out);
        }
        self.effects()
    }

    /// An event of a user, in the partition that a Kafka producer chooses.
    fn event(&mut self, kind: &str, user: &str, ts: i64, points: i64) -> Vec<Value> {
        let text = json!({ "id": format!("{kind}{user}{ts}"), "ts": ts, "user": user, "kind": kind,
            "points": points })
        .to_string();
        let event = Decoder::default().decode(text.as_bytes(), 65_536).unwrap();
        let seat = seat(&json!({ "user": user }));
        let (_, state, out) = self.states.iter_mut().find(|(own, ..)| *own == seat).unwrap();
        let input = Input::Event { event: &event, offset: ts, record_ts: None };
        step(state, &self.plan, input, out);
        self.effects()
    }

    fn effects(&mut self) -> Vec<Value> {
        let effects = self.states.iter_mut().flat_map(|(.., out)| std::mem::take(&mut out.effects));
        let json = |effect| match effect {
            Effect::Decision(decision)
            | Effect::Resolved(decision)
            | Effect::Canary(decision)
            | Effect::Daily(decision) => {
                json!({ "decision": decision })
            }
            Effect::Command(command) => json!({ "command": command }),
            Effect::Account(account) => {
                json!({ "account": account_key(&account.target), "holds": account.holds.len() })
            }
        };
        effects.map(json).collect()
    }
}

fn seat(target: &Value) -> Seat {
    let change = json!({ "v": 1, "id": "x", "ts": 0, "actor": "a", "reason": "r",
            "change": "unfreeze", "target": target });
    Change::decode(change.to_string().as_bytes()).unwrap().seat(PARTITIONS)
}

const START: i64 = 1_763_780_000_000;

fn freeze(target: &Value, scope: &str, until: Option<i64>) -> Value {
    json!({ "change": "freeze", "target": target, "scope": scope, "until": until })
}

#[test]
fn a_freeze_by_hand_writes_decision_command_and_account_once() {
    for target in [
        json!({ "user": "u1" }),
        json!({ "user": "u2" }),
        json!({ "device": "d1" }),
        json!({ "source": "s", "ip": "::1" }),
        json!({ "global": true }),
    ] {
        let mut world = World::new();
        let until = START + 10;
        let effects = world.change(&freeze(&target, "issue", Some(until)));
        assert_eq!(effects.len(), 3, "{effects:#?}");
        let (decision, command) = (&effects[0]["decision"], &effects[1]["command"]);
        assert_eq!(decision["rule"], "tidegate.freeze");
        assert_eq!((&decision["actor"], &decision["reason"]), (&json!("ann"), &json!("ticket 42")));
        assert_eq!(decision["key"], target);
        assert_eq!(decision.get("alert"), None, "an audit record is no notice");
        assert_eq!(
            decision["trigger"],
            json!({ "id": "c1", "topic": "control", "partition": 0, "offset": 1 })
        );
        assert_eq!(command["decision"], decision["id"]);
        assert_eq!((&command["command"], &command["target"]), (&json!("freeze"), &target));
        assert_eq!((&command["scope"], &command["until"]), (&json!("issue"), &json!(until)));
        assert_eq!((&command["reason"], &command["actor"]), (&json!("ticket 42"), &json!("ann")));
        assert_eq!(effects[2]["holds"], 1);
        // A second one of the scope takes the place of the first, one of another scope adds up.
        assert_eq!(world.change(&freeze(&target, "issue", None))[2]["holds"], 1);
        assert_eq!(world.change(&freeze(&target, "redeem", None))[2]["holds"], 2);
        // All of them, each by a command of its own.
        let effects = world.change(&json!({ "change": "unfreeze", "target": target }));
        assert_eq!(effects.len(), 4, "{effects:#?}");
        assert_eq!(effects[0]["decision"]["rule"], "tidegate.unfreeze");
        assert_ne!(effects[1]["command"]["id"], effects[2]["command"]["id"]);
        assert_eq!(effects[1]["command"]["scope"], "issue");
        assert_eq!(effects[3]["holds"], 0);
        // Nothing is left: written down all the same.
        assert_eq!(world.change(&json!({ "change": "unfreeze", "target": target })).len(), 1);
    }
}

#[test]
fn one_hold_or_those_of_a_rule_are_lifted_wherever_they_are() {
    let mut world = World::new();
    let mut holds = Vec::new();
    for n in 0..6 {
        let effects = world.event("issue", &format!("u{n}"), START + n, 500);
        holds.push(effects[0]["decision"]["id"].clone());
    }
    let effects = world.change(&json!({ "change": "unfreeze", "hold": holds[3] }));
    assert_eq!(effects.len(), 3, "{effects:#?}");
    let command = effects.iter().find_map(|effect| effect.get("command")).unwrap();
    assert_eq!((&command["hold"], &command["target"]["user"]), (&holds[3], &json!("u3")));
    let effects = world.change(&json!({ "change": "unfreeze", "rule": "big" }));
    let count = |what: &str| effects.iter().filter(|effect| effect.get(what).is_some()).count();
    assert_eq!((count("decision"), count("command"), count("account")), (1, 5, 5));
    // One rule's holds of one target.
    let by_hand = world.change(&freeze(&json!({ "user": "u1" }), "account", None));
    world.event("issue", "u1", START + 10, 500);
    let act = json!({ "change": "unfreeze", "target": { "user": "u1" }, "rule": "big" });
    let effects = world.change(&act);
    assert_eq!((effects.len(), &effects[2]["holds"]), (3, &json!(1)));
    // The rules' own unfreezing leaves what was done by hand.
    let effects = world.event("expire", "u1", START + 11, 1);
    assert_eq!(effects.len(), 1, "{effects:#?}");
    let hold = &by_hand[0]["decision"]["id"];
    let effects = world.change(&json!({ "change": "unfreeze", "hold": hold }));
    assert_eq!(effects.iter().filter(|effect| effect.get("command").is_some()).count(), 1);
}

#[test]
fn a_hold_by_hand_ends_as_others_do_and_one_that_has_ended_is_only_written_down() {
    let mut world = World::new();
    let target = json!({ "user": "u1" });
    world.event("issue", "u1", START, 1);
    let effects = world.change(&freeze(&target, "account", Some(START)));
    assert_eq!(effects.len(), 1, "{effects:#?}");
    let summary = effects[0]["decision"]["summary"].as_str().unwrap();
    assert!(summary.ends_with("its end has passed already"), "{summary}");
    assert_eq!(world.change(&freeze(&target, "account", Some(START + 5))).len(), 3);
    let effects = world.event("issue", "u1", START + 5, 1);
    assert_eq!(effects, [json!({ "account": "user:u1", "holds": 0 })]);
}

#[test]
fn list_entries_added_and_removed_by_hand_count_beside_those_of_the_file() {
    let mut world = World::new();
    let mut ts = START;
    let mut hit = |world: &mut World, user: &str, later: i64| {
        ts += 1 + later;
        !world.event("redeem", user, ts, 1).is_empty()
    };
    let entry = |change: &str, value: &str, until: Option<i64>| json!({ "change": change, "list": "bad", "value": value, "until": until });
    assert!(hit(&mut world, "filed", 0) && !hit(&mut world, "u1", 0));
    let effects = world.change(&entry("list_add", "u1", Some(START + 100)));
    assert_eq!(effects.len(), 1, "written down once: {effects:#?}");
    let decision = &effects[0]["decision"];
    assert_eq!(decision["rule"], "tidegate.lists");
    assert_eq!(decision["key"], json!({ "list": "bad", "value": "u1" }));
    world.change(&entry("list_add", "u2", None));
    assert!(hit(&mut world, "u1", 0) && hit(&mut world, "u2", 0), "both partitions know");
    assert!(!hit(&mut world, "u1", 200), "its end has passed");
    assert!(hit(&mut world, "u2", 0));
    world.change(&entry("list_remove", "u2", None));
    world.change(&entry("list_remove", "filed", None));
    assert!(!hit(&mut world, "u2", 0) && !hit(&mut world, "filed", 0));
    world.change(&entry("list_add", "filed", None));
    assert!(hit(&mut world, "filed", 0));
    let act = json!({ "change": "list_add", "list": "odd", "value": "x", "until": null });
    let summary = world.change(&act)[0]["decision"]["summary"].to_string();
    assert!(summary.contains("has no list of this name"), "{summary}");
}

/// The same rules, with another bound or without a rule.
fn edited(world: &World, from: &str, to: &str) -> Plan {
    let source = Source { path: "r.yaml".to_owned(), text: RULES.replace(from, to) };
    let rules = load(&[source]).unwrap();
    assert_ne!(rules.version, world.plan.rules.version);
    Plan::new(Arc::new(rules), Lists::new(1), Settings::default())
}

#[test]
fn holds_of_a_bad_edit_are_lifted_and_no_others() {
    let mut world = World::new();
    let good = world.plan.rules.version.clone();
    world.event("issue", "u1", START, 500);
    world.change(&freeze(&json!({ "user": "u9" }), "account", None));
    world.plan = edited(&world, "gt: 100", "gt: 5");
    let bad = world.plan.rules.version.clone();
    world.event("issue", "u2", START + 1, 10);
    world.event("issue", "u3", START + 1_000, 10);
    let by_hand = json!({ "user": "u4" });
    world.change(&freeze(&by_hand, "account", None));
    // What the first set froze and what people froze is left alone.
    let lifted = |effects: &[Value]| -> Vec<String> {
        let commands = effects.iter().filter_map(|effect| effect.get("command"));
        let user = |command: &Value| command["target"]["user"].as_str().unwrap().to_owned();
        let mut users: Vec<String> = commands.map(user).collect();
        users.sort();
        users
    };
    let act = json!({ "change": "unfreeze", "rule": "big", "ruleset": bad, "since": START + 2 });
    let effects = world.change(&act);
    assert_eq!(lifted(&effects), ["u3"]);
    let decision = effects.iter().find_map(|effect| effect.get("decision")).unwrap();
    let said = decision["summary"].as_str().unwrap();
    let since = "since 2025-11-22T02:53:20.002Z";
    assert!(said.contains(&format!("(rule big, ruleset {bad}, {since})")), "{said}");
    assert_eq!(lifted(&world.change(&json!({ "change": "unfreeze", "ruleset": bad }))), ["u2"]);
    let act = json!({ "change": "unfreeze", "rule": "other", "ruleset": good });
    assert_eq!(lifted(&world.change(&act)), [] as [&str; 0]);
    let act = json!({ "change": "unfreeze", "rule": "big", "since": START + 1 });
    assert_eq!(lifted(&world.change(&act)), [] as [&str; 0]);
    let act = json!({ "change": "unfreeze", "rule": "big", "since": START });
    assert_eq!(lifted(&world.change(&act)), ["u1"]);
}

#[test]
fn the_set_that_placed_a_hold_is_kept_in_the_state_and_stands_in_no_account() {
    let mut world = World::new();
    let seat = seat(&json!({ "user": "u1" }));
    let text = json!({ "id": "e", "ts": START, "user": "u1", "kind": "issue", "points": 500 });
    let text = text.to_string();
    let event = Decoder::default().decode(text.as_bytes(), 65_536).unwrap();
    let (_, state, out) = world.states.iter_mut().find(|(own, ..)| *own == seat).unwrap();
    let input = Input::Event { event: &event, offset: 0, record_ts: None };
    step(state, &world.plan, input, out);
    let account = out.effects.iter().find_map(|effect| match effect {
        Effect::Account(account) => Some(serde_json::to_value(account).unwrap()),
        _ => None,
    });
    let hold = account.unwrap()["holds"][0].clone();
    let fields: Vec<&String> = hold.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["hold", "scope", "until", "rule", "ts"]);
}

#[test]
fn a_decision_names_some_of_many_commands() {
    let mut world = World::new();
    for n in 0..300 {
        world.event("issue", &format!("u{n}"), START + n, 500);
    }
    let effects = world.change(&json!({ "change": "unfreeze", "rule": "big" }));
    let count = |what: &str| effects.iter().filter(|effect| effect.get(what).is_some()).count();
    assert_eq!((count("decision"), count("command"), count("account")), (1, 300, 300));
    let decision = effects.iter().find_map(|effect| effect.get("decision")).unwrap();
    let actions = decision["actions"].as_array().unwrap();
    assert_eq!(actions.len(), 51);
    assert!(actions[50].as_str().unwrap().ends_with(" more"));
}

#[test]
fn a_published_rule_set_is_written_down_once_and_the_first_of_all_is_not() {
    let mut world = World::new();
    let rules = |initial: bool| {
        json!({ "change": "rules", "ruleset": "9c1f7a2e", "set": "9c1f7a2e-1", "initial": initial,
            "files": [{ "name": "r.yaml", "text": RULES }] })
    };
    assert_eq!(world.change(&rules(true)), [] as [Value; 0]);
    let effects = world.change(&rules(false));
    assert_eq!(effects.len(), 1, "{effects:#?}");
    let decision = &effects[0]["decision"];
    assert_eq!(
        (&decision["rule"], &decision["severity"]),
        (&json!("tidegate.rules"), &json!("info"))
    );
    assert_eq!(decision["key"], json!({ "ruleset": "9c1f7a2e" }));
    assert_eq!((&decision["ruleset"], &decision["actor"]), (&json!("9c1f7a2e"), &json!("ann")));
    assert_eq!(decision["summary"], "ruleset 9c1f7a2e: published by ann: ticket 42");
    assert_eq!(decision.get("alert"), None, "an audit record is no notice");
}

#[test]
fn a_freeze_that_its_budget_held_back_is_put_after_all_or_let_be() {
    let mut world = World::new();
    world.event("adjust", "u1", START, 1);
    let held = world.event("adjust", "u2", START + 1, 1);
    // Two users may have partitions, and so budgets, of their own.
    let held = if held.iter().any(|effect| effect["command"]["command"] == "review") {
        held
    } else {
        world.event("adjust", "u1", START + 2, 1)
    };
    let review = held.iter().find(|effect| effect["command"]["command"] == "review").unwrap();
    let review = &review["command"];
    assert_eq!(review["scope"], "redeem");
    let until = review["until"].as_i64().unwrap();
    assert_eq!(until, review["ts"].as_i64().unwrap() + 7_200_000);
    let act = |change: &str| {
        json!({ "change": change, "decision": review["decision"], "rule": "few",
            "target": review["target"], "scope": "redeem", "until": until })
    };
    let effects = world.change(&act("discard"));
    assert_eq!(effects.len(), 1, "{effects:#?}");
    assert_eq!(effects[0]["decision"]["rule"], "tidegate.held");
    assert_eq!(effects[0]["decision"]["key"], json!({ "decision": review["decision"] }));

    let effects = world.change(&act("release"));
    let command = &effects[1]["command"];
    assert_eq!((&command["command"], &command["rule"]), (&json!("freeze"), &json!("few")));
    assert_eq!((&command["scope"], &command["until"]), (&json!("redeem"), &json!(until)));
    // What lifts it later names the decision that it was an action of.
    assert_eq!((&command["decision"], &command["actor"]), (&review["decision"], &json!("ann")));
    let holds = effects[2]["holds"].as_i64().unwrap();
    // A second release of the same puts no second hold, and one that comes too late none at all.
    assert_eq!(world.change(&act("release"))[2]["holds"], holds);
    let user = review["target"]["user"].as_str().unwrap().to_owned();
    world.event("redeem", &user, until, 1);
    let effects = world.change(&act("release"));
    assert_eq!(effects.len(), 1, "{effects:#?}");
    let summary = effects[0]["decision"]["summary"].as_str().unwrap();
    assert!(summary.ends_with("its end has passed already"), "{summary}");
}
