//! What members have shown says the same, wherever it stands: against a plain list of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use crate::engine::{Effect, Input, Lists, Loader, Origin, Output, Settings, State, Swept, step};
use crate::event::Decoder;
use crate::rule::{Source, load};

use super::*;

const NEW: &str = "
version: 1
timezone: Asia/Shanghai
rules:
  - { name: device, on: [issue, redeem], where: { new: { field: device, within: 2h } }, then: [alert] }
  - { name: address, on: redeem, where: { new: { field: ip, within: 20m } }, then: [alert] }
";
/// With these, members have no key, one for some minutes, and one for long.
const KEYS: [&str; 4] = [
    "",
    "  - { name: often, on: issue, measure: count, window: 5m, above: 1000 }\n",
    "  - { name: habit, on: issue, measure: count, window: 10m, zscore: { above: 90 },
      baseline: { history: 6, min_windows: 2, min_sd: 3 } }\n",
    "  - { name: day, on: issue, measure: count, window: day, above: 90000 }\n",
];
const WITHIN: [i64; 2] = [7_200_000, 1_200_000];

fn plan(keys: &str, max_keys: Option<usize>) -> Plan {
    let text = format!("{NEW}{keys}");
    let set = load(&[Source { path: "a.yaml".to_owned(), text }]).unwrap();
    let settings = Settings { max_keys, max_ahead_ms: None, ..Settings::default() };
    Plan::new(Arc::new(set), Lists::default(), settings)
}

fn origin() -> Origin {
    Origin { topic: "points.events".into(), partition: 0 }
}

/// A state, and the snapshot that goes over it.
struct Run {
    plan: Plan,
    state: State,
    out: Output,
    pieces: Vec<u8>,
}

impl Run {
    fn new(plan: Plan) -> Run {
        Run { plan, state: State::new(origin()), out: Output::default(), pieces: Vec::new() }
    }

    /// Names of the rules that fire.
    fn feed(&mut self, text: &str, offset: i64) -> Vec<String> {
        let event = Decoder::default().decode(text.as_bytes(), 65_536).unwrap();
        let input = Input::Event { event: &event, offset, record_ts: None };
        step(&mut self.state, &self.plan, input, &mut self.out);
        let effects = std::mem::take(&mut self.out.effects);
        let fired = effects.into_iter().filter_map(|effect| match effect {
            Effect::Decision(decision) => Some(decision.rule.clone()),
            _ => None,
        });
        fired.collect()
    }

    fn sweep(&mut self, bytes: usize) -> Swept {
        self.state.sweep(&self.plan, bytes, &mut self.pieces)
    }

    /// Begins a snapshot, and says what a state that has been made of it would say.
    fn begin(&mut self) -> Vec<Vec<u8>> {
        self.pieces.clear();
        self.state.begin_snapshot(&self.plan, &self.out);
        self.state.canonical(&self.plan, &self.out)
    }

    fn load(&self) -> Run {
        let mut loader = Loader::new(&self.plan, origin());
        loader.take(&self.pieces).unwrap();
        let loaded = loader.finish().unwrap();
        let (state, out) = (loaded.state, loaded.output);
        Run { plan: self.plan.clone(), state, out, pieces: Vec::new() }
    }
}

/// Fails with the records that only one of them has.
fn same(a: &[Vec<u8>], b: &[Vec<u8>]) {
    let only = |a: &[Vec<u8>], b: &[Vec<u8>]| -> Vec<String> {
        let records = a.iter().filter(|record| !b.contains(record));
        records.map(|record| String::from_utf8_lossy(record).into_owned()).collect()
    };
    assert_eq!(only(a, b), only(b, a));
}

/// What a user has shown, by field, value and latest time.
#[derive(Default)]
struct Model {
    shown: BTreeMap<(u8, usize, u8), i64>,
    watermark: Option<i64>,
}

impl Model {
    fn feed(
        &mut self,
        (user, kind, values): (u8, u8, [u8; 2]),
        ts: i64,
        late_ms: i64,
    ) -> Vec<String> {
        let watermark = self.watermark.map_or(ts, |watermark| watermark.max(ts));
        let mut fired = Vec::new();
        for (field, name) in ["device", "address"].into_iter().enumerate() {
            let since = ts.max(watermark - late_ms) - WITHIN[field];
            let own = self.shown.range((user, field, 0)..=(user, field, u8::MAX));
            let recent: Vec<u8> =
                own.filter(|(_, last)| **last >= since).map(|((.., value), _)| *value).collect();
            let is_new = !recent.is_empty() && !recent.contains(&values[field]);
            if is_new && (field == 0 || kind == 1) {
                fired.push(name.to_owned());
            }
        }
        if ts >= watermark - late_ms {
            self.watermark = Some(watermark);
            for (field, value) in values.into_iter().enumerate() {
                let last = self.shown.entry((user, field, value)).or_insert(ts);
                *last = (*last).max(ts);
            }
        }
        fired
    }
}

type Row = ((u8, u8, i64), ([u8; 2], Option<bool>));

fn row() -> impl Strategy<Value = Row> {
    let gap = prop_oneof![
        8 => 0..60_000_i64,
        3 => -500_000..500_000_i64,
        2 => 0..9_000_000_i64,
    ];
    let snapshot = prop_oneof![8 => Just(None), 1 => any::<bool>().prop_map(Some)];
    ((0..5_u8, 0..2_u8, gap), ([0..4_u8, 0..4_u8], snapshot))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn new_says_the_same_wherever_it_stands(
        rows in prop::collection::vec(row(), 1..150),
        at_once in 1..200_usize,
    ) {
        let mut runs = KEYS.map(|keys| Run::new(plan(keys, None)));
        let mut begun: [Option<Vec<Vec<u8>>>; 4] = Default::default();
        let mut model = Model::default();
        let late_ms = runs[0].plan.settings.allowed_lateness_ms;
        let mut ts = 1_763_740_800_000;
        for (at, ((user, kind, gap), (values, snapshot))) in (0..).zip(rows) {
            ts += gap;
            let name = ["issue", "redeem"][usize::from(kind)];
            let [device, ip] = values;
            let text = format!(
                r#"{{"id":"e{at}","ts":{ts},"user":"u{user}","kind":"{name}","points":1,
                    "source":"s","device":"d{device}","ip":"10.0.0.{ip}"}}"#,
            );
            let expected = model.feed((user, kind, values), ts, late_ms);
            for (run, begun) in runs.iter_mut().zip(&mut begun) {
                prop_assert_eq!(&run.feed(&text, at), &expected, "event {}", at);
                // Steps go on while a snapshot goes over the state; then a state is made of it.
                match begun {
                    Some(told) if run.sweep(at_once) == Swept::All => {
                        let loaded = run.load();
                        same(&loaded.state.canonical(&loaded.plan, &loaded.out), told);
                        *begun = None;
                    }
                    None if snapshot == Some(true) => *begun = Some(run.begin()),
                    None if snapshot == Some(false) => {
                        // A crash: all goes on from a snapshot.
                        run.begin();
                        while run.sweep(at_once) == Swept::More {}
                        *run = run.load();
                    }
                    _ => {}
                }
            }
        }
    }
}

/// What stands in rows and apart, of the first field.
fn stands(run: &Run) -> (usize, usize) {
    let seen = &run.state.keyed.cells.seen[0];
    (seen.in_rows, seen.apart())
}

fn event(n: i64, ts: i64, user: &str, device: &str) -> String {
    format!(
        r#"{{"id":"e{n}","ts":{ts},"user":"{user}","kind":"issue","points":1,"source":"s","device":"{device}"}}"#
    )
}

const T: i64 = 1_763_740_800_000;

#[test]
fn what_a_member_has_shown_stays_when_its_key_goes() {
    let mut run = Run::new(plan(KEYS[1], None));
    run.feed(&event(1, T, "u", "d1"), 1);
    assert_eq!(stands(&run), (1, 0));
    run.feed(&event(2, T + 1_800_000, "other", "d1"), 2);
    assert_eq!(stands(&run), (1, 1), "the key has gone");
    assert_eq!(run.feed(&event(3, T + 1_800_001, "u", "d2"), 3), ["device"]);
    assert_eq!(stands(&run), (1, 1), "who is apart stays there");
    run.feed(&event(4, T + 90_000_000, "other", "d1"), 4);
    assert_eq!(stands(&run), (1, 0), "until it matters no more");
}

#[test]
fn when_a_key_goes_from_a_full_state_its_values_may_go_too() {
    let mut run = Run::new(plan(KEYS[1], Some(2)));
    for n in 0..6 {
        run.feed(&event(n, T + n, &format!("u{n}"), "d"), n);
    }
    assert_eq!(stands(&run), (2, 2), "two keys, and two that made room");
    assert_eq!(run.out.counts.values_dropped, 2);
}

#[test]
fn a_member_with_more_values_than_are_kept_lets_go_of_the_oldest() {
    let mut run = Run::new(plan(KEYS[3], None));
    for n in 0..1024 {
        run.feed(&event(n, T + n, "u", &format!("d{n}")), n);
    }
    assert_eq!(run.out.counts.values_dropped, 0);
    assert_eq!(run.feed(&event(2000, T + 2000, "u", "another"), 2000), ["device"]);
    assert_eq!(run.out.counts.values_dropped, 1);
    assert_eq!(run.feed(&event(2001, T + 2001, "u", "d0"), 2001), ["device"], "it made room");
    assert!(run.feed(&event(2002, T + 2002, "u", "d2"), 2002).is_empty());
    // What matters no more makes room first.
    run.feed(&event(3000, T + 9_000_000, "u", "d2"), 3000);
    run.feed(&event(3001, T + 9_000_001, "u", "d9999"), 3001);
    let cells = &run.state.keyed.cells;
    let values = cells.shown(run.plan.user_space.unwrap(), 0, 0).unwrap();
    assert_eq!(values.len(), 2);
}

#[test]
fn a_value_of_a_time_far_off_stands_in_a_list() {
    let mut cells = Cells::default();
    let plan = plan(KEYS[2], None);
    cells.prepare(&plan);
    let space = plan.user_space.unwrap();
    let (id, _) = cells.spaces[space].intern(&mut Key::new("u"));
    for values in [&[(7, 1 << 50)][..], &[(7, -(1 << 47))], &[(7, 1), (8, i64::MIN)], &[]] {
        cells.set_shown(space, id, 0, values);
        let read = cells.shown(space, id, 0).unwrap_or_default();
        assert_eq!(read.as_slice(), values);
        assert_eq!(cells.seen[0].in_rows, usize::from(!values.is_empty()));
    }
    assert_eq!(cells.seen[0].lists.len(), 0);
}
