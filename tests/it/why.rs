//! Why a rule fired, or did not (C5): of files, and of running instances (`TIDEGATE_KAFKA=1`).

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::backtest::{Backtest, Explained, run};
use tidegate::engine::explain::{ConditionAnswer, EntryAnswer, Question, RuleAnswer};
use tidegate::engine::impact::changes;
use tidegate::engine::{
    Change, ChangePlace, Decision, Effect, Input, Lists, Origin, Output, Plan, Seat, Settings,
    State, step,
};
use tidegate::event::{Decoder, EventTime};
use tidegate::rule::{Source, load, parse_list};

use crate::broker::{self, wait};
use crate::control::tidegate;
use crate::process::Instance;
use crate::run::{Setup, event};

fn plan(rules: &str) -> Plan {
    let text = format!("version: 1\nrules:\n{rules}");
    let set = load(&[Source { path: "rules.yaml".into(), text }]).unwrap();
    let settings = Settings { max_ahead_ms: None, ..Settings::default() };
    Plan::new(Arc::new(set), Lists::default(), settings)
}

fn fold(plan: &Plan) -> Backtest {
    Backtest::new(plan.clone(), Decoder::default(), 65_536, "events")
}

fn of(user: &str, rule: &str) -> Question {
    let fields = [("user".to_owned(), user.to_owned())].into();
    Question { fields, rule: Some(rule.to_owned()) }
}

fn ask(plan: &Plan, log: &str, question: &Question, event: Option<&str>) -> Explained {
    fold(plan).why(log.as_bytes(), question, event, &mut |_| {}).unwrap().unwrap()
}

/// An event: kind, points, more fields.
type Of = (&'static str, i64, &'static str);

/// Events of one user, one a second.
fn log(events: &[Of]) -> String {
    let mut log = String::new();
    for (at, (kind, points, more)) in events.iter().enumerate() {
        let ts = 1_763_780_000_000 + 1000 * at;
        writeln!(
            log,
            r#"{{"id":"e{at}","ts":{ts},"user":"u1","kind":"{kind}","points":{points}{more}}}"#
        )
        .unwrap();
    }
    log
}

fn only(answer: &Explained) -> &RuleAnswer {
    let [rule] = answer.answer.rules.as_slice() else { unreachable!("{answer:#?}") };
    rule
}

/// Every leaf, in order.
fn leaves(conditions: &[ConditionAnswer]) -> Vec<(String, Option<bool>)> {
    conditions
        .iter()
        .flat_map(|one| match one.within.as_slice() {
            [] => vec![(one.condition.clone(), one.holds)],
            within => leaves(within),
        })
        .collect()
}

/// What a question says of a rule and an event that fired it is what its decision said.
#[test]
fn a_decision_and_the_answer_about_its_event_say_the_same() {
    let plan = plan(
        "
  - { name: cap, on: issue, per: user, measure: sum(points), window: day, levels: [{ above: 20 }, { above: 40 }] }
  - { name: burst, on: [issue, redeem], per: user, measure: count, window: 4s, above: 3 }
  - { name: big, on: redeem, where: { points: { gte: 9 }, not: { source: shop } } }
  - { name: ring, on: issue, per: device, measure: distinct(user), window: 1h, above: 0 }
  - { name: pair, on: issue, per: [user, device], measure: max(points), window: week, above: 8 }
  - { name: share, per: user, window: day, ratio: { of: { on: redeem, measure: sum(points) }, to: { on: issue, measure: sum(points) }, min_to: 10 }, above: 0.4 }
  - { name: all, on: issue, per: global, measure: count, window: day, above: 5 }
",
    );
    let kinds = ["issue", "issue", "redeem", "issue", "expire"];
    let more = [r#","device":"d1""#, r#","source":"shop""#, r#","device":"d2","ip":"10.0.0.1""#];
    let events: Vec<Of> = (0..60)
        .map(|at: usize| (kinds[at * 7 % 5], (at * 5 % 13).try_into().unwrap(), more[at % 3]))
        .collect();
    let log = log(&events);
    let mut decisions: Vec<Decision> = Vec::new();
    let mut sink = |effect: &Effect| {
        if let Effect::Decision(decision) = effect {
            decisions.push(Decision::clone(decision));
        }
        Ok(())
    };
    run(&mut fold(&plan), log.as_bytes(), &mut sink, &mut |_| {}).unwrap();
    let mut rules: Vec<&str> = decisions.iter().map(|one| one.rule.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    assert_eq!(rules, ["all", "big", "burst", "cap", "pair", "ring", "share"]);
    for decision in &decisions {
        let id = decision.trigger.as_ref().unwrap().id.clone();
        let question = Question { rule: Some(decision.rule.clone()), ..Question::default() };
        let answer = ask(&plan, &log, &question, Some(&id));
        let asked = answer.event.as_ref().unwrap();
        assert_eq!(asked.outcome, "accepted");
        assert!(asked.decisions.contains(decision), "{decision:#?}\n{asked:#?}");
        let rule = only(&answer);
        assert_eq!(rule.key, decision.key);
        assert_eq!(rule.value, decision.value, "{decision:#?}");
        assert_eq!(rule.window, decision.window);
        assert!(rule.verdict.starts_with("fired at this event"), "{}", rule.verdict);
        if decision.rule == "share" {
            continue;
        }
        let leaves = leaves(&rule.conditions);
        // `source: shop` stands within a `not`.
        let held = |(condition, holds): &(String, Option<bool>)| {
            *holds == Some(condition != "source is shop")
        };
        assert!(leaves.iter().all(held), "{leaves:?}");
        if decision.rule != "big" {
            let level = &rule.levels[decision.level as usize];
            assert_eq!(level.above, decision.bound);
            assert!(level.breached && level.fired, "{level:?}");
        }
    }
}

const SHOP: &str = r#","source":"shop""#;

/// A rule, events of which the last is asked about, and the answer.
const SILENT: &[(&str, &[Of], &str)] = &[
    (
        "{ name: r, on: issue, where: { source: share }, measure: count, window: day, above: 0 }",
        &[("issue", 1, SHOP)],
        "does not see the event: source is share, but it is shop; has counted no event of this key lately",
    ),
    (
        "{ name: r, on: issue, where: { device: d1 } }",
        &[("issue", 1, SHOP)],
        "does not see the event: device is d1, but it has none",
    ),
    (
        "{ name: r, on: redeem, where: { points: { gt: 3 } } }",
        &[("issue", 5, "")],
        "does not see the event: kind is redeem, but it is issue",
    ),
    (
        "{ name: r, where: { any: [{ points: 7 }, { source: share }] } }",
        &[("issue", 5, SHOP)],
        "does not see the event: any of (points is 7; source is share)",
    ),
    (
        "{ name: r, on: issue, measure: sum(points), window: day, above: 10 }",
        &[("issue", 10, "")],
        "sum(points) 10 is within every bound (> 10)",
    ),
    (
        "{ name: r, on: issue, measure: sum(points), window: day, above: 10, clear: 5 }",
        &[("issue", 11, ""), ("issue", 1, "")],
        "sum(points) 12 is beyond level 0 (> 10): has fired, and does not again before the value is back within bounds",
    ),
    (
        "{ name: r, on: issue, measure: count, window: 1s, above: 1, cooldown: 1h }",
        &[("issue", 1, ""), ("redeem", 1, "")],
        "does not see the event: kind is issue, but it is redeem; count 1 is within every bound (> 1)",
    ),
    (
        "{ name: r, on: issue, cooldown: 1h }",
        &[("issue", 1, ""), ("issue", 1, "")],
        "has fired for this key; silent until 2025-11-22T03:53:20Z",
    ),
    (
        "{ name: r, on: issue, measure: count, window: 1m, zscore: { above: 4 } }",
        &[("issue", 1, "")],
        "no verdict yet: 0 of the 30 closed windows that one needs",
    ),
    (
        "{ name: r, window: day, ratio: { of: { on: redeem, measure: count }, to: { on: issue, measure: count }, min_to: 5 }, above: 1 }",
        &[("redeem", 1, ""), ("issue", 1, "")],
        "no verdict: too little on the other side of the ratio",
    ),
    ("{ name: r, on: issue, mode: off }", &[("issue", 1, "")], "the rule is off"),
    (
        "{ name: r, on: issue, mode: shadow, where: { new: { field: device, within: 1d } } }",
        &[("issue", 1, r#","device":"d1""#)],
        "does not see the event: device is new within 1d, but it is d1; in shadow: no commands, no notices",
    ),
    (
        "{ name: r, on: issue, budget: { freezes: 1, per: 1h }, measure: max(points), window: 1s, above: 4, then: [freeze] }",
        &[("issue", 5, ""), ("expire", 1, ""), ("issue", 3, "")],
        "max(points) 3 is within every bound (> 4); its budget of 1 freezes per 1h is exhausted: freezes become reviews",
    ),
    (
        "{ name: r, on: issue, per: attrs.tier, measure: count, window: 1h, below: 1 }",
        &[("issue", 5, r#","attrs":{"tier":"gold"}"#)],
        "count 1 is within every bound (< 1)",
    ),
    (
        "{ name: r, on: issue, per: source, measure: count, window: day, zscore: { above: 4 }, baseline: { method: seasonal } }",
        &[("issue", 5, SHOP)],
        "no verdict yet: 0 of the 4 closed windows that one needs",
    ),
];

#[test]
fn what_keeps_a_rule_from_firing_is_named() {
    for (rule, events, expected) in SILENT {
        let plan = plan(&format!("  - {rule}\n"));
        let last = format!("e{}", events.len() - 1);
        let answer = ask(&plan, &log(events), &Question::default(), Some(&last));
        assert_eq!(only(&answer).verdict, *expected, "{rule}");
    }
}

#[test]
fn a_cap_that_fills_up_tells_when_it_is_full() {
    let plan = plan(
        "  - { name: r, on: issue, per: source, measure: sum(points), window: day, levels: [{ above: 500, forecast: 1h }, { above: 9000, forecast: 1h }] }\n",
    );
    let mut log = String::new();
    for at in 0..7 {
        let ts = 1_763_780_000_000_i64 + 60_000 * at;
        writeln!(log, r#"{{"id":"e{at}","ts":{ts},"user":"u1","kind":"issue","points":10{SHOP}}}"#)
            .unwrap();
    }
    let answer = ask(&plan, &log, &Question::default(), Some("e6"));
    let rule = only(&answer);
    // 431 more at ten a minute.
    assert_eq!(
        rule.verdict,
        "sum(points) 70 will be beyond level 0 (> 500) at 2025-11-22T03:42:26Z: has fired, and does \
         not again before the value is back within bounds; reaches 500 at 03:42 (in 43m) at 10 a minute"
    );
    let levels: Vec<(bool, Option<i64>)> = rule
        .levels
        .iter()
        .map(|level| (level.breached, level.forecast_at.map(|at| at.0)))
        .collect();
    assert_eq!(levels, [(true, Some(1_763_782_946_000)), (false, None)]);
    let forecast = rule.forecast.as_ref().unwrap();
    assert_eq!((&forecast.bound, forecast.at.map(|at| at.0)), (&json!(500), levels[0].1));
    assert!((forecast.per_minute - 10.0).abs() < 1e-9);
    // Before five minutes have passed nothing is known of a rate.
    let early = ask(&plan, &log, &Question::default(), Some("e4"));
    assert_eq!(only(&early).forecast, None);
    assert_eq!(only(&early).verdict, "sum(points) 50 is within every bound (> 500)");
}

#[test]
fn an_event_that_counts_nowhere_says_so() {
    let plan = plan("  - { name: r, on: issue, measure: count, window: day, above: 1 }\n");
    let text = log(&[("issue", 1, ""), ("issue", 1, "")]);
    let again = format!(
        "{text}{}",
        r#"{"id":"e0","ts":1763780000000,"user":"u2","kind":"issue","points":1}"#
    );
    let first = text.lines().next().unwrap();
    let twice =
        format!("{again}\n{}", first.replace("e0", "e9").replace("1763780000000", "1763770000000"));
    let answer = ask(&plan, &twice, &of("u1", "r"), Some("e9"));
    assert_eq!(answer.event.as_ref().unwrap().outcome, "late");
    assert!(only(&answer).verdict.starts_with("the event is late and counts in no window"));
    // The same id of another user is another event.
    let answer = ask(&plan, &again, &of("u2", "r"), Some("e0"));
    assert_eq!(
        (&answer.event.unwrap().outcome, answer.answer.rules.len()),
        (&"accepted".to_owned(), 1)
    );
    let none = fold(&plan).why(text.as_bytes(), &of("u1", "r"), Some("e7"), &mut |_| {}).unwrap();
    assert_eq!(none, None);
}

#[test]
fn keys_of_a_user_and_something_else_are_found_by_the_user() {
    let plan = plan(
        "  - { name: r, on: issue, per: [device, user], measure: count, window: day, above: 9 }\n",
    );
    let text = log(&[
        ("issue", 1, r#","device":"d1""#),
        ("issue", 1, r#","device":"d2""#),
        ("issue", 1, r#","device":"d1""#),
    ]);
    let answer = ask(&plan, &text, &of("u1", "r"), None);
    let found: Vec<(Value, Value)> = answer
        .answer
        .rules
        .iter()
        .map(|rule| (json!(rule.key), rule.value.clone().unwrap()))
        .collect();
    let expected = [
        (json!({ "device": "d1", "user": "u1" }), json!(2)),
        (json!({ "device": "d2", "user": "u1" }), json!(1)),
    ];
    assert_eq!(found, expected);
    assert!(ask(&plan, &text, &of("u", "r"), None).answer.rules.is_empty());
}

fn json_of(setup: &Setup, arguments: &[&str]) -> Value {
    let output = tidegate(setup, &[&["why", "--format", "json"], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn rule<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let rules = answer["rules"].as_array().unwrap();
    rules.iter().find(|rule| rule["rule"] == name).unwrap()
}

#[test]
fn any_instance_answers_for_the_users_of_all() {
    let Some(broker) = broker::shared() else { return };
    let token = "http: { listen: '127.0.0.1:0', token: 0123456789abcdef }\nengine: { workers: 1 }";
    let setup = Setup::new(broker.address(), "why", token);
    let second = setup.second_host();
    let (a, b) = (Instance::start(setup.path()), Instance::start(second.path()));
    wait("both are members", || a.is_ready() && b.is_ready());
    // Each user earns 400 points: beyond the first level, below the second.
    let users: Vec<String> = (0..12).map(|n| format!("u-{n}")).collect();
    let events: Vec<(String, String)> =
        users.iter().enumerate().map(|(n, user)| event(n as u64, user, 400)).collect();
    broker.produce(&setup.topic("events"), &events);
    wait("all is committed", || setup.caught_up(broker));
    for instance in [&a, &b] {
        let url = format!("http://{}", instance.address);
        for user in &users {
            let answer = json_of(&setup, &["--url", &url, "--user", user]);
            assert_eq!(answer["missing"], json!([]), "{answer:#}");
            assert_eq!(answer["instances"].as_array().unwrap().len(), 2);
            let cap = rule(&answer, "cap");
            assert_eq!((&cap["value"], &cap["key"]["user"]), (&json!(400), &json!(user)));
            assert_eq!(cap["levels"][0]["fired"], json!(true));
            assert_eq!(cap["levels"][1]["breached"], json!(false));
            assert_eq!(rule(&answer, "total")["value"], json!(12));
        }
        let answer = json_of(&setup, &["--url", &url, "--event", "e-3", "--rule", "cap"]);
        assert_eq!(answer["decisions"][0]["key"], json!({ "user": "u-3" }));
        assert_eq!(rule(&answer, "cap")["conditions"][0]["holds"], json!(true));
        let none = tidegate(&setup, &["why", "--url", &url, "--event", "nosuch"]);
        assert_eq!(none.status.code(), Some(1));
    }
    assert_eq!(a.get("/api/v1/why?user=u-1").0, 401);
    assert!(a.stop().0.success());
    assert!(b.stop().0.success());
}

/// Levels of an edited cap: bound, was, beyond, fired, fires.
fn levels(answer: &Value, rule: &str) -> Vec<[Value; 5]> {
    let rules = answer["rules"].as_array().unwrap();
    let rule = rules.iter().find(|one| one["rule"] == rule).unwrap();
    let fields = ["bound", "was", "beyond", "fired", "fires"];
    let level = |level: &Value| fields.map(|field| level[field].clone());
    rule["levels"].as_array().unwrap().iter().map(level).collect()
}

#[test]
fn whom_an_edit_would_hit_is_told_before_it_is_published() {
    let Some(broker) = broker::shared() else { return };
    let setup = Setup::new(broker.address(), "impact", "engine: { workers: 1 }");
    let second = setup.second_host();
    let (a, b) = (Instance::start(setup.path()), Instance::start(second.path()));
    wait("both are members", || a.is_ready() && b.is_ready());
    // 100, 200 … 1,200 points; above 300 the first level fires, above 900 the second.
    let users: Vec<String> = (1..=12).map(|n| format!("u-{n}")).collect();
    let events: Vec<(String, String)> =
        (1..).zip(&users).map(|(n, user)| event(n, user, 100 * n)).collect();
    broker.produce(&setup.topic("events"), &events);
    wait("all is committed", || setup.caught_up(broker));
    let rules = std::fs::read_to_string(setup.path().join("rules/rules.yaml")).unwrap();
    let edited = rules
        .replace("above: 900", "above: 500")
        .replace("above: 300", "above: 150")
        .replace("{ above: 99 }", "{ above: 11 }, { above: 99 }")
        .replace("name: burst, on: issue", "name: bursts, on: issue")
        .replace("window: 10m", "window: 20m");
    assert!(edited.contains("bursts") && edited.contains("500") && edited.contains("20m"));
    setup.write("candidate/rules.yaml", &edited);
    setup.write("candidate/bad.csv", "value,reason,expires,author\n");
    let url = format!("http://{}", b.address);
    let impact = |more: &[&str]| {
        tidegate(&setup, &[&["rules", "impact", "candidate", "--url", &url], more].concat())
    };
    let output = impact(&["--format", "json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&answer["missing"], &answer["keeps_counters"]), (&json!([]), &json!(false)));
    // Of those beyond 150 and not beyond 500, two to five hundred points: 200 and 300 have not
    // fired. Of those beyond 500, six hundred to nine hundred have not.
    let expected = [
        [json!(150), json!(300), json!(4), json!(2), json!(2)],
        [json!(500), json!(900), json!(7), json!(3), json!(4)],
    ];
    assert_eq!(levels(&answer, "cap"), expected);
    let top = &answer["rules"][0]["levels"][1]["top"];
    let values: Vec<&Value> = top.as_array().unwrap().iter().map(|one| &one["value"]).collect();
    assert_eq!(values, [&json!(900), &json!(800), &json!(700), &json!(600)]);
    // Twelve events of all users together.
    assert_eq!(levels(&answer, "total")[0], [json!(11), json!(99), json!(1), json!(0), json!(1)]);
    let change = |rule: &str| {
        let rules = answer["rules"].as_array().unwrap();
        rules.iter().find(|one| one["rule"] == rule).map(|one| one["change"].clone())
    };
    assert_eq!((change("bursts"), change("burst")), (Some(json!("new")), Some(json!("removed"))));
    assert_eq!(change("listed"), None);
    assert_eq!(impact(&["--max-new", "4"]).status.code(), Some(0));
    let told = impact(&["--max-new", "3"]);
    assert_eq!(told.status.code(), Some(1));
    let text = String::from_utf8(told.stdout).unwrap();
    let line =
        "    4 fire at the next event: freeze issue until the window ends\n      user u-9: 900";
    assert!(text.contains(line), "{text}");
    assert!(a.stop().0.success());
    assert!(b.stop().0.success());
}

const NOW_MS: i64 = 1_763_780_000_000;

fn state() -> (State, Output) {
    let origin = Origin { topic: "events".into(), partition: 0 };
    (State::new(origin), Output::default())
}

fn take(plan: &Plan, (state, output): &mut (State, Output), (n, ts, points): (i64, i64, i64)) {
    let text = format!(
        r#"{{"id":"e{n}","ts":{ts},"user":"u1","kind":"issue","points":{points},"attrs":{{"shop":"s"}}}}"#
    );
    let event = Decoder::default().decode(text.as_bytes(), 65_536).unwrap();
    let record_ts = Some(EventTime(ts));
    step(state, plan, Input::Event { event: &event, offset: n, record_ts }, output);
}

#[test]
fn a_listed_value_is_told_with_who_listed_it_and_why() {
    let text = "version: 1\nlists: { bad: { file: bad.csv, field: user } }\nrules: [{ name: r, on: issue, \
                where: { user: { in: bad } }, then: [review] }]\n";
    let set = load(&[Source { path: "rules.yaml".into(), text: text.into() }]).unwrap();
    let file = "value,reason,expires,author\nu1,ticket 7,2026-01-01,bea\n";
    let entries = parse_list(file, "bad.csv", &set.timezone).unwrap();
    let plan = Plan::new(Arc::new(set), [entries].into_iter().collect(), Settings::default());
    let mut fold = state();
    take(&plan, &mut fold, (0, NOW_MS, 1));
    let told = |(state, _): &(State, Output)| {
        let answer = state.explain(&plan, &of("u1", "r"), None, (Seat::Events(0), 1));
        let conditions = &answer.rules[0].conditions;
        let listed = conditions.iter().find(|one| one.condition == "user is in list bad").unwrap();
        (listed.holds, listed.entry.as_ref().map(EntryAnswer::words))
    };
    let words = |words: &str| Some(words.to_owned());
    assert_eq!(
        told(&fold),
        (Some(true), words("in its file, by bea: ticket 7, until 2026-01-01T00:00:00Z"))
    );
    let mut change = |n: i64, act: Value| {
        let mut change = json!({ "v": 1, "id": format!("c{n}"), "ts": NOW_MS, "actor": "ann",
            "reason": format!("case {n}"), "list": "bad", "value": "u1" });
        change.as_object_mut().unwrap().extend(act.as_object().unwrap().clone());
        let change = Change::decode(change.to_string().as_bytes()).unwrap();
        let place =
            ChangePlace { topic: "control", offset: n, seat: Seat::Events(0), partitions: 1 };
        step(&mut fold.0, &plan, Input::Change { change: &change, place }, &mut fold.1);
        told(&fold)
    };
    let gone = change(1, json!({ "change": "list_remove" }));
    assert_eq!(gone, (Some(false), words("removed at run time, by ann: case 1")));
    let back = change(2, json!({ "change": "list_add", "until": null }));
    assert_eq!(back, (Some(true), words("added at run time, by ann: case 2")));
    // An entry of a moment ago is over, and the file counts again.
    let over = change(3, json!({ "change": "list_add", "until": NOW_MS - 1 }));
    assert_eq!(over.1.unwrap(), "in its file, by bea: ticket 7, until 2026-01-01T00:00:00Z");
}

/// A source that gives out a hundred points a minute, and has given a thousand.
#[test]
fn a_level_that_looks_ahead_meets_whom_it_would_warn_of() {
    let cap = |levels: &str| {
        plan(&format!(
            "  - {{ name: cap, on: issue, per: attrs.shop, measure: sum(points), window: day, \
             levels: [{levels}] }}\n"
        ))
    };
    let beyond = |live: &Plan, new: &Plan| {
        let (mut events, mut owner) = (state(), state());
        for n in 0..10 {
            take(live, &mut events, (n, NOW_MS + n * 60_000, 100));
            let (state, output) = &mut events;
            let from = state.origin().clone();
            let told = output.partials.drain(&from, state.watermark(), 1, false, false);
            for (_, payload) in told {
                let input = Input::Partials { payload: &payload, offset: n, record_ts: None };
                step(&mut owner.0, live, input, &mut owner.1);
            }
        }
        let (mut impact, places) = changes(live, new).remove(0);
        let (old, at) = places.unwrap();
        let (keys, _) = owner.0.keys_of_rule(old, live, 0, &mut 1_000);
        assert_eq!(keys.len(), 1);
        owner.0.survey((live, old), (new, at), &keys, &mut impact);
        let level = impact.levels.remove(0);
        (level.beyond, level.fires, level.forecast, level.is_by_bound_alone)
    };
    let hour = || Some("1h".to_owned());
    let far = cap("{ above: 30000, forecast: 1h }");
    // 2,000 more take twenty minutes, 9,000 ninety.
    assert_eq!(beyond(&far, &cap("{ above: 3000, forecast: 1h }")), (1, 1, hour(), false));
    assert_eq!(beyond(&far, &cap("{ above: 10000, forecast: 1h }")), (0, 0, hour(), false));
    assert_eq!(beyond(&far, &cap("{ above: 900 }")), (1, 1, None, false));
    // Without a level that looks ahead no rate of an attribute is kept.
    let plain = cap("{ above: 30000 }");
    assert_eq!(beyond(&plain, &cap("{ above: 3000, forecast: 1h }")), (0, 0, hour(), true));
}
