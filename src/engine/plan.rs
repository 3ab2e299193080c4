//! A rule set made ready to run: which rules see which kind of event, and under which key.

use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::engine::Settings;
use crate::engine::calendar::Calendar;
use crate::engine::expiry::Pace;
use crate::engine::filter::Lists;
use crate::engine::in_turn::Closing;
use crate::engine::opens::resolves;
use crate::engine::posting::Posting;
use crate::engine::routes::Routes;
use crate::engine::rows::Column;
use crate::engine::view::{View, step_ms};
use crate::event::Kind;
use crate::rule::{
    Check, Condition, Field, Filter, KeySpec, Mode, Number, Rule, RuleSet, Side, Window,
};

mod births;
mod checks;
mod towards;

use checks::{fingerprint, form, has_flow, inputs};

pub(crate) use births::EVER;

/// Rules, lists and settings of a fold. Immutable; a change makes a new one.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(crate) rules: Arc<RuleSet>,
    pub(crate) lists: Lists,
    pub(crate) settings: Settings,
    pub(crate) calendar: Calendar,
    pub(crate) spaces: Vec<KeySpec>,
    pub(crate) key_forms: Vec<KeyForm>,
    /// Changes with the number of key forms and rules, with what those count in, and with what decides
    /// which windows close without a word.
    pub(crate) shape: u64,
    /// Some key form is more than one text of the event.
    pub(crate) composes: bool,
    /// What the rules of each space count in, rule by rule.
    pub(crate) columns: Vec<Vec<Column>>,
    pub(crate) info: Vec<RuleInfo>,
    /// Fingerprint and place of each rule, in order of fingerprints.
    by_fingerprint: Vec<(u64, usize)>,
    pub(crate) routes: Routes,
    /// By number of their ways, what events post; none where they post nothing.
    pub(crate) postings: Vec<Posting>,
    /// Of the rules that are posted those that take what several events bring together.
    pub(crate) together: Vec<usize>,
    /// The key form of one user, if some rule counts by it.
    pub(crate) user_space: Option<usize>,
    /// Rules that net out a reversal of the kind (R10).
    pub(crate) by_reversed: [Vec<usize>; 5],
    /// Fields that some `new` condition looks at, with the longest `within`.
    pub(crate) new_fields: Vec<(Field, i64)>,
    /// Rules with a rolling `below`, evaluated as the watermark moves (R13).
    pub(crate) silence: Vec<usize>,
}

/// What the engine needs to know of a rule at each event.
#[derive(Debug, Clone)]
pub(crate) struct RuleInfo {
    pub(crate) space: usize,
    /// Place of the rule among those of its space.
    pub(crate) column: usize,
    /// The key crosses partitions (R8).
    pub(crate) shared: bool,
    /// Names rule and counters on the wire: a rule that counts otherwise is another one, and so
    /// is one that was born at another time.
    pub(crate) fingerprint: u64,
    /// The fingerprint without its birth.
    pub(crate) base: u64,
    /// Where its keys cross partitions: offset in the control topic of the last set without it.
    pub(crate) birth: i64,
    pub(crate) stage: Stage,
    /// R11, R13: how long after its end a window closes.
    pub(crate) close_after_ms: i64,
    pub(crate) form: Form,
    pub(crate) window: Window,
    pub(crate) pace: Pace,
    pub(crate) closing: Closing,
    /// R7, R8: the step in which a rolling window moves, milliseconds.
    pub(crate) step_ms: i64,
    /// Values at which no level of a threshold on an integer breaches.
    pub(crate) calm: Option<Calm>,
    /// How most contributions are counted.
    pub(crate) quiet: Option<Short>,
    /// What comes in each minute is kept, for forecasts.
    pub(crate) has_flow: bool,
    /// The end of what it says is told.
    pub(crate) resolves: bool,
    pub(crate) looks: Looks,
}

/// What can be asked for before a rule counts an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looks {
    Nothing,
    /// The user's cell.
    Cell,
    /// What waits for the owner of the device or the address.
    Outgoing,
}

/// How far a rule is in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Acts,
    /// The owner of its keys counts what comes and does not judge it: other partitions have not
    /// told their past yet. Of the events each partition keeps what it has to tell.
    Gathers,
}

impl RuleInfo {
    /// Whether the counters of one rule can go on as those of the other.
    fn counts_as(&self, other: &RuleInfo) -> bool {
        self.fingerprint == other.fingerprint && self.counts_like(other)
    }

    /// The same, whenever the two were born.
    pub(crate) fn counts_like(&self, other: &RuleInfo) -> bool {
        self.base == other.base
            && self.form == other.form
            && self.close_after_ms == other.close_after_ms
    }
}

/// Integers on the quiet side of every bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Calm {
    UpTo(i64),
    From(i64),
}

impl Calm {
    pub(crate) fn holds(self, value: i64) -> bool {
        match self {
            Calm::UpTo(most) => value <= most,
            Calm::From(least) => value >= least,
        }
    }

    /// `None` for ratios, z-scores and forecasts, and for bounds that no integer states.
    fn of(check: &Check) -> Option<Calm> {
        let Check::Threshold { levels, .. } = check else { return None };
        if levels.has_forecast() {
            return None;
        }
        let bounds = levels.levels.iter().map(|level| match level.bound {
            Number::Integer(bound) => Some(bound),
            Number::Float(_) => None,
        });
        let bounds: Option<Vec<i64>> = bounds.collect();
        match levels.side {
            Side::Above => bounds?.into_iter().min().map(Calm::UpTo),
            Side::Below => bounds?.into_iter().max().map(Calm::From),
        }
    }
}

/// How a rule takes contributions that come to nothing: of points, or where `counts` of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    Bound(Quiet),
    /// A cap whose flow is kept: its least bound, and of the levels that look ahead the least bound
    /// and the longest time.
    Flow {
        most: i64,
        ahead: Option<(i64, i64)>,
        counts: bool,
    },
    /// What is judged when a period of the calendar is over.
    Silence {
        counts: bool,
    },
    /// A ratio in a period of the calendar.
    Sides {
        count: [bool; 2],
    },
    Score {
        counts: bool,
    },
}

/// A threshold that most contributions leave far from its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quiet {
    /// The greatest value at which no level breaches.
    pub(crate) most: i64,
    /// Of a rolling window.
    pub(crate) window_ms: i64,
    /// What counts is the number of events, not of points.
    pub(crate) counts: bool,
    /// What counts are distinct values.
    pub(crate) values: bool,
}

/// Where a key form reads its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyForm {
    Global,
    User,
    Device,
    Ip,
    Source,
    /// Written from several fields, or from one that is no text.
    Composite,
}

impl KeyForm {
    fn of(spec: &KeySpec) -> KeyForm {
        match spec.fields.as_slice() {
            [] => KeyForm::Global,
            [Field::User] => KeyForm::User,
            [Field::Device] => KeyForm::Device,
            [Field::Ip] => KeyForm::Ip,
            [Field::Source] => KeyForm::Source,
            _ => KeyForm::Composite,
        }
    }
}

/// How a rule's counters work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Form {
    Match,
    /// Calendar window, evaluated at each event.
    Calendar,
    /// Calendar window, evaluated when it closes.
    CalendarBelow,
    /// Rolling window, evaluated at each event.
    Rolling,
    /// Rolling window, evaluated at the watermark.
    RollingBelow,
    ZScore,
}

impl Plan {
    #[expect(clippy::needless_pass_by_value, reason = "the plan keeps the rule set")]
    pub fn new(rules: Arc<RuleSet>, lists: Lists, settings: Settings) -> Plan {
        let mut plan = Plan {
            calendar: Calendar::new(rules.timezone.clone(), rules.timezone_name.clone()),
            lists,
            settings,
            spaces: Vec::new(),
            key_forms: Vec::new(),
            shape: 0,
            composes: false,
            columns: Vec::new(),
            by_fingerprint: Vec::new(),
            info: Vec::new(),
            routes: Routes::default(),
            postings: Vec::new(),
            together: Vec::new(),
            user_space: None,
            by_reversed: Default::default(),
            new_fields: Vec::new(),
            silence: Vec::new(),
            rules: rules.clone(),
        };
        for (at, rule) in rules.rules.iter().enumerate() {
            plan.add(at, rule);
        }
        plan.routes = Routes::new(&rules, |rule| (plan.info[rule].looks, plan.seat(rule)));
        plan.indexed().shaped()
    }

    fn indexed(mut self) -> Plan {
        let fingerprints = self.info.iter().enumerate().map(|(at, info)| (info.fingerprint, at));
        self.by_fingerprint = fingerprints.collect();
        self.by_fingerprint.sort_unstable();
        self
    }

    fn shaped(mut self) -> Plan {
        let shown = (self.user_space, self.new_fields.len());
        let closing = self.rules.rules.iter().filter_map(Closing::basis);
        let closing: Vec<String> = closing.collect();
        let shape = format!("{:?} {} {shown:?} {closing:?}", self.columns, self.info.len());
        self.shape = xxh3_64(shape.as_bytes());
        self
    }

    /// Takes a rule out: it sees no event.
    fn close(&mut self, rule: usize) {
        self.routes.close(rule);
        self.postings.clear();
    }

    /// The rule set this plan runs.
    pub fn rule_set(&self) -> &RuleSet {
        &self.rules
    }

    /// True when some rule's key crosses partitions (R8).
    pub fn has_shared(&self) -> bool {
        let active = self.info.iter().zip(&self.rules.rules);
        active.into_iter().any(|(info, rule)| info.shared && rule.mode != Mode::Off)
    }

    /// Whether windows of a rule that are over are judged: neither of one that is off nor of one whose
    /// past is still gathered.
    pub(crate) fn judges(&self, rule: usize) -> bool {
        !self.info[rule].gathers() && self.rules.rules[rule].mode != Mode::Off
    }

    /// True when a state made under `other` can go on under this plan: rules, keys and windows are
    /// the same, whatever has become of bounds, actions, texts and lists (R18).
    pub fn counts_as(&self, other: &Plan) -> bool {
        let same = |(a, b): (&RuleInfo, &RuleInfo)| a.counts_as(b);
        let off = |plan: &Plan| -> Vec<bool> {
            plan.rules.rules.iter().map(|rule| rule.mode == Mode::Off).collect()
        };
        self.settings == other.settings
            && self.rules.timezone_name == other.rules.timezone_name
            && self.spaces == other.spaces
            && self.new_fields == other.new_fields
            && self.info.len() == other.info.len()
            && self.info.iter().zip(&other.info).all(same)
            && off(self) == off(other)
    }

    /// True when counters of the rule of this name could go on under `other`.
    pub(crate) fn counts_as_in(&self, other: &Plan, rule: &str) -> bool {
        let of = |plan: &Plan| -> Option<usize> {
            plan.rules.rules.iter().position(|known| known.name == rule)
        };
        let zone = self.rules.timezone_name == other.rules.timezone_name;
        let (Some(own), Some(other_at)) = (of(self), of(other)) else { return false };
        zone && self.info[own].counts_like(&other.info[other_at])
    }

    /// The same rules and settings with other lists.
    #[must_use]
    pub fn with_lists(&self, lists: Lists) -> Plan {
        Plan { lists, ..self.clone() }
    }

    pub(crate) fn rule(&self, at: usize) -> &Rule {
        &self.rules.rules[at]
    }

    /// The rule that partial aggregates name so, most likely that at `guess`.
    pub(crate) fn named(&self, fingerprint: u64, guess: usize) -> Option<usize> {
        if self.info.get(guess).is_some_and(|info| info.fingerprint == fingerprint) {
            return Some(guess);
        }
        let at = self.by_fingerprint.partition_point(|(known, _)| *known < fingerprint);
        self.by_fingerprint.get(at).filter(|(known, _)| *known == fingerprint).map(|(_, at)| *at)
    }

    /// The key form that a rule counts by, noted where it is new.
    fn space_of(&mut self, rule: &Rule) -> usize {
        if let Some(space) = self.spaces.iter().position(|spec| *spec == rule.per) {
            return space;
        }
        self.spaces.push(rule.per.clone());
        self.columns.push(Vec::new());
        self.key_forms.push(KeyForm::of(&rule.per));
        self.composes |= KeyForm::of(&rule.per) == KeyForm::Composite;
        self.spaces.len() - 1
    }

    fn add(&mut self, at: usize, rule: &Rule) {
        let space = self.space_of(rule);
        let column = self.columns[space].len();
        self.columns[space].push(Column::of(form(rule)));
        let close_after_ms = match &rule.check {
            Check::ZScore(zscore) => zscore.close_after_ms,
            _ => None,
        };
        let shared = !rule.per.has_user();
        let window = View::of(&rule.check).window;
        let step_ms = match window {
            Window::Duration(window_ms) => step_ms(shared, window_ms),
            Window::Calendar(_) => 1,
        };
        let calm = Calm::of(&rule.check);
        let base = fingerprint(rule, &self.rules.lists);
        self.info.push(RuleInfo {
            space,
            column,
            shared,
            window,
            pace: Pace::of(form(rule), window),
            closing: Closing::of(rule),
            step_ms,
            calm,
            quiet: Short::of(&rule.check, form(rule), calm, has_flow(rule)),
            has_flow: has_flow(rule),
            resolves: resolves(View::of(&rule.check).levels, rule.mode),
            fingerprint: base,
            base,
            birth: EVER,
            stage: Stage::Acts,
            // R11: no event counts that is later than the allowed lateness, so no window waits longer.
            close_after_ms: close_after_ms
                .unwrap_or(i64::MAX)
                .min(self.settings.allowed_lateness_ms),
            form: form(rule),
            looks: match (form(rule), self.key_forms[space]) {
                (Form::Match, _) => Looks::Nothing,
                (_, KeyForm::User) => Looks::Cell,
                (_, KeyForm::Device | KeyForm::Ip) => Looks::Outgoing,
                _ => Looks::Nothing,
            },
        });
        if rule.mode == Mode::Off {
            return;
        }
        let inputs = inputs(&rule.check);
        if self.key_forms[space] == KeyForm::User {
            self.user_space = Some(space);
        }
        for kind in Kind::ALL {
            let reverses = inputs
                .iter()
                .any(|input| input.on.contains(kind) && !input.on.contains(Kind::Reverse));
            if reverses && kind != Kind::Reverse {
                self.by_reversed[kind as usize].push(at);
            }
        }
        if form(rule) == Form::RollingBelow {
            self.silence.push(at);
        }
        match &rule.check {
            Check::Match { filter, .. } => self.note_new(filter),
            _ => inputs.iter().for_each(|input| self.note_new(&input.filter)),
        }
    }

    fn note_new(&mut self, filter: &Filter) {
        for condition in &filter.all {
            match condition {
                Condition::New { field, within_ms } => {
                    match self.new_fields.iter_mut().find(|(known, _)| known == field) {
                        Some((_, within)) => *within = (*within).max(*within_ms),
                        None => self.new_fields.push((field.clone(), *within_ms)),
                    }
                }
                Condition::Any(filters) => filters.iter().for_each(|filter| self.note_new(filter)),
                Condition::Not(filter) => self.note_new(filter),
                Condition::Field { .. } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
