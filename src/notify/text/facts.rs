//! What templates can say: a notice as plain values, texts of others tamed, instants local.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::{Map, Value};

use super::daily::{self, Account};
use super::markup::tame;
use super::words::{self, Words};
use crate::config::percent;
use crate::engine::Decision;
use crate::notify::notice::Notice;
use crate::notify::receivers::Language;
use crate::rule::Severity;

/// The variables of a template. `docs/notices.md` names them.
#[derive(Debug, Serialize)]
pub(super) struct Facts {
    language: Language,
    receiver: String,
    /// `info`, `warning` or `critical`; the gravest of the decisions.
    severity: Severity,
    severity_word: &'static str,
    colour: &'static str,
    /// Empty in a digest of several rules.
    rule: String,
    rule_text: String,
    several: bool,
    /// Decisions in all, listed or not.
    count: usize,
    /// All but the first.
    more: usize,
    more_text: String,
    /// Those that `rows` does not list.
    rest: usize,
    rest_text: String,
    /// None where a notice has nothing but remarks.
    first: Option<Row>,
    rows: Vec<Row>,
    /// What there is to say beside the decisions.
    remarks: Vec<String>,
    /// The account of a day, of a notice of that alone.
    daily: Option<Account>,
    /// Where links begin.
    base_url: Option<String>,
    /// Where every decision of the notice is listed.
    list_url: Option<String>,
    /// Takes an acknowledgement, where there is such a link.
    ack_url: Option<String>,
    /// How much a short message shall leave out: 0 nothing … 3 all that can be missed.
    brief: u8,
    t: Map<String, Value>,
}

/// One decision.
#[derive(Debug, Clone, Serialize)]
struct Row {
    id: String,
    rule: String,
    level: u32,
    severity: Severity,
    severity_word: &'static str,
    mode: String,
    summary: String,
    description: Option<String>,
    key: Map<String, Value>,
    /// Of the rule, such as its owner.
    labels: BTreeMap<String, String>,
    who: String,
    /// Value against bound, or what else the rule says.
    headline: String,
    measure: Option<String>,
    value: Option<String>,
    bound: Option<String>,
    /// By how much the value exceeds the bound: `+2.4 %`.
    over: Option<String>,
    baseline: Option<String>,
    forecast_at: Option<String>,
    window: Option<String>,
    /// Of calendar windows: when counting begins anew.
    reset_at: Option<String>,
    reset_short: Option<String>,
    done: Vec<String>,
    done_label: String,
    done_text: String,
    at: String,
    time: String,
    actor: Option<String>,
    reason: Option<String>,
    why_url: Option<String>,
}

impl Facts {
    /// Of a notice; at most `rows_max` of its decisions are listed, and the others counted.
    pub(super) fn of(
        notice: &Notice,
        words: &Words,
        base_url: Option<&str>,
        rows_max: usize,
        brief: u8,
    ) -> Facts {
        let t = words::table(words.language);
        let listed = notice.decisions.iter().take(rows_max);
        let rows: Vec<Row> = listed.map(|decision| row(decision, words, &t, base_url)).collect();
        let severity = notice.decisions.iter().map(|decision| decision.severity).max();
        let severity = severity.unwrap_or(Severity::Info);
        let several = notice.rule.is_empty();
        let rule_text = match (several, words.language) {
            (false, _) => tame(&notice.rule),
            (true, Language::En) => "several rules".to_owned(),
            (true, Language::Zh) => "多条规则".to_owned(),
        };
        let count = notice.decisions.len() + notice.rest;
        let (more, rest) = (count.saturating_sub(1), count - rows.len());
        Facts {
            language: words.language,
            receiver: notice.receiver.clone(),
            severity,
            severity_word: words.severity(severity),
            colour: colour(severity),
            rule: tame(&notice.rule),
            rule_text,
            several,
            count,
            more,
            more_text: words.more(more),
            rest,
            rest_text: words.more(rest),
            first: rows.first().cloned(),
            rows,
            remarks: notice.remarks.iter().map(|remark| tame(remark)).collect(),
            daily: match notice.decisions.as_slice() {
                [one] => one.daily.as_deref().map(|report| Account::of(report, words)),
                _ => None,
            },
            base_url: base_url.map(str::to_owned),
            list_url: notice.links.listing(),
            ack_url: notice.links.acknowledge(),
            brief,
            t,
        }
    }
}

/// White text on each has a contrast above 4.5.
pub(super) fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "#b3261e",
        Severity::Warning => "#8a5a00",
        Severity::Info => "#1a5fb4",
    }
}

fn row(decision: &Decision, words: &Words, t: &Map<String, Value>, base_url: Option<&str>) -> Row {
    let window = decision.window.as_ref();
    let zone = words.zone_of(window.map(|window| window.label.as_str()));
    let told = window.map(|window| words.window(&tame(&window.label)));
    let resets = window.filter(|_| told.as_ref().is_some_and(|(_, calendar)| *calendar));
    let word = |name: &str| t.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let actions = decision.actions.iter().map(|line| words.action(&tame(line), &zone));
    let done: Vec<String> = actions.collect();
    let done_label = if decision.mode == "shadow" { "would_have" } else { "done" };
    let comma = if words.language == Language::Zh { "，" } else { ", " };
    Row {
        id: tame(&decision.id),
        rule: tame(&decision.rule),
        level: decision.level,
        severity: decision.severity,
        severity_word: words.severity(decision.severity),
        mode: tame(&decision.mode),
        summary: tame(&decision.summary),
        description: decision.description.as_deref().map(tame),
        key: decision.key.clone(),
        labels: decision.labels.clone(),
        who: tame(&words.who(&decision.key)),
        headline: headline(decision, words, &zone),
        measure: decision.measure.as_deref().map(|measure| tame(&words.measure(measure))),
        value: decision.value.as_ref().map(words::number),
        bound: decision.bound.as_ref().map(words::number),
        over: over(decision),
        baseline: baseline(decision, words.language),
        forecast_at: decision.forecast.map(|at| words::short(at.0, &zone, true)),
        window: told.map(|(text, _)| text),
        reset_at: resets.map(|window| words::short(window.end.0, &zone, true)),
        reset_short: resets.map(|window| words::shortest(window.end.0, &zone)),
        done_text: if done.is_empty() { word("nothing_done") } else { done.join(comma) },
        done,
        done_label: word(done_label),
        at: words::instant(decision.ts, &zone),
        time: words::time(decision.ts, &zone),
        actor: decision.actor.as_deref().map(tame),
        reason: decision.reason.as_deref().map(tame),
        why_url: why_url(decision, base_url),
    }
}

/// `sum(points) 5,120 > 5,000` and the like; a rule without a measure says so, and what has no
/// rule of the user's own is told by its summary.
fn headline(decision: &Decision, words: &Words, zone: &TimeZone) -> String {
    if decision.key.contains_key("instance") {
        // About an instance, which stands before it.
        let said = decision.summary.split_once(": ").map(|(_, said)| said);
        return tame(said.unwrap_or(&decision.summary));
    }
    if let Some(report) = &decision.daily {
        return daily::headline(report, words.language);
    }
    let (Some(measure), Some(value)) = (&decision.measure, &decision.value) else {
        if decision.rule.starts_with("tidegate.") {
            return tame(&decision.summary);
        }
        return match words.language {
            Language::En => "matches the rule".to_owned(),
            Language::Zh => "命中规则".to_owned(),
        };
    };
    let measure = tame(&words.measure(measure));
    let told = words::number(value);
    let Some(bound) = &decision.bound else { return format!("{measure} {told}") };
    let limit = words::number(bound);
    if let Some(at) = decision.forecast {
        let at = words::short(at.0, zone, false);
        return match words.language {
            Language::En => format!("{measure} {told} reaches {limit} at {at}"),
            Language::Zh => format!("{measure} {told}，预计 {at} 达到 {limit}"),
        };
    }
    let (tested, told) = match (decision.zscore, words.language) {
        (Some(z), Language::En) => (z, format!("{told}, z-score {z:.2}")),
        (Some(z), Language::Zh) => (z, format!("{told}，z 分数 {z:.2}")),
        (None, _) => (value.as_f64().unwrap_or_default(), told),
    };
    let side = if tested < bound.as_f64().unwrap_or_default() { '<' } else { '>' };
    format!("{measure} {told} {side} {limit}")
}

fn over(decision: &Decision) -> Option<String> {
    let value = decision.value.as_ref()?.as_f64()?;
    let bound = decision.bound.as_ref()?.as_f64()?;
    let exceeds = decision.zscore.is_none() && bound > 0.0 && value > bound;
    exceeds.then(|| format!("+{:.1} %", (value / bound - 1.0) * 100.0))
}

fn baseline(decision: &Decision, language: Language) -> Option<String> {
    let (mean, sd) = (decision.mean?, decision.sd?);
    let (mean, sd) = (words::number(&mean.into()), words::number(&sd.into()));
    Some(match language {
        Language::En => format!("mean {mean}, sd {sd}"),
        Language::Zh => format!("均值 {mean}，标准差 {sd}"),
    })
}

/// Names the event and not the user: a link is read by whoever the mail is forwarded to.
fn why_url(decision: &Decision, base_url: Option<&str>) -> Option<String> {
    let event = &decision.trigger.as_ref()?.id;
    let base = base_url?.trim_end_matches('/');
    Some(format!("{base}/api/v1/why?rule={}&event={}", percent(&decision.rule), percent(event)))
}
