//! Why a rule fired for a target, or did not (C5): every condition with the value it saw, the
//! counter against its bounds, cooldown and budget, as the state has them now. Changes nothing.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::act::{measure_name, number_json};
use crate::engine::calendar::duration_label;
use crate::engine::cell::{Body, Cell, ZCell};
use crate::engine::explain::conditions::{Judge, of_rule};
use crate::engine::firing::{Measured, Reading};
use crate::engine::in_turn::Closing;
use crate::engine::partial::owner_of;
use crate::engine::plan::Form;
use crate::engine::score::{whole, zscore_of};
use crate::engine::space::{Key, PART, hash_of, key_object, write_key};
use crate::engine::table::CellRef;
use crate::engine::view::{View, rolling_span, span, window_span};
use crate::engine::{Held, Plan, Seat, State, WindowSpan, account_key};
use crate::event::{Event, EventTime};
use crate::rule::{Check, Field, KeySpec, Levels, Mode, Rule, Severity, Side, Window, ZScore};

mod ahead;
mod conditions;
mod warming;
mod words;

pub use ahead::ForecastAnswer;
pub use conditions::{ConditionAnswer, EntryAnswer};

/// Keys told of a rule that counts by a user and something else, when that is not named.
const KEYS_MAX: usize = 20;

/// Whom and what somebody asks about.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Field name → value: `user`, `device`, `ip`, `source`, `attrs.NAME`.
    pub fields: BTreeMap<String, String>,
    /// One rule; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

/// What one state knows about a question.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub ruleset: String,
    /// Of the log that the state is of.
    pub watermark: Option<EventTime>,
    pub rules: Vec<RuleAnswer>,
    /// Holds of the targets asked about.
    pub holds: Vec<Held>,
}

/// One rule and key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleAnswer {
    pub rule: String,
    pub mode: Mode,
    pub key: Map<String, Value>,
    /// Some event of the key is counted.
    pub counted: bool,
    /// The answer in a sentence.
    pub verdict: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measure: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowSpan>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<LevelAnswer>,
    /// Of a cap that is filling up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<ForecastAnswer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<BaselineAnswer>,
    /// In the order of the rule: kinds, then what `where` asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<ConditionAnswer>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub budgets: Vec<BudgetAnswer>,
}

impl RuleAnswer {
    /// A rule and key of which nothing is known.
    fn bare(rule: &Rule, key: &str) -> RuleAnswer {
        RuleAnswer {
            rule: rule.name.clone(),
            mode: rule.mode,
            key: key_object(&rule.per, key),
            counted: false,
            verdict: String::new(),
            measure: None,
            value: None,
            window: None,
            levels: Vec::new(),
            forecast: None,
            baseline: None,
            conditions: Vec::new(),
            budgets: Vec::new(),
        }
    }
}

/// One level against the value. A match rule and a z-score have one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelAnswer {
    pub level: u32,
    pub severity: Severity,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<Value>,
    /// How far ahead it looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast: Option<String>,
    /// When the bound will be exceeded, where it looks so far ahead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forecast_at: Option<EventTime>,
    /// The value is beyond the bound, or will be by `forecast_at`.
    pub breached: bool,
    /// It has fired, and does not fire again before the value is back within bounds.
    pub fired: bool,
    /// Event time before which it does not fire again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown_until: Option<EventTime>,
}

impl LevelAnswer {
    /// A level of which nothing is known but its place.
    fn bare(level: u32, severity: Severity) -> LevelAnswer {
        LevelAnswer {
            level,
            severity,
            above: None,
            below: None,
            forecast: None,
            forecast_at: None,
            breached: false,
            fired: false,
            cooldown_until: None,
        }
    }
}

/// What a z-score compares with (R11).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BaselineAnswer {
    /// Closed windows it is held against, and how many a verdict needs.
    pub windows: u32,
    pub min_windows: u32,
    /// `None` as long as there is no verdict.
    pub mean: Option<f64>,
    pub sd: Option<f64>,
    pub zscore: Option<f64>,
}

/// A circuit breaker of the rule (R15).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetAnswer {
    /// Shared by all rules, not the rule's own.
    pub shared: bool,
    pub freezes: u32,
    pub per: String,
    /// Freezes in the duration up to the watermark.
    pub used: u32,
    pub exhausted: bool,
}

impl State {
    /// What this state knows. `event` is one that the question is about; without it conditions
    /// are judged by the fields that the question names, as far as they go.
    pub fn explain(
        &self,
        plan: &Plan,
        question: &Question,
        event: Option<&Event<'_>>,
        (seat, partitions): (Seat, u32),
    ) -> Answer {
        let mut answer = Answer {
            ruleset: plan.rules.version.clone(),
            watermark: self.watermark(),
            ..Answer::default()
        };
        let judge = Judge::new(self, plan, question, event);
        for (at, rule) in plan.rules.rules.iter().enumerate() {
            let asked = question.rule.as_ref().is_none_or(|name| *name == rule.name);
            let here = plan.info[at].shared == matches!(seat, Seat::Partials(_));
            if !asked || !here {
                continue;
            }
            for key in self.keys_of(plan, at, question, event) {
                if self.owns(plan, at, &key, (seat, partitions)) {
                    answer.rules.push(self.rule_answer(plan, at, &key, &judge));
                }
            }
        }
        for target in targets(plan, question, event) {
            let account = self.keyed.ledger.account(&account_key(&target));
            let holds = account.into_iter().flat_map(|account| &account.holds);
            let held = holds.map(|hold| Held { target: target.clone(), hold: hold.clone() });
            answer.holds.extend(held);
        }
        answer
    }

    /// The keys of a rule that a question is about.
    fn keys_of(
        &self,
        plan: &Plan,
        rule: usize,
        question: &Question,
        event: Option<&Event<'_>>,
    ) -> Vec<String> {
        let spec = &plan.rule(rule).per;
        if let Some(key) = key_of(spec, question, event) {
            return vec![key];
        }
        // Of a user and something else, with nothing but the user named: what is known of it.
        let Some(user) = question.fields.get("user").filter(|_| spec.has_user()) else {
            return Vec::new();
        };
        let Some(part) = spec.fields.iter().position(|field| *field == Field::User) else {
            return Vec::new();
        };
        let info = &plan.info[rule];
        let cells = &self.keyed.cells;
        let Some(space) = cells.spaces.get(info.space) else { return Vec::new() };
        let ids = cells.keys_of(rule, plan).into_iter();
        let texts = ids.filter(|id| self.counts(plan, rule, *id)).map(|id| space.text(id));
        let own = texts.filter(|text| text.split(PART).nth(part) == Some(user.as_str()));
        let mut own: Vec<String> = own.take(KEYS_MAX).map(str::to_owned).collect();
        own.sort_unstable();
        own
    }

    /// Whether a rule will still count a key once the windows are closed that wait for their turn.
    fn counts(&self, plan: &Plan, rule: usize, id: u32) -> bool {
        match (&plan.rule(rule).check, self.keyed.cells.held(rule, id, plan)) {
            (Check::ZScore(check), Some(cell)) => self.closed(plan, (rule, check), &cell).is_some(),
            (_, cell) => cell.is_some(),
        }
    }

    /// Whether this state is the one to ask about a key: it counts it, or would.
    fn owns(&self, plan: &Plan, rule: usize, key: &str, (seat, partitions): (Seat, u32)) -> bool {
        match seat {
            // Whoever sends events chooses the partition of a user.
            Seat::Events(_) => true,
            Seat::Partials(own) => {
                owner_of(hash_of(key), partitions) == own || self.cell(plan, rule, key).is_some()
            }
        }
    }

    fn cell(&self, plan: &Plan, rule: usize, key: &str) -> Option<CellRef<'_>> {
        let info = &plan.info[rule];
        let space = self.keyed.cells.spaces.get(info.space)?;
        let id = space.find(&mut Key::new(key))?;
        self.keyed.cells.held(rule, id, plan)
    }

    fn rule_answer(&self, plan: &Plan, at: usize, key: &str, judge: &Judge<'_, '_>) -> RuleAnswer {
        let rule = plan.rule(at);
        let held = self.cell(plan, at, key);
        let cell = held.as_deref();
        let mut answer = RuleAnswer {
            counted: cell.is_some(),
            conditions: of_rule(rule, judge),
            budgets: self.budgets(plan, rule),
            ..RuleAnswer::bare(rule, key)
        };
        let now = judge.ts().or(self.watermark).unwrap_or(0);
        match &rule.check {
            Check::Match { severity, .. } => answer.levels.push(LevelAnswer::bare(0, *severity)),
            Check::Threshold { levels, .. } | Check::Ratio { levels, .. } => {
                self.measured(plan, at, (cell, levels), now, &mut answer);
            }
            Check::ZScore(check) => {
                let cell = cell.and_then(|cell| self.closed(plan, (at, check), cell));
                answer.counted = cell.is_some();
                scored(plan, check, cell.as_deref(), now, &mut answer);
            }
        }
        if let Some(cooldown_ms) = rule.cooldown_ms {
            let last = cell.map_or(&[][..], |cell| self.keyed.cooldowns.of(at, cell.key));
            for (level, last) in answer.levels.iter_mut().zip(last) {
                let until = last.saturating_add(cooldown_ms);
                level.cooldown_until =
                    (*last != i64::MIN && until > now).then_some(EventTime(until));
            }
        }
        answer.verdict = words::verdict(plan, rule, &answer, judge.is_event());
        answer
    }

    /// A z-score once the windows are closed that wait for their turn; `None` where it is forgotten
    /// then.
    fn closed<'a>(
        &self,
        plan: &Plan,
        (at, check): (usize, &ZScore),
        cell: &'a Cell,
    ) -> Option<Cow<'a, ZCell>> {
        let Body::ZScore(body) = &cell.body else { return None };
        let info = &plan.info[at];
        match self.watermark {
            Some(watermark) if info.closing == Closing::InTurn => {
                let over = watermark.saturating_sub(info.close_after_ms);
                body.closed_by(over, check, plan).map(Cow::Owned)
            }
            _ => Some(Cow::Borrowed(body)),
        }
    }

    /// A threshold or a ratio.
    fn measured(
        &self,
        plan: &Plan,
        at: usize,
        (cell, levels): (Option<&Cell>, &Levels),
        now: i64,
        answer: &mut RuleAnswer,
    ) {
        let view = View::of(&plan.rule(at).check);
        answer.measure = Some(view.measure_name());
        let (mut of, mut to, mut fired) = (0, view.to.map(|_| 0), 0);
        let window = match (view.window, cell.map(|cell| (&cell.body, cell.fired))) {
            (Window::Duration(window_ms), Some((Body::Rolling(body), all))) => {
                let at_watermark = plan.info[at].form == Form::RollingBelow;
                let t = if at_watermark {
                    body.t.max(self.watermark.unwrap_or(body.t))
                } else {
                    body.t
                };
                (of, to) = body.values(&view, t, window_ms);
                fired = all;
                rolling_span(t, window_ms)
            }
            (Window::Duration(window_ms), _) => rolling_span(now, window_ms),
            (window @ Window::Calendar(_), body) => {
                let span = span(plan, window, now);
                let periods = match body {
                    Some((Body::Calendar(body), _)) => body.periods.as_slice(),
                    _ => &[],
                };
                if let Some(period) = periods.iter().find(|period| period.start == span.start) {
                    (of, to) = (period.of.value(), period.of.to_value());
                    fired = period.fired;
                }
                window_span(plan, window, span)
            }
        };
        let value = view.value(of, to);
        answer.window = Some(window);
        answer.value = value.map(Measured::json);
        let ahead = cell.and_then(|cell| self.ahead(plan, (at, cell.key), now));
        let (rise, forecast) = ahead.unzip();
        answer.forecast = forecast;
        let reading = value.map(|value| Reading { value, rise });
        for (level, of) in (0u32..).zip(&levels.levels) {
            let bound = Some(number_json(of.bound));
            let (above, below) = match levels.side {
                Side::Above => (bound, None),
                Side::Below => (None, bound),
            };
            answer.levels.push(LevelAnswer {
                above,
                below,
                forecast: of.forecast_ms.map(duration_label),
                forecast_at: reading.and_then(|one| one.forecast(levels, of)).map(EventTime),
                breached: reading.is_some_and(|one| one.breaches(levels, of)),
                fired: fired & (1 << level) != 0,
                ..LevelAnswer::bare(level, of.severity)
            });
        }
    }

    fn budgets(&self, plan: &Plan, rule: &Rule) -> Vec<BudgetAnswer> {
        let own = rule.budget.map(|budget| (rule.name.as_str(), budget));
        let shared = plan.rules.budget.map(|budget| ("", budget));
        let all = own.into_iter().chain(shared);
        let told = all.map(|(name, budget)| {
            let now = self.watermark.unwrap_or(i64::MIN);
            let (used, exhausted) = self.keyed.ledger.spent(name, budget, now);
            BudgetAnswer {
                shared: name.is_empty(),
                freezes: budget.freezes,
                per: duration_label(budget.per_ms),
                used,
                exhausted,
            }
        });
        told.collect()
    }
}

/// A z-score, by the window that is open.
fn scored(plan: &Plan, check: &ZScore, body: Option<&ZCell>, now: i64, answer: &mut RuleAnswer) {
    answer.measure = Some(measure_name(&check.input.measure));
    let span = span(plan, check.window, now);
    let open = body.and_then(|body| body.open.iter().find(|open| open.span == span));
    let value = open.map_or(0, |open| open.sum.value());
    let basis = body.map(|body| body.basis(&plan.calendar, check, span));
    let (windows, stats) = basis.unwrap_or_default();
    let z = stats.map(|(mean, sd)| zscore_of(value, mean, sd));
    answer.window = Some(window_span(plan, check.window, span));
    answer.value = Some(value.into());
    answer.baseline = Some(BaselineAnswer {
        windows: u32::try_from(windows).unwrap_or(u32::MAX),
        min_windows: check.baseline.min_windows,
        mean: stats.map(|(mean, _)| mean),
        sd: stats.map(|(_, sd)| sd),
        zscore: z,
    });
    let ran = open.is_some_and(|open| open.fired);
    let above = z.zip(check.above).is_some_and(|(z, bound)| z > bound);
    let below = z.zip(check.below).is_some_and(|(z, bound)| z < bound);
    let disarmed = body.is_some_and(|body| {
        check.above.is_some() && !body.armed_above || check.below.is_some() && !body.armed_below
    });
    answer.levels.push(LevelAnswer {
        above: check.above.map(|bound| number_json(whole(bound))),
        below: check.below.map(|bound| number_json(whole(bound))),
        breached: above || below,
        fired: ran || disarmed,
        ..LevelAnswer::bare(0, check.severity)
    });
}

/// The key that a question or its event has under a rule; `None` where a field is not known.
fn key_of(spec: &KeySpec, question: &Question, event: Option<&Event<'_>>) -> Option<String> {
    let mut text = String::new();
    if let Some(event) = event {
        return write_key(spec, event, &mut text).then_some(text);
    }
    for (at, field) in spec.fields.iter().enumerate() {
        if at > 0 {
            text.push(PART);
        }
        text.push_str(question.fields.get(&field.to_string())?);
    }
    Some(text)
}

/// Everything that may be held of what a question is about: the keys of all rules.
fn targets(plan: &Plan, question: &Question, event: Option<&Event<'_>>) -> Vec<Map<String, Value>> {
    let user = question.fields.get("user").cloned();
    let user = user.or_else(|| event.map(|event| event.user.to_string()));
    let of_user = user.map(|user| key_object(&KeySpec { fields: vec![Field::User] }, &user));
    let mut all: Vec<Map<String, Value>> = of_user.into_iter().collect();
    for spec in &plan.spaces {
        let target = key_of(spec, question, event).map(|key| key_object(spec, &key));
        if let Some(target) = target.filter(|target| !all.contains(target)) {
            all.push(target);
        }
    }
    all
}

/// Answers of several states in one: of a rule and key that of whoever counts it.
pub fn merge(answers: Vec<Answer>) -> Answer {
    let mut all = Answer::default();
    for answer in answers {
        if all.ruleset.is_empty() {
            all.ruleset = answer.ruleset;
        }
        all.watermark = all.watermark.max(answer.watermark);
        for other in answer.rules {
            let same = |one: &&mut RuleAnswer| one.rule == other.rule && one.key == other.key;
            match all.rules.iter_mut().find(same) {
                Some(one) if !one.counted && other.counted => *one = other,
                Some(_) => {}
                None => all.rules.push(other),
            }
        }
        let known = |held: &Held| all.holds.iter().any(|one| one.hold.hold == held.hold.hold);
        let new: Vec<Held> = answer.holds.into_iter().filter(|held| !known(held)).collect();
        all.holds.extend(new);
    }
    all
}
