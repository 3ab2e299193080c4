//! The account against sums made one by one.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::engine::daily::{DailyReport, Figures, Periods, Sender};
use crate::engine::snapshot::{Loader, Swept};
use crate::engine::{Effect, Input, Lists, Origin, Outcome, Output, Plan, Settings, State, step};
use crate::event::{Decoder, EventTime};
use crate::rule::{Source as File, load};

const HOUR: i64 = 3_600_000;
/// 2025-11-22, midnight in Shanghai.
const DAY: i64 = 1_763_740_800_000;

const RULES: &str = "
version: 1
timezone: Asia/Shanghai
rules:
  - { name: all, on: issue, per: global, measure: sum(points), window: month, levels: [
      { above: 1000 }, { above: 4000, severity: critical } ] }
  - { name: campaign, on: issue, per: source, measure: sum(points), window: day, above: 500,
      then: [{ freeze: { scope: issue, for: window } }] }
  - { name: user, on: issue, per: user, measure: sum(points), window: day, above: 300 }
";

fn plan(zone: &str) -> Plan {
    let text = RULES.replace("Asia/Shanghai", zone);
    let set = load(&[File { path: "r.yaml".into(), text }]).unwrap();
    Plan::new(Arc::new(set), Lists::default(), Settings { dedup_ms: None, ..Settings::default() })
}

/// Some partitions of both topics, and the log between them.
struct World {
    plan: Plan,
    partitions: u32,
    events: Vec<(State, Output, i64)>,
    owners: Vec<(State, Output, i64)>,
    reports: Vec<DailyReport>,
    /// Accepted: day, source, kind and points.
    naive: Vec<(i64, String, String, i64)>,
    /// Records that the events' partitions told, and the size of the largest.
    sheets: usize,
    largest: usize,
}

impl World {
    fn new(zone: &str, partitions: u32) -> World {
        let of = |topic: &str| {
            let state = |partition: u32| {
                let partition = i32::try_from(partition).unwrap();
                let origin = Origin { topic: topic.into(), partition };
                (State::new(origin), Output::default(), 0)
            };
            (0..partitions).map(state).collect::<Vec<_>>()
        };
        World {
            plan: plan(zone),
            partitions,
            events: of("events"),
            owners: of("partials"),
            reports: Vec::new(),
            naive: Vec::new(),
            sheets: 0,
            largest: 0,
        }
    }

    fn event(&mut self, partition: usize, ts: i64, kind: &str, points: i64, source: &str) {
        self.record(
            partition,
            &json!({ "ts": ts, "user": "u", "kind": kind, "points": points, "source": source }),
        );
    }

    fn record(&mut self, partition: usize, fields: &Value) {
        let (state, out, next) = &mut self.events[partition];
        let mut fields = fields.clone();
        fields["id"] = format!("e{partition}-{next}").into();
        let text = fields.to_string();
        let decoder = Decoder::default();
        let event = decoder.decode(text.as_bytes(), 65_536).unwrap();
        let input = Input::Event { event: &event, offset: *next, record_ts: None };
        step(state, &self.plan, input, out);
        *next += 1;
        if out.outcome == Outcome::Accepted {
            let day = self.plan.calendar.day_span(self.plan.calendar.day_of(event.ts)).start;
            let of = event.reverses.as_ref().map(|reverses| format!("-{}", reverses.kind));
            let kind = format!("{}{}", event.kind, of.unwrap_or_default());
            let source = event.source.as_deref().unwrap_or_default().to_owned();
            self.naive.push((day, source, kind, event.points));
        }
    }

    /// One partition tells what it has; the owners hear it at this time.
    fn flush(&mut self, partition: usize, now: i64, idle: bool) {
        let (state, out, _) = &mut self.events[partition];
        for effect in out.effects.drain(..) {
            out.daily.note(&self.plan, &effect);
        }
        let (origin, watermark) = (state.origin().clone(), state.watermark());
        let by = Sender {
            origin: &origin,
            is_owner: false,
            partitions: self.partitions,
            watermark,
            idle,
            beat: true,
        };
        let sheets = out.daily.seal(state, &self.plan, by);
        let batches = out.partials.drain(&origin, watermark, self.partitions, idle, true);
        self.largest = sheets.iter().map(Vec::len).fold(self.largest, usize::max);
        self.sheets += sheets.len();
        for sheet in sheets {
            self.hear(0, &sheet, now);
        }
        for (to, payload) in batches {
            self.hear(to as usize, &payload, now);
        }
    }

    fn hear(&mut self, to: usize, payload: &[u8], now: i64) {
        let (state, out, next) = &mut self.owners[to];
        let input = Input::Partials { payload, offset: *next, record_ts: Some(now) };
        step(state, &self.plan, input, out);
        *next += 1;
        for effect in out.effects.drain(..) {
            out.daily.note(&self.plan, &effect);
            if let Effect::Daily(decision) = effect {
                self.reports.push(*decision.daily.unwrap());
            }
        }
        let origin = state.origin().clone();
        let by = Sender {
            origin: &origin,
            is_owner: true,
            partitions: self.partitions,
            watermark: state.watermark(),
            idle: false,
            beat: false,
        };
        for sheet in out.daily.seal(state, &self.plan, by) {
            self.hear(0, &sheet, now);
        }
    }

    fn flush_all(&mut self, now: i64, idle: bool) {
        for partition in 0..self.events.len() {
            self.flush(partition, now, idle);
        }
    }

    /// Every state anew from its snapshot.
    fn restore(&mut self) {
        let plan = &self.plan;
        for (state, out, _) in self.events.iter_mut().chain(&mut self.owners) {
            let mut bytes = Vec::new();
            state.begin_snapshot(plan, out);
            while state.sweep(plan, 1 << 20, &mut bytes) == Swept::More {}
            let mut loader = Loader::new(plan, state.origin().clone());
            loader.take(&bytes).unwrap();
            let loaded = loader.finish().unwrap();
            (*state, *out) = (loaded.state, loaded.output);
        }
    }

    /// What a day or several come to, added up one by one.
    fn sum(&self, wanted: impl Fn(i64, &str) -> bool) -> Figures {
        let mut figures = Figures::default();
        for (day, source, kind, points) in &self.naive {
            if !wanted(*day, source) {
                continue;
            }
            let back = &mut figures.reversed;
            let (amount, sign) = match kind.as_str() {
                "issue" => (&mut figures.issued, 1),
                "redeem" => (&mut figures.redeemed, -1),
                "expire" => (&mut figures.expired, -1),
                "adjust" => (&mut figures.adjusted, 1),
                "reverse-issue" => (&mut back.issued, -1),
                "reverse-redeem" => (&mut back.redeemed, 1),
                "reverse-expire" => (&mut back.expired, 1),
                "reverse-adjust" => (&mut back.adjusted, -1),
                _ => (&mut back.other, 0),
            };
            amount.events += 1;
            amount.points += points;
            figures.net += sign * points;
        }
        figures
    }
}

fn days(reports: &[DailyReport]) -> Vec<&str> {
    reports.iter().map(|report| report.date.as_str()).collect()
}

/// Two days of two partitions.
fn two_days() -> World {
    let mut world = World::new("Asia/Shanghai", 2);
    world.event(0, DAY + HOUR, "issue", 400, "signin");
    world.event(1, DAY + 2 * HOUR, "issue", 200, "quiz");
    world.flush_all(DAY + 2 * HOUR, false);
    world.event(0, DAY + 3 * HOUR, "redeem", 50, "");
    world.event(1, DAY + 23 * HOUR, "issue", 400, "quiz");
    world.flush_all(DAY + 23 * HOUR, false);
    world.event(0, DAY + 25 * HOUR, "issue", 7, "signin");
    world.event(1, DAY + 25 * HOUR, "expire", 9, "signin");
    world.flush_all(DAY + 25 * HOUR, false);
    world
}

#[test]
fn a_day_has_its_report_once_every_partition_is_past_it() {
    let mut world = World::new("Asia/Shanghai", 2);
    world.event(0, DAY + HOUR, "issue", 400, "signin");
    world.event(1, DAY + HOUR, "issue", 1, "signin");
    world.flush_all(DAY + HOUR, false);
    world.event(0, DAY + 25 * HOUR, "issue", 7, "signin");
    world.flush(0, DAY + 25 * HOUR, false);
    world.flush(1, DAY + 25 * HOUR, false);
    assert_eq!(days(&world.reports), [""; 0], "partition 1 is behind");
    world.event(1, DAY + 25 * HOUR, "issue", 7, "signin");
    world.flush(1, DAY + 25 * HOUR, false);
    assert_eq!(days(&world.reports), ["2025-11-22"]);
    world.flush_all(DAY + 26 * HOUR, false);
    assert_eq!(world.reports.len(), 1, "once");
}

/// As a state is made anew from the log: the late record is one that is accepted now.
#[test]
fn a_state_made_again_under_other_settings_is_no_mismatch() {
    let mut world = World::new("Asia/Shanghai", 1);
    let feed = |world: &mut World| {
        world.event(0, DAY + HOUR, "issue", 400, "signin");
        world.event(0, DAY + HOUR / 2, "issue", 7, "signin");
    };
    feed(&mut world);
    world.flush_all(DAY + HOUR, false);
    let settings = Settings { allowed_lateness_ms: 2 * HOUR, ..world.plan.settings.clone() };
    world.plan = Plan::new(world.plan.rules.clone(), Lists::default(), settings);
    let origin = world.events[0].0.origin().clone();
    world.events[0] = (State::new(origin), Output::default(), 0);
    feed(&mut world);
    let (state, out, _) = &mut world.events[0];
    out.effects.clear();
    out.partials.clear();
    out.daily.forget(state);
    world.event(0, DAY + 27 * HOUR, "issue", 1, "signin");
    world.flush_all(DAY + 27 * HOUR, false);
    let own = &world.reports[0].conservation;
    assert!(own.ok, "{:?}", own.faults);
}

#[test]
fn the_report_says_who_brought_what() {
    let world = two_days();
    let report = &world.reports[0];
    assert!(report.complete, "{:?}", report.waiting);
    assert_eq!((report.start, report.end), (EventTime(DAY), EventTime(DAY + 24 * HOUR)));
    assert_eq!((report.zone.as_str(), report.since.as_str()), ("Asia/Shanghai", "2025-11-22"));
    assert_eq!(report.total.day.issued.points, 1000);
    assert_eq!(report.total.day.net, 950);
    let sources: Vec<(&str, i64)> =
        report.sources.iter().map(|one| (&*one.source, one.figures.day.net)).collect();
    assert_eq!(sources, [("", -50), ("quiz", 600), ("signin", 400)]);
    let decisions: Vec<(&str, u32, u64)> =
        report.decisions.iter().map(|one| (&*one.rule, one.level, one.decisions)).collect();
    assert_eq!(decisions, [("campaign", 0, 1), ("user", 0, 2)]);
    let commands: Vec<(&str, &str, u64)> =
        report.commands.iter().map(|one| (&*one.rule, &*one.command, one.count)).collect();
    assert_eq!(commands, [("campaign", "freeze", 1)]);
}

#[test]
fn caps_stand_as_they_did_at_the_end_of_the_day() {
    let world = two_days();
    let caps: Vec<(&str, &Value, i64, f64, bool)> = world.reports[0]
        .caps
        .iter()
        .map(|cap| (&*cap.rule, &cap.key, cap.value.as_i64().unwrap(), cap.percent, cap.exceeded))
        .collect();
    let (quiz, signin) = (json!({ "source": "quiz" }), json!({ "source": "signin" }));
    let all = json!({ "global": true });
    assert_eq!(
        caps,
        [
            ("campaign", &quiz, 600, 120.0, true),
            ("campaign", &signin, 400, 80.0, false),
            // The month goes on, and what came by then for the next day is in it.
            ("all", &all, 1007, 25.2, false),
        ]
    );
}

#[test]
fn records_are_accounted_for_and_a_loss_shows() {
    let world = two_days();
    let own = &world.reports[0].conservation;
    assert!(own.ok, "{:?}", own.faults);
    let offsets: Vec<_> =
        own.partitions.iter().map(|one| (one.first_offset, one.last_offset)).collect();
    // The watermark leaves the day with the third record.
    assert_eq!(offsets, [(Some(0), Some(1)), (Some(0), Some(1))]);
    assert_eq!((own.total.consumed, own.total.accepted), (4, 4));

    let mut world = World::new("Asia/Shanghai", 1);
    world.event(0, DAY + HOUR, "issue", 1, "a");
    world.flush(0, DAY + HOUR, false);
    world.event(0, DAY + 2 * HOUR, "issue", 2, "a");
    let (state, out, _) = &mut world.events[0];
    out.daily.forget(state);
    world.event(0, DAY + 25 * HOUR, "issue", 3, "a");
    world.flush(0, DAY + 25 * HOUR, false);
    let own = &world.reports[0].conservation;
    assert!(!own.ok);
    assert_eq!(own.faults[0], "partition 0: 2 records were told, 3 were read");
    assert!(own.faults[1..].iter().all(|fault| fault.starts_with("partition 0: ")));
}

#[test]
fn what_is_told_twice_shows() {
    let mut world = World::new("Asia/Shanghai", 1);
    world.event(0, DAY + HOUR, "issue", 1, "a");
    world.flush(0, DAY + HOUR, false);
    world.event(0, DAY + 2 * HOUR, "issue", 2, "a");
    let again = world.events[0].1.daily.clone();
    world.flush(0, DAY + 2 * HOUR, false);
    world.events[0].1.daily = again;
    world.flush(0, DAY + 2 * HOUR, false);
    world.event(0, DAY + 25 * HOUR, "issue", 3, "a");
    world.flush(0, DAY + 25 * HOUR, false);
    let own = &world.reports[0].conservation;
    assert!(!own.ok);
    assert!(own.faults[0].contains("offsets 1 to 1 came twice"), "{:?}", own.faults);
}

#[test]
fn a_quiet_stream_goes_on_with_processing_time() {
    let mut world = World::new("Asia/Shanghai", 2);
    world.event(0, DAY + HOUR, "issue", 5, "a");
    world.flush_all(DAY + HOUR, false);
    for hour in 2..75 {
        world.flush_all(DAY + hour * HOUR, true);
    }
    assert_eq!(days(&world.reports), ["2025-11-22", "2025-11-23", "2025-11-24"]);
    assert_eq!(world.reports[2].total.day, Figures::default());
    assert_eq!(world.reports[2].total.month.issued.points, 5);
}

#[test]
fn a_partition_that_is_away_delays_a_report_for_hours_and_corrects_the_next() {
    let mut world = World::new("Asia/Shanghai", 2);
    world.event(0, DAY + HOUR, "issue", 5, "a");
    world.event(1, DAY + HOUR, "issue", 10, "a");
    world.flush_all(DAY + HOUR, false);
    world.event(1, DAY + 2 * HOUR, "issue", 20, "a");
    for hour in 2..=30 {
        world.event(0, DAY + hour * HOUR, "issue", 1, "a");
        world.flush(0, DAY + hour * HOUR, false);
    }
    assert_eq!(days(&world.reports), [""; 0]);
    world.event(0, DAY + 31 * HOUR, "issue", 1, "a");
    world.flush(0, DAY + 31 * HOUR, false);
    let report = &world.reports[0];
    assert_eq!((report.complete, report.total.day.issued.points), (false, 37));
    assert_eq!(report.waiting, ["events 1"]);
    world.event(0, DAY + 49 * HOUR, "issue", 1, "a");
    world.event(1, DAY + 49 * HOUR, "issue", 1, "a");
    world.flush_all(DAY + 49 * HOUR, false);
    let report = &world.reports[1];
    assert_eq!(report.corrections[0].date, "2025-11-22");
    assert_eq!(report.corrections[0].figures.issued.points, 20);
    assert_eq!(report.total.day.issued.points, 8);
    assert_eq!(report.total.month.issued.points, 37 + 20 + 8);
}

#[test]
fn a_long_silence_between_events_has_no_reports() {
    let mut world = World::new("Asia/Shanghai", 1);
    world.event(0, DAY, "issue", 5, "a");
    world.flush(0, DAY, false);
    world.event(0, DAY + 24 * 500 * HOUR, "issue", 6, "a");
    world.flush(0, DAY + 1, false);
    world.event(0, DAY + 24 * 502 * HOUR, "issue", 7, "a");
    world.flush(0, DAY + 2, false);
    // The day before the next event is not over when the event comes.
    let expected = ["2025-11-22", "2027-04-05", "2027-04-06"];
    assert_eq!(days(&world.reports), expected);
    assert_eq!(world.reports[2].total.year.issued.points, 6, "another year");
}

#[test]
fn days_follow_the_clock_of_the_zone() {
    let mut world = World::new("Europe/Berlin", 1);
    // 2025-10-26 has 25 hours there, and begins at 22:00 UTC.
    let start = 1_761_429_600_000;
    for hour in [0, 24, 25] {
        world.event(0, start + hour * HOUR, "issue", 1, "a");
        world.flush(0, start + hour * HOUR, false);
    }
    world.event(0, start + 26 * HOUR, "issue", 1, "a");
    world.flush(0, start + 26 * HOUR, false);
    let report = &world.reports[0];
    assert_eq!(report.date, "2025-10-26");
    assert_eq!(report.end.0 - report.start.0, 25 * HOUR);
    assert_eq!(report.total.day.issued.events, 2);
}

#[test]
fn sources_beyond_the_limit_stand_together_and_the_largest_by_name() {
    let mut world = World::new("Asia/Shanghai", 1);
    for source in 0..200 {
        world.event(0, DAY + source, "issue", 1 + source % 100, &format!("s{source:03}"));
        world.flush(0, DAY + source, false);
    }
    world.event(0, DAY + 25 * HOUR, "issue", 1, "s199");
    world.flush(0, DAY + 25 * HOUR, false);
    let report = &world.reports[0];
    assert_eq!(report.sources.len(), 128);
    assert!(report.sources.is_sorted_by_key(|one| one.source.clone()));
    let least = report.sources.iter().map(|one| one.figures.day.issued.points).min();
    assert_eq!(least, Some(37), "s036 to s099 and s136 to s199");
    let others = report.other_sources.unwrap();
    assert_eq!((others.day.issued.events, others.day.issued.points), (72, 2 * 36 * 37 / 2));
    assert_eq!(report.total.day.issued.events, 200);
    assert_eq!(others.year.issued.points, others.day.issued.points);
}

/// No record exceeds what a topic takes, nothing is lost on the way, and memory has a limit.
#[test]
fn a_hundred_thousand_sources_over_years_between_two_flushes_are_told_in_pieces() {
    let mut world = World::new("Asia/Shanghai", 1);
    let name = |source: u32| format!("{source:06}-{}", "x".repeat(240));
    let day = |n: u32| DAY + i64::from(n % 1_500) * 24 * HOUR;
    world.event(0, DAY, "issue", 1, "first");
    world.flush(0, DAY, false);
    for n in 0..100_000 {
        // Half of them come again on every day.
        let source = if n % 2 == 0 { n } else { n % 500 };
        world.event(0, day(n / 67), "issue", 10, &name(source));
        if n % 10_000 == 0 {
            world.event(0, day(n / 67), "redeem", 10_000_000, "");
        }
    }
    assert!(world.events[0].1.daily.rows() <= 16_384 + 2 * 1_500);
    world.flush(0, DAY + 1, false);
    assert!(world.sheets > 4, "{}", world.sheets);
    assert!(world.largest < 400_000, "{}", world.largest);
    // So far apart that every day has its report.
    for n in 1_500..1_503 {
        world.event(0, DAY + i64::from(n) * 24 * HOUR, "issue", 1, "last");
        world.flush(0, DAY + 1_000 * i64::from(n), false);
    }
    let issued: u64 = world.reports.iter().map(|report| report.total.day.issued.events).sum();
    assert_eq!(issued, 100_000 + 2, "the last two days are not over");
    let points: i64 = world.reports.iter().map(|report| report.total.day.issued.points).sum();
    assert_eq!(points, 1_000_000 + 2);
    for report in &world.reports {
        assert!(report.conservation.ok, "{:?}", report.conservation.faults);
        assert!(report.corrections.is_empty(), "{}", report.date);
        let rows = report.sources.iter().map(|one| one.figures.day.issued.events);
        let others = report.other_sources.map_or(0, |others| others.day.issued.events);
        assert_eq!(rows.sum::<u64>() + others, report.total.day.issued.events);
        assert!(report.sources.len() <= 128);
        let text = serde_json::to_string(report).unwrap();
        assert!(text.len() < 700_000, "{}", text.len());
    }
}

#[test]
fn a_report_that_would_be_too_large_lists_less() {
    let mut world = World::new("Asia/Shanghai", 1);
    // Names that are six times as long in JSON.
    let name = |source: u32| format!("{source:03}{}", "\u{1}".repeat(253));
    for source in 0..400 {
        for kind in ["issue", "redeem", "expire", "adjust"] {
            world.event(0, DAY + HOUR, kind, 1_000_000_000_000, &name(source));
        }
    }
    for source in 0..400 {
        for kind in ["issue", "redeem", "expire", "adjust"] {
            let reverses = json!({ "id": "x", "kind": kind });
            world.record(
                0,
                &json!({ "ts": DAY + HOUR, "user": "u", "kind": "reverse",
                "points": 1_000_000_000_000_i64, "source": name(source), "reverses": reverses }),
            );
        }
    }
    let (_, out, _) = &mut world.events[0];
    for rule in 0..5_000 {
        let decision = crate::engine::Decision {
            ts: EventTime(DAY + HOUR),
            ..crate::engine::Decision::of_instance(
                &format!("rule-{rule:0100}"),
                "i",
                "x",
                EventTime(DAY),
            )
        };
        out.daily.note(&world.plan, &Effect::Decision(Box::new(decision)));
    }
    world.flush(0, DAY + HOUR, false);
    world.event(0, DAY + 25 * HOUR, "issue", 1, "a");
    world.flush(0, DAY + 25 * HOUR, false);
    let report = &world.reports[0];
    assert!(report.conservation.ok, "{:?}", report.conservation.faults);
    assert!(serde_json::to_string(report).unwrap().len() <= 600 << 10);
    assert!((32..128).contains(&report.sources.len()), "{}", report.sources.len());
    let named: u64 = report.sources.iter().map(|one| one.figures.day.issued.events).sum();
    let others = report.other_sources.unwrap().day.issued.events;
    assert_eq!(named + others, 400);
    let listed: u64 = report.decisions.iter().map(|one| one.decisions).sum();
    let fired = world.reports[0].decisions.iter().filter(|one| one.rule == "campaign").count();
    assert!(fired <= 1 && report.decisions.len() <= 250);
    assert!(listed + report.other_decisions >= 5_000);
}

#[test]
fn sources_by_name_begin_anew_with_the_year() {
    let mut world = World::new("Asia/Shanghai", 1);
    for source in 0..1_030 {
        world.event(0, DAY + source, "issue", 1, &format!("old-{source:04}"));
        if source % 500 == 499 {
            world.flush(0, DAY + source, false);
        }
    }
    let next_year = DAY + 60 * 24 * HOUR;
    for (nth, source) in ["new", "new", "new"].iter().enumerate() {
        let at = next_year + i64::try_from(nth).unwrap() * 24 * HOUR;
        world.event(0, at, "issue", 1, source);
        world.flush(0, at, false);
    }
    let last = world.reports.last().unwrap();
    let names: Vec<&str> = last.sources.iter().map(|one| one.source.as_str()).collect();
    assert_eq!(names, ["new"]);
    assert!(last.other_sources.is_none());
}

#[test]
fn caps_of_days_that_are_closed_together_stand_with_their_days() {
    let mut world = two_days();
    let caps = world.reports[0].caps.clone();
    assert_eq!(caps.len(), 3);
    let (state, out, _) = &mut world.owners[0];
    let origin = state.origin().clone();
    let by = Sender {
        origin: &origin,
        is_owner: true,
        partitions: 2,
        watermark: state.watermark(),
        idle: false,
        beat: false,
    };
    for day in 0..100 {
        out.daily.close(day, caps[..usize::from(day != 98)].to_vec());
    }
    let told = out.daily.seal(state, &world.plan, by);
    let told = told.iter().map(|sheet| super::sheet::Sheet::decode(sheet).unwrap());
    let told: Vec<(Option<i32>, usize)> =
        told.map(|sheet| (sheet.more.closed, sheet.more.caps.len())).collect();
    assert_eq!(told.len(), 64, "of those before it is enough that a later one is over");
    assert_eq!(told[0], (Some(36), 1));
    assert_eq!(told[62..], [(Some(98), 0), (Some(99), 1)]);
}

#[test]
fn damaged_sheets_are_refused() {
    let mut world = two_days();
    let (state, out, _) = &mut world.events[0];
    let origin = state.origin().clone();
    let by = Sender {
        origin: &origin,
        is_owner: false,
        partitions: 2,
        watermark: state.watermark(),
        idle: false,
        beat: true,
    };
    let sheet = out.daily.seal(state, &world.plan, by).remove(0);
    for len in 1..sheet.len() {
        world.hear(0, &sheet[..len], DAY + 25 * HOUR);
    }
    let unreadable = world.owners[0].1.counts.partials_unreadable;
    assert_eq!(unreadable, sheet.len() as u64 - 1);
}

/// An event of the property test: what it is, and when, in minutes from the beginning.
fn arb_event() -> impl Strategy<Value = (usize, i64, u8, i64, u8, bool)> {
    (0..2_usize, -15..90_i64, 0..7_u8, 0..2_000_i64, 0..4_u8, prop::bool::weighted(0.2))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// What reports say, and what they correct, are the sums of what was accepted, whenever it was
    /// told and whenever states were made anew.
    #[test]
    fn reports_are_the_sums_of_what_was_accepted(
        events in prop::collection::vec(arb_event(), 1..250),
    ) {
        let mut world = World::new("Asia/Shanghai", 2);
        // The year, the quarter and the month end on the way.
        let mut now = DAY + 38 * 24 * HOUR;
        for (nth, (partition, minutes, kind, points, source, flush)) in events.iter().enumerate() {
            now += minutes.max(&0) * 60_000;
            let at = (now + minutes.min(&0) * 60_000).max(DAY);
            let kinds = ["issue", "issue", "redeem", "expire", "adjust", "reverse", "reverse"];
            let source = ["", "a", "b", "c"][usize::from(*source)];
            let mut fields = json!({ "ts": at, "user": format!("u{partition}"),
                "kind": kinds[usize::from(*kind)], "points": points, "source": source });
            if *kind == 5 {
                let of = ["issue", "redeem", "expire", "adjust"][nth % 4];
                fields["reverses"] = json!({ "id": "x", "kind": of });
            }
            world.record(*partition, &fields);
            if *flush {
                world.flush(nth % 2, now, false);
            }
            if nth % 61 == 60 {
                world.flush_all(now, false);
                world.restore();
            }
        }
        // All of it is told, and so much time passes that it has its report.
        for hour in [0, 24, 48, 49] {
            world.flush_all(now + hour * HOUR, true);
        }
        let mut told: BTreeMap<String, i64> = BTreeMap::new();
        for report in &world.reports {
            prop_assert!(report.conservation.ok, "{:?}", report.conservation.faults);
            let before = told.insert(report.date.clone(), report.total.day.net);
            prop_assert_eq!(before, None, "one report a day");
            for one in &report.corrections {
                *told.get_mut(&one.date).unwrap() += one.figures.net;
            }
            let dates = || world.reports.iter().flat_map(|report| &report.corrections);
            let corrected = dates().any(|one| one.date == report.date);
            for one in report.sources.iter().filter(|_| !corrected) {
                let sum = world.sum(|day, source| day == report.start.0 && source == one.source);
                prop_assert_eq!(one.figures.day, sum);
            }
        }
        for report in &world.reports {
            let sum = world.sum(|day, _| day == report.start.0);
            prop_assert_eq!(told[&report.date], sum.net, "{}", report.date);
        }
        let last = world.reports.last().unwrap();
        // Reports whose period is that of the last one, which has it from its first day on.
        let begins = |same: fn((i16, i8), (i16, i8)) -> bool| {
            let of = |report: &DailyReport| {
                let date: jiff::civil::Date = report.date.parse().unwrap();
                (date.year(), date.month())
            };
            let same = world.reports.iter().filter(|report| same(of(report), of(last)));
            same.map(|report| report.start.0).min().unwrap()
        };
        let year = begins(|(a, _), (b, _)| a == b);
        let quarter = begins(|(a, m), (b, n)| (a, (m - 1) / 3) == (b, (n - 1) / 3));
        let month = begins(|a, b| a == b);
        let Periods { month: of_month, quarter: of_quarter, year: of_year, .. } = last.total;
        for (from, figures) in [(year, of_year), (quarter, of_quarter), (month, of_month)] {
            prop_assert_eq!(figures, world.sum(|day, _| (from..=last.start.0).contains(&day)));
        }
    }
}
