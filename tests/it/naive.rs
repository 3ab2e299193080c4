//! What the naive models share: events as plain rows, histories in disorder, and the fold of the
//! engine over them. A model knows the contract and nothing of the engine.

use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::Index;
use smallvec::SmallVec;
use tidegate::engine::{
    Counts, Decision, Effect, Input, Lists, Origin, Outcome, Output, Plan, Settings, State, step,
};
use tidegate::event::{Event, EventTime, Kind, Reverses};
use tidegate::rule::{Source, load};

/// E6, the default.
pub(crate) const LATENESS: i64 = 600_000;

/// An event as a model sees it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) ts: i64,
    pub(crate) user: u8,
    pub(crate) source: Option<u8>,
    pub(crate) device: Option<u8>,
    pub(crate) kind: Kind,
    pub(crate) points: i64,
    /// Of a reversal.
    pub(crate) reverses: Option<Original>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Original {
    /// `None` = the reversal's own.
    pub(crate) ts: Option<i64>,
    pub(crate) kind: Kind,
    pub(crate) partial: bool,
}

impl Row {
    /// Where the row counts (R10).
    pub(crate) fn counts_at(&self) -> i64 {
        self.reverses.and_then(|original| original.ts).unwrap_or(self.ts)
    }

    /// The kind that a rule's `on` is held against (R10).
    pub(crate) fn counts_as(&self) -> Kind {
        self.reverses.map_or(self.kind, |original| original.kind)
    }

    pub(crate) fn event(&self, line: usize) -> Event<'static> {
        Event {
            id: id(line).into(),
            ts: EventTime(self.ts),
            user: format!("u{}", self.user).into(),
            kind: self.kind,
            points: self.points,
            source: self.source.map(|source| format!("s{source}").into()),
            device: self.device.map(|device| format!("d{device}").into()),
            ip: None,
            reverses: self.reverses.map(|original| {
                Box::new(Reverses {
                    id: "original".into(),
                    ts: original.ts.map(EventTime),
                    kind: original.kind,
                    partial: original.partial,
                })
            }),
            attrs: SmallVec::new(),
        }
    }
}

/// The id of the event on a line.
pub(crate) fn id(line: usize) -> String {
    format!("e{line}")
}

/// What a rule counts by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum By {
    User,
    Source,
    Global,
    UserSource,
}

impl By {
    pub(crate) fn per(self) -> &'static str {
        match self {
            By::User => "user",
            By::Source => "source",
            By::Global => "global",
            By::UserSource => "[user, source]",
        }
    }

    /// `None` for a row that the rule does not see (R8).
    pub(crate) fn key(self, row: &Row) -> Option<String> {
        match self {
            By::User => Some(format!("u{}", row.user)),
            By::Source => Some(format!("s{}", row.source?)),
            By::Global => Some("global".to_owned()),
            By::UserSource => Some(format!("u{} s{}", row.user, row.source?)),
        }
    }
}

/// The key of a decision, in the form of [`By::key`].
pub(crate) fn key_of(decision: &Decision) -> String {
    let values: Vec<&str> =
        decision.key.values().map(|one| one.as_str().unwrap_or("global")).collect();
    values.join(" ")
}

/// How far apart the events of a history are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) back_ms: i64,
    pub(crate) ahead_ms: i64,
    pub(crate) most: usize,
}

/// Histories that begin before the clocks of Berlin change: rows behind the watermark, some of
/// them late, and reversals of rows that were not.
pub(crate) fn history(pace: Pace) -> impl Strategy<Value = Vec<Row>> {
    let by = -pace.back_ms..pace.ahead_ms;
    let source = proptest::option::weighted(0.9, 0u8..2);
    let device = proptest::option::of(0u8..5);
    let points = prop_oneof![6 => 0i64..6, 1 => 20i64..60];
    let step = (by, 0u8..2, source, device, 0u8..10, points, any::<Index>());
    proptest::collection::vec(step, 1..pace.most).prop_map(|steps| {
        let mut clock = 1_761_430_000_000;
        let mut rows: Vec<Row> = Vec::new();
        let mut on_time: Vec<usize> = Vec::new();
        for (by, user, source, device, what, points, pick) in steps {
            let ts = clock + by;
            let kind = if what < 4 { Kind::Redeem } else { Kind::Issue };
            let mut row = Row { ts, user, source, device, kind, points, reverses: None };
            if what == 9 && !on_time.is_empty() {
                let original = &rows[*pick.get(&on_time)];
                row = reversal(original, ts, points);
            }
            if row.ts >= clock - LATENESS && row.reverses.is_none() {
                on_time.push(rows.len());
            }
            clock = clock.max(row.ts);
            rows.push(row);
        }
        rows
    })
}

fn reversal(original: &Row, ts: i64, odd: i64) -> Row {
    let partial = odd % 2 == 1;
    let same_time = odd % 3 == 2;
    let of = Original { ts: (!same_time).then_some(original.ts), kind: original.kind, partial };
    Row {
        ts: if same_time { original.ts } else { ts },
        kind: Kind::Reverse,
        points: if partial { original.points / 2 } else { original.points },
        reverses: Some(of),
        ..original.clone()
    }
}

/// What a fold put out: decisions, each with the line after which it came, and the counts of
/// the partition and of the owner of the keys that cross partitions.
#[derive(Debug, PartialEq)]
pub(crate) struct Folded {
    pub(crate) decisions: Vec<(usize, Decision)>,
    pub(crate) own: Counts,
    pub(crate) shared: Counts,
}

/// The plan of a rule file without lists.
pub(crate) fn plan(rules: &str) -> Plan {
    let source = Source { path: "rules.yaml".into(), text: rules.to_owned() };
    let set = load(&[source]).unwrap();
    let settings = Settings { max_ahead_ms: None, ..Settings::default() };
    Plan::new(Arc::new(set), Lists::default(), settings)
}

/// The engine over one partition that flushes its partial aggregates every so many events.
pub(crate) fn fold<'e>(
    rules: &str,
    events: impl ExactSizeIterator<Item = Event<'e>>,
    flush_every: usize,
) -> Folded {
    let plan = plan(rules);
    let origin = |topic: &str| Origin { topic: topic.into(), partition: 0 };
    let (mut state, mut shared) = (State::new(origin("events")), State::new(origin("partials")));
    let (mut out, mut shared_out) = (Output::default(), Output::default());
    let mut decisions = Vec::new();
    let last = events.len();
    for (line, event) in events.enumerate() {
        let offset = i64::try_from(line).unwrap();
        let input = Input::Event { event: &event, offset, record_ts: None };
        step(&mut state, &plan, input, &mut out);
        assert_ne!(out.outcome, Outcome::Duplicate);
        let from = origin("events");
        let flush = (line + 1) % flush_every == 0 || line + 1 == last;
        let watermark = state.watermark();
        let records = flush.then(|| out.partials.drain(&from, watermark, 1, false, false));
        for (_, payload) in records.into_iter().flatten() {
            let input = Input::Partials { payload: &payload, offset, record_ts: None };
            step(&mut shared, &plan, input, &mut shared_out);
        }
        for effect in out.effects.drain(..).chain(shared_out.effects.drain(..)) {
            if let Effect::Decision(decision) = effect {
                decisions.push((line, *decision));
            }
        }
    }
    assert_eq!(shared_out.counts.partials_unreadable, 0);
    Folded { decisions, own: out.counts, shared: shared_out.counts }
}

/// The engine over rows, flushing after each.
pub(crate) fn fold_rows(rules: &str, rows: &[Row]) -> Folded {
    let events: Vec<Event<'_>> = rows.iter().enumerate().map(|(at, row)| row.event(at)).collect();
    fold(rules, events.into_iter(), 1)
}
