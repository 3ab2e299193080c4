//! What a rule's conditions make of an event, one by one, in words.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::engine::act::number_json;
use crate::engine::calendar::duration_label;
use crate::engine::explain::Question;
use crate::engine::filter::{FilterCtx, Listed, field_json, passes, read};
use crate::engine::seen::user_of;
use crate::engine::space::field_of;
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
    /// Conditions within `any of`, `not`, and the sides of a ratio.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub within: Vec<ConditionAnswer>,
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
                ConditionAnswer { condition: "any of".to_owned(), value: None, holds, within }
            }
            Condition::Not(filter) => {
                let inner = conjunction(self.all(filter));
                let holds = inner.holds.map(|holds| !holds);
                let within = vec![inner];
                ConditionAnswer { condition: "not".to_owned(), value: None, holds, within }
            }
            Condition::New { field, within_ms } => {
                let mut text = String::new();
                let value = field_of(field, &self.event, &mut text).map(Json::from);
                ConditionAnswer {
                    condition: format!("{} is new within {}", field, duration_label(*within_ms)),
                    value,
                    holds: self.is_new(field, *within_ms),
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
        let seen = self.state.seen.get(at)?;
        Some(seen.is_new(user_of(&self.event.user), value, self.event.ts.0, within_ms))
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
        ConditionAnswer {
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
    let plain = |on: Kinds, filter: &Filter| -> Vec<ConditionAnswer> {
        judge.kinds(on).into_iter().chain(judge.all(filter)).collect()
    };
    let mut all = match &rule.check {
        Check::Match { on, filter, .. } => plain(*on, filter),
        Check::Threshold { input, .. } => plain(input.on, &input.filter),
        Check::ZScore(zscore) => plain(zscore.input.on, &zscore.input.filter),
        Check::Ratio { of, to, .. } => {
            let side = |name: &str, side: &crate::rule::Input| ConditionAnswer {
                condition: name.to_owned(),
                ..conjunction(plain(side.on, &side.filter))
            };
            let sides = vec![side("counts above the line", of), side("counts below the line", to)];
            let holds = disjunction(&sides);
            vec![ConditionAnswer {
                condition: "either side".to_owned(),
                value: None,
                holds,
                within: sides,
            }]
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
            holds: Some(false),
            within: Vec::new(),
        }));
    }
    all
}

/// All of these together; one alone is itself.
fn conjunction(mut within: Vec<ConditionAnswer>) -> ConditionAnswer {
    let holds = all_hold(&within);
    if within.len() == 1
        && let Some(only) = within.pop()
    {
        return only;
    }
    ConditionAnswer { condition: "all of".to_owned(), value: None, holds, within }
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
