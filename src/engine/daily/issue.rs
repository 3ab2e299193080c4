//! A day's report, made from the book; and what a state does for the account at its steps.

use serde_json::Map;

use crate::engine::act::hex;
use crate::engine::calendar::date_of;
use crate::engine::daily::book::{Book, Day, closed_at, fault_of, is_past, periods_of};
use crate::engine::daily::listed::{list, periods};
use crate::engine::daily::report::{
    Conservation, Correction, DailyReport, Figures, PartitionRecords, Records,
};
use crate::engine::daily::sheet::Sheet;
use crate::engine::daily::sums::{Stretch, Sums};
use crate::engine::daily::{DAILY, Sender, caps_at};
use crate::engine::plan::Plan;
use crate::engine::state::{Output, State};
use crate::engine::{Decision, Effect};
use crate::event::EventTime;
use crate::rule::Severity;

/// Partitions that a report lists.
const PARTITIONS_MAX: usize = 500;
/// Faults that a report lists.
const FAULTS_MAX: usize = 100;

impl State {
    /// The watermark comes to another day, of a partition of the events topic.
    #[cold]
    pub(crate) fn turn_day(&mut self, plan: &Plan, watermark: i64, out: &mut Output) {
        let day = plan.calendar.day_of(EventTime(watermark));
        let before = self.watermark.map(|before| plan.calendar.day_of(EventTime(before)));
        if let Some(before) = before.filter(|before| *before != day) {
            out.daily.leave(before, &self.intake);
        }
        self.day = plan.calendar.day_span(day);
    }

    /// The watermark goes on, of a partition of the partials topic: when a day is over, its caps
    /// are told as they are.
    pub(crate) fn close_day(&mut self, plan: &Plan, watermark: i64, out: &mut Output) {
        let over = watermark.saturating_sub(plan.settings.allowed_lateness_ms);
        if over < self.day.end {
            return;
        }
        let day = plan.calendar.day_of(EventTime(over));
        let before = self.watermark.map(|before| closed_at(plan, before));
        if before.is_some_and(|before| before < day - 1) {
            let end = plan.calendar.day_span(day - 1).end;
            out.daily.close(day - 1, caps_at(self, plan, end));
        }
        self.day = plan.calendar.day_span(day);
    }

    /// Takes in what a partition tells the account, and issues what is due.
    pub(crate) fn sheet(
        &mut self,
        plan: &Plan,
        payload: &[u8],
        record_ts: Option<i64>,
        out: &mut Output,
    ) {
        let Some(sheet) = Sheet::decode(payload) else {
            out.counts.partials_unreadable += 1;
            return;
        };
        let book = self.book.get_or_insert_default();
        out.counts.saturated += u64::from(book.take(sheet, record_ts));
        // The account of a finite log, which has no times of records, is made at its end.
        let Some(watermark) = book.watermark.filter(|_| record_ts.is_some()) else { return };
        let over = watermark.saturating_sub(plan.settings.allowed_lateness_ms);
        if over < book.day_end {
            return;
        }
        let closed = closed_at(plan, watermark);
        book.day_end = plan.calendar.day_span(closed + 1).end;
        for day in book.due(closed) {
            out.effects.push(book.issue(plan, day, plan.settings.allowed_lateness_ms));
        }
        // Before the first report it is not known where the account begins.
        if book.issued.is_some_and(|issued| issued < closed) {
            book.turn(closed);
        }
    }

    /// Takes the place of a state that was folded under other rules, perhaps in another zone, where
    /// days end at other instants. What that one has reported is not reported again; what only this
    /// one has is handed out, of the `reports` that it made without output.
    pub(crate) fn go_on_from(
        &mut self,
        other: &State,
        plan: &Plan,
        reports: Vec<Effect>,
    ) -> Vec<Effect> {
        let (Some(own), Some(other)) = (&mut self.book, &other.book) else { return Vec::new() };
        own.skip(other, plan);
        let last = other.issued.map(|day| date_of(day).to_string());
        let is_new = |effect: &Effect| match effect {
            Effect::Daily(one) => one.daily.as_ref().map(|report| &report.date) > last.as_ref(),
            _ => false,
        };
        reports.into_iter().filter(is_new).collect()
    }

    /// Issues the days of a finite log. Its last day may not be whole.
    pub(crate) fn end_book(&mut self, plan: &Plan, out: &mut Output) {
        let Some(mut book) = self.book.take() else { return };
        out.effects.iter().for_each(|effect| out.daily.note(plan, effect));
        if let Some(watermark) = self.watermark {
            let last = plan.calendar.day_of(EventTime(watermark));
            for day in closed_at(plan, watermark) + 1..=last {
                let end = plan.calendar.day_span(day).end;
                out.daily.close(day, caps_at(self, plan, end));
            }
        }
        let by = Sender {
            origin: &self.origin,
            is_owner: true,
            partitions: book.partitions,
            watermark: self.watermark(),
            idle: false,
            beat: false,
        };
        for told in out.daily.seal(self, plan, by) {
            let Some(sheet) = Sheet::decode(&told) else { continue };
            out.counts.saturated += u64::from(book.take(sheet, None));
        }
        for day in book.rest() {
            out.effects.push(book.issue(plan, day, 0));
        }
        self.book = Some(book);
    }
}

impl Book {
    /// The report of the day, after which the book is one of the days behind it.
    fn issue(&mut self, plan: &Plan, day: i32, lateness_ms: i64) -> Effect {
        self.turn(day);
        let open = self.days.remove(&day).unwrap_or_default();
        for period in [&mut self.month, &mut self.quarter, &mut self.year] {
            period.merge(&open.sums);
        }
        let span = plan.calendar.day_span(day);
        let waiting = self.waiting(day, span.end.saturating_add(lateness_ms));
        let corrections = std::mem::take(&mut self.corrections).into_iter();
        let report = DailyReport {
            v: 1,
            date: date_of(day).to_string(),
            zone: plan.rules.timezone_name.clone(),
            start: EventTime(span.start),
            end: EventTime(span.end),
            since: date_of(self.since.unwrap_or(day)).to_string(),
            complete: waiting.is_empty(),
            waiting,
            total: periods(self, &open.sums, Sums::total),
            sources: Vec::new(),
            other_sources: None,
            corrections: corrections
                .map(|(day, row)| Correction {
                    date: date_of(day).to_string(),
                    figures: Figures::of(&row),
                })
                .collect(),
            conservation: self.conservation(&open),
            caps: open.caps,
            decisions: sorted(open.decisions),
            commands: sorted(open.commands),
            other_decisions: 0,
            other_commands: 0,
        };
        let report = list(self, &open.sums, &report);
        Effect::Daily(Box::new(decision(report, &plan.rules.version)))
    }

    /// Days that another book has reported count to date, and what comes for them is a correction.
    fn skip(&mut self, other: &Book, plan: &Plan) {
        let is_further = |issued: &i32| self.issued.is_none_or(|own| own < *issued);
        let Some(issued) = other.issued.filter(is_further) else { return };
        let open: Vec<i32> = self.days.range(..=issued).map(|(day, _)| *day).collect();
        for day in open {
            self.issue(plan, day, 0);
        }
        self.turn(issued);
        self.corrections.clone_from(&other.corrections);
        for (number, part) in &mut self.parts {
            let known = other.parts.get(number);
            part.faults = known.map(|known| known.faults.clone()).unwrap_or_default();
        }
    }

    /// Goes on to a day: the periods that it is not in begin anew, and with the year the sources that
    /// are kept by name.
    fn turn(&mut self, day: i32) {
        let Some(issued) = self.issued.replace(day) else { return };
        let (last, now) = (periods_of(issued), periods_of(day));
        if last[0] != now[0] {
            self.sources = std::mem::take(&mut self.newer);
        }
        let periods = [&mut self.year, &mut self.quarter, &mut self.month];
        for (period, (last, now)) in periods.into_iter().zip(last.iter().zip(&now)) {
            if last != now {
                *period = Sums::default();
            }
        }
    }

    fn waiting(&self, day: i32, at: i64) -> Vec<String> {
        let all = || 0..i32::try_from(self.partitions).unwrap_or(i32::MAX);
        let events = all().filter(|number| !is_past(self.parts.get(number), EventTime(at)));
        let owners = all().filter(|number| self.owners.get(number).is_none_or(|own| *own < day));
        let events = events.map(|number| format!("events {number}"));
        events.chain(owners.map(|number| format!("partials {number}"))).collect()
    }

    fn conservation(&mut self, day: &Day) -> Conservation {
        let mut all = Conservation {
            ok: true,
            faults: Vec::new(),
            total: Records::default(),
            partitions: Vec::new(),
        };
        for (number, part) in &mut self.parts {
            let stretch = day.stretches.get(number).copied().unwrap_or_default();
            let mut faults = std::mem::take(&mut part.faults);
            faults.extend(fault_of(&stretch));
            let records = records(&stretch);
            all.total = Records {
                consumed: all.total.consumed + records.consumed,
                accepted: all.total.accepted + records.accepted,
                duplicate: all.total.duplicate + records.duplicate,
                late: all.total.late + records.late,
                quarantined: all.total.quarantined + records.quarantined,
            };
            all.ok &= faults.is_empty();
            if all.partitions.len() < PARTITIONS_MAX || !faults.is_empty() {
                let some = stretch.consumed > 0;
                let consumed = i64::try_from(stretch.consumed).unwrap_or(i64::MAX);
                all.partitions.push(PartitionRecords {
                    partition: *number,
                    first_offset: some.then_some(stretch.from),
                    last_offset: some.then_some(stretch.next - 1),
                    records,
                    empty_offsets: stretch.next - stretch.from - consumed,
                    watermark: part.watermark.map(EventTime),
                    idle: part.idle,
                    ok: faults.is_empty(),
                });
            }
            let room = FAULTS_MAX.saturating_sub(all.faults.len());
            let faults = faults.into_iter().map(|fault| format!("partition {number}: {fault}"));
            all.faults.extend(faults.take(room));
        }
        all
    }
}

fn records(stretch: &Stretch) -> Records {
    let [accepted, duplicate, late, quarantined] = stretch.outcomes;
    Records { consumed: stretch.consumed, accepted, duplicate, late, quarantined }
}

fn sorted<T: Ord>(mut rows: Vec<T>) -> Vec<T> {
    rows.sort_unstable();
    rows
}

/// The report as a decision, so that it reaches people on the way that decisions do. Its id is a
/// function of the day and the zone.
fn decision(report: DailyReport, ruleset: &str) -> Decision {
    let DailyReport { date, zone, total, conservation, .. } = &report;
    let Figures { issued, redeemed, expired, .. } = &total.day;
    let verdict = if conservation.ok { "OK" } else { "MISMATCH" };
    let mut key = Map::new();
    key.insert("date".to_owned(), date.clone().into());
    let mut decision = Decision {
        id: hex(&format!("{DAILY}\u{1f}{zone}\u{1f}{date}")),
        severity: if conservation.ok { Severity::Info } else { Severity::Critical },
        key,
        summary: format!(
            "{date}: {} points issued, {} redeemed, {} expired; conservation {verdict}",
            issued.points, redeemed.points, expired.points
        ),
        ..Decision::about(DAILY, DAILY, ruleset, report.end)
    };
    decision.daily = Some(Box::new(report));
    decision
}
