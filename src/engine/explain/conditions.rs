//! What a rule's conditions make of an event, one by one, in words.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::engine::act::number_json;
use crate::engine::calendar::{duration_label, instant_label};
use crate::engine::edits::Edit;
use crate::engine::explain::Question;
use crate::engine::filter::{FilterCtx, Listed, Why, field_json, passes, read};
use crate::engine::seen::user_of;
use crate::engine::shown::Member;
use crate::engine::space::{Key, field_of, hash_of};
use crate::engine::{Plan, State};
use crate::event::{AttrValue, Event, EventTime, Kind};
use crate::rule::{Check, Condition, Field, Filter, Kinds, Rule, Test, Value};

/// One condition, and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConditionAnswer {
    /// `source is signin or share`, `points > 1000`, `any of`, `not` …
    pub condition: String,
    /// The value it looked at; absent where the event has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Json>,
    /// `None` where what was asked does not say.
    pub holds: Option<bool>,
    /// Of a condition on a list: the entry that decides, with who made it and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryAnswer>,
    /// Conditions within `any of`, `not`, and the sides of a ratio.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<ConditionAnswer>,
}

/// What is said of a value in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EntryAnswer {
    /// `file`, or `added` or `removed` at run time.
    pub from: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// It no longer matches from this instant on; absent = never ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<EventTime>,
}

impl EntryAnswer {
    fn of(why: Why<'_>) -> EntryAnswer {
        match why {
            Why::File(entry) => {
                let (author, reason) = entry.by.as_deref().cloned().unwrap_or_default();
                let from = "file".to_owned();
                EntryAnswer { from, author, reason, until: entry.expires }
            }
            Why::Edit(edited) => {
                let (from, until) = match edited.edit {
                    Edit::Added(until) => ("added", until),
                    Edit::Removed => ("removed", None),
                };
                let by = edited.by.as_deref();
                EntryAnswer {
                    from: from.to_owned(),
                    author: by.map(|by| by.actor.clone()),
                    reason: by.map(|by| by.reason.clone()),
                    until,
                }
            }
        }
    }

    /// `in its file, by ann: ticket 42, until …`.
    pub fn words(&self) -> String {
        let mut words = match self.from.as_str() {
            "file" => "in its file".to_owned(),
            from => format!("{from} at run time"),
        };
        if let Some(author) = &self.author {
            words = format!("{words}, by {author}");
        }
        if let Some(reason) = &self.reason {
            words = format!("{words}: {reason}");
        }
        match self.until {
            Some(until) => format!("{words}, until {}", instant_label(until.0)),
            None => words,
        }
    }
}

/// Judges conditions by an event, or by what a question names of one.
pub(super) struct Judge<'a, 'e> {
    state: &'a State,
    plan: &'a Plan,
    event: Cow<'a, Event<'e>>,
    /// An event stands behind the question; else only the fields it names are known.
    is_event: bool,
    question: &'a Question,
}

impl<'a, 'e> Judge<'a, 'e> {
    pub(super) fn new(
        state: &'a State,
        plan: &'a Plan,
        question: &'a Question,
        event: Option<&'a Event<'e>>,
    ) -> Judge<'a, 'e> {
        let is_event = event.is_some();
        let event = event.map_or_else(|| Cow::Owned(imagined(question)), Cow::Borrowed);
        Judge { state, plan, event, is_event, question }
    }

    pub(super) fn is_event(&self) -> bool {
        self.is_event
    }

    /// Event time of the event asked about.
    pub(super) fn ts(&self) -> Option<i64> {
        self.is_event.then_some(self.event.ts.0)
    }

    fn knows(&self, field: &Field) -> bool {
        self.is_event || self.question.fields.contains_key(&field.to_string())
    }

    fn kinds(&self, on: Kinds) -> Option<ConditionAnswer> {
        if on == Kinds::ALL {
            return None;
        }
        let names = Kind::ALL.iter().filter(|kind| on.contains(**kind)).map(|kind| kind.as_str());
        Some(ConditionAnswer {
            condition: format!("kind is {}", names.collect::<Vec<_>>().join(" or ")),
            value: self.is_event.then(|| self.event.kind.as_str().into()),
            holds: self.is_event.then(|| on.contains(self.event.kind)),
            entry: None,
            within: Vec::new(),
        })
    }

    fn all(&self, filter: &Filter) -> Vec<ConditionAnswer> {
        filter.all.iter().map(|condition| self.one(condition)).collect()
    }

    fn one(&self, condition: &Condition) -> ConditionAnswer {
        match condition {
            Condition::Field { field, test } => self.field(field, test),
            Condition::Any(filters) => {
                let mut within: Vec<ConditionAnswer> =
                    filters.iter().map(|filter| conjunction(self.all(filter))).collect();
                let holds = disjunction(&within);
                if let [only] = within.as_mut_slice() {
                    return std::mem::replace(only, conjunction(Vec::new()));
                }
                ConditionAnswer { within, ..plain("any of", holds) }
            }
            Condition::Not(filter) => {
                let inner = conjunction(self.all(filter));
                let holds = inner.holds.map(|holds| !holds);
                let within = vec![inner];
                ConditionAnswer { within, ..plain("not", holds) }
            }
            Condition::New { field, within_ms } => {
                let mut text = String::new();
                let value = field_of(field, &self.event, &mut text).map(Json::from);
                ConditionAnswer {
                    condition: format!("{} is new within {}", field, duration_label(*within_ms)),
                    value,
                    holds: self.is_new(field, *within_ms),
                    entry: None,
                    within: Vec::new(),
                }
            }
        }
    }

    /// R5, for an event that the state has not seen yet.
    fn is_new(&self, field: &Field, within_ms: i64) -> Option<bool> {
        if !self.is_event {
            return None;
        }
        let at = self.plan.new_fields.iter().position(|(known, _)| known == field)?;
        let mut text = String::new();
        let Some(value) = field_of(field, &self.event, &mut text) else { return Some(false) };
        let (user, ts) = (&self.event.user, self.event.ts.0);
        let watermark = self.state.watermark.map_or(ts, |watermark| watermark.max(ts));
        let since = ts.saturating_sub(within_ms).max(self.plan.shown_since(at, watermark));
        let key = &mut Key::new(user);
        let member = &mut Member { key, hash: user_of(user), guess: None };
        Some(self.state.keyed.cells.shows_new(self.plan, at, member, hash_of(value), since))
    }

    fn field(&self, field: &Field, test: &Test) -> ConditionAnswer {
        let new = |_: &Field, _: i64| false;
        let names = &self.plan.rules.lists;
        let listed = Listed { files: &self.plan.lists, names, edits: &self.state.edits };
        // A list entry expires by event time: without an event by the watermark.
        let now = self.state.watermark.filter(|_| !self.is_event).unwrap_or(self.event.ts.0);
        let ctx = FilterCtx {
            calendar: &self.plan.calendar,
            listed,
            new: &new,
            kind: self.event.kind,
            ts: EventTime(now),
        };
        let knows = self.knows(field);
        let seen = read(field, &self.event, &ctx);
        let entry = match (test, &seen) {
            (Test::In(list) | Test::NotIn(list), Some(seen)) if knows => {
                ctx.listed.why(*list, seen, ctx.ts).map(EntryAnswer::of)
            }
            _ => None,
        };
        ConditionAnswer {
            entry,
            condition: format!("{field} {}", self.words(test)),
            value: seen.as_ref().filter(|_| knows).map(field_json),
            holds: knows.then(|| passes(test, seen, &ctx)),
            within: Vec::new(),
        }
    }

    fn words(&self, test: &Test) -> String {
        let list = |at: usize| {
            let list = self.plan.rules.lists.get(at);
            list.map_or_else(|| "?".to_owned(), |list| list.name.clone())
        };
        match test {
            Test::AnyOf(values) => {
                let values: Vec<String> = values.iter().map(text).collect();
                format!("is {}", values.join(" or "))
            }
            Test::Ne(value) => format!("is not {}", text(value)),
            Test::Gt(bound) => format!("> {}", number_json(*bound)),
            Test::Gte(bound) => format!(">= {}", number_json(*bound)),
            Test::Lt(bound) => format!("< {}", number_json(*bound)),
            Test::Lte(bound) => format!("<= {}", number_json(*bound)),
            Test::In(at) => format!("is in list {}", list(*at)),
            Test::NotIn(at) => format!("is not in list {}", list(*at)),
            Test::Prefix(prefix) => format!("begins with {prefix}"),
            Test::Cidr(blocks) => {
                let blocks: Vec<String> = blocks
                    .iter()
                    .map(|block| format!("{}/{}", block.network, block.prefix_len))
                    .collect();
                format!("lies in {}", blocks.join(" or "))
            }
            Test::Exists(true) => "is there".to_owned(),
            Test::Exists(false) => "is absent".to_owned(),
        }
    }
}

/// The conditions of a rule.
pub(super) fn of_rule(rule: &Rule, judge: &Judge<'_, '_>) -> Vec<ConditionAnswer> {
    let both = |on: Kinds, filter: &Filter| -> Vec<ConditionAnswer> {
        judge.kinds(on).into_iter().chain(judge.all(filter)).collect()
    };
    let mut all = match &rule.check {
        Check::Match { on, filter, .. } => both(*on, filter),
        Check::Threshold { input, .. } => both(input.on, &input.filter),
        Check::ZScore(zscore) => both(zscore.input.on, &zscore.input.filter),
        Check::Ratio { of, to, .. } => {
            let side = |name: &str, side: &crate::rule::Input| ConditionAnswer {
                condition: name.to_owned(),
                ..conjunction(both(side.on, &side.filter))
            };
            let sides = vec![side("counts above the line", of), side("counts below the line", to)];
            let holds = disjunction(&sides);
            vec![ConditionAnswer { within: sides, ..plain("either side", holds) }]
        }
    };
    if judge.is_event() {
        let mut text = String::new();
        let missing = rule.per.fields.iter().find(|field| {
            !crate::engine::space::write_key(
                &crate::rule::KeySpec { fields: vec![(*field).clone()] },
                &judge.event,
                &mut text,
            )
        });
        all.extend(missing.map(|field| ConditionAnswer {
            condition: format!("the event has the rule's key, {field}"),
            value: None,
            entry: None,
            holds: Some(false),
            within: Vec::new(),
        }));
    }
    all
}

/// Words that stand for others.
fn plain(condition: &str, holds: Option<bool>) -> ConditionAnswer {
    let condition = condition.to_owned();
    ConditionAnswer { condition, value: None, holds, entry: None, within: Vec::new() }
}

/// All of these together; one alone is itself.
fn conjunction(mut within: Vec<ConditionAnswer>) -> ConditionAnswer {
    let holds = all_hold(&within);
    if within.len() == 1
        && let Some(only) = within.pop()
    {
        return only;
    }
    ConditionAnswer { within, ..plain("all of", holds) }
}

/// Three-valued: one that does not hold decides, else one unknown leaves it open.
pub(super) fn all_hold(all: &[ConditionAnswer]) -> Option<bool> {
    if all.iter().any(|one| one.holds == Some(false)) {
        return Some(false);
    }
    all.iter().all(|one| one.holds == Some(true)).then_some(true)
}

fn disjunction(any: &[ConditionAnswer]) -> Option<bool> {
    if any.iter().any(|one| one.holds == Some(true)) {
        return Some(true);
    }
    any.iter().all(|one| one.holds == Some(false)).then_some(false)
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Number(number) => number_json(*number).to_string(),
        Value::Bool(value) => value.to_string(),
    }
}

/// What a question says of an event; whatever it does not name is not looked at.
fn imagined<'e>(question: &Question) -> Event<'e> {
    let named = |name: &str| question.fields.get(name).map(|value| Cow::Owned(value.clone()));
    let attrs = question.fields.iter().filter_map(|(name, value)| {
        let name = name.strip_prefix("attrs.")?;
        Some((Cow::Owned(name.to_owned()), AttrValue::Text(Cow::Owned(value.clone()))))
    });
    Event {
        id: named("id").unwrap_or_default(),
        ts: EventTime(0),
        user: named("user").unwrap_or_default(),
        kind: Kind::Issue,
        points: 0,
        source: named("source"),
        device: named("device"),
        ip: named("ip"),
        reverses: None,
        attrs: attrs.collect(),
    }
}
