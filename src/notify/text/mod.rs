//! The words of a notice: subject, plain text and HTML of a mail, and a short message.
//!
//! Writes what it is given: masking has happened before.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use minijinja::{Environment, context};
use serde::Serialize;
use serde_json::Value;

use crate::engine::{Decision, WindowSpan};
use crate::event::EventTime;

use super::route::Notice;

/// Two parts of a joined SMS: longer ones cost more and are read less.
const SHORT_MAX_CHARS: usize = 300;

const SUBJECT: &str = "[{{ severity }}] {{ rule }}: {{ first.who }}\
    {% if more %} and {{ more }} more{% endif %}";

const SHORT: &str = "[{{ severity }}] {{ rule }}: {{ first.who }}\
    {% if first.against %} {{ first.against }}{% endif %}\
    {% if first.window_end %}, until {{ first.window_end }}{% endif %}\
    {% if first.actions %}; {{ first.actions | join(', ') }}{% endif %}\
    {% if more %}; and {{ more }} more{% endif %}";

const PLAIN: &str = "\
{% for row in rows %}{{ row.summary }}
  who:    {{ row.who }}
  rule:   {{ row.rule }} ({{ row.severity }}){% if row.description %}: {{ row.description }}{% endif %}
{% if row.against %}  value:  {{ row.against }}
{% endif %}{% if row.window %}  window: {{ row.window }}, ends {{ row.window_end }}
{% endif %}  done:   {{ row.actions | join(', ') or 'nothing but this notice' }}
  at:     {{ row.at }}, decision {{ row.id }}

{% endfor %}{% if rest %}and {{ rest }} more, all in the decisions topic
{% endif %}";

const HTML: &str = "\
<!doctype html><html><body><table cellpadding=\"6\" border=\"1\" style=\"border-collapse:collapse\">
<tr><th>who</th><th>rule</th><th>value</th><th>window</th><th>done</th><th>at</th></tr>
{% for row in rows %}<tr><td>{{ row.who }}</td><td title=\"{{ row.description or '' }}\">\
{{ row.rule }} ({{ row.severity }})</td><td>{{ row.against or '' }}</td>\
<td>{% if row.window %}{{ row.window }}, ends {{ row.window_end }}{% endif %}</td>\
<td>{{ row.actions | join(', ') or 'notice only' }}</td><td>{{ row.at }}</td></tr>
{% endfor %}</table>{% if rest %}<p>and {{ rest }} more, all in the decisions topic</p>{% endif %}
</body></html>";

/// A notice in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    pub subject: String,
    pub text: String,
    pub html: String,
    /// For SMS: one line, at most 300 characters.
    pub short: String,
}

/// A notice that cannot be put in words.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the text of a notice: {0}")]
pub struct TextError(#[from] minijinja::Error);

/// The templates, read once.
#[derive(Debug)]
pub struct Texts {
    environment: Environment<'static>,
}

impl Texts {
    pub fn new() -> Result<Texts, TextError> {
        let mut environment = Environment::new();
        environment.add_template("subject.txt", SUBJECT)?;
        environment.add_template("short.txt", SHORT)?;
        environment.add_template("plain.txt", PLAIN)?;
        // The ending turns HTML escaping on.
        environment.add_template("page.html", HTML)?;
        Ok(Texts { environment })
    }

    pub fn write(&self, notice: &Notice) -> Result<Message, TextError> {
        let rows: Vec<minijinja::Value> = notice.decisions.iter().map(row).collect();
        let gravest = notice.decisions.iter().map(|decision| decision.severity).max();
        let severity = gravest.map(word).unwrap_or_default();
        let rule = if notice.rule.is_empty() { "several rules" } else { &notice.rule };
        let more = rows.len().saturating_sub(1) + notice.rest;
        let first = rows.first().cloned();
        let facts = context! { severity, rule, more, rest => notice.rest, first, rows };
        let write = |name: &str| self.environment.get_template(name)?.render(facts.clone());
        Ok(Message {
            subject: one_line(&write("subject.txt")?),
            text: write("plain.txt")?,
            html: write("page.html")?,
            short: one_line(&write("short.txt")?).chars().take(SHORT_MAX_CHARS).collect(),
        })
    }
}

fn row(decision: &Decision) -> minijinja::Value {
    let zone = zone(decision.window.as_ref());
    let measure = decision.measure.as_deref().unwrap_or("value");
    let against = match (&decision.value, &decision.bound) {
        (Some(value), Some(bound)) => Some(format!("{measure} {value} against {bound}")),
        (Some(value), None) => Some(format!("{measure} {value}")),
        (None, _) => None,
    };
    context! {
        id => decision.id.as_str(),
        rule => decision.rule.as_str(),
        severity => word(decision.severity),
        summary => decision.summary.as_str(),
        description => decision.description.as_deref(),
        who => who(decision),
        against,
        window => decision.window.as_ref().map(|window| window.label.as_str()),
        window_end => decision.window.as_ref().map(|window| instant(window.end, &zone)),
        actions => decision.actions.clone(),
        at => instant(decision.ts, &zone),
    }
}

fn who(decision: &Decision) -> String {
    if decision.key.contains_key("global") {
        return "everyone".to_owned();
    }
    let parts: Vec<String> = decision
        .key
        .iter()
        .map(|(field, value)| match value {
            Value::String(text) => format!("{field} {text}"),
            other => format!("{field} {other}"),
        })
        .collect();
    parts.join(", ")
}

fn word(severity: crate::rule::Severity) -> String {
    format!("{severity:?}").to_lowercase()
}

/// The zone a calendar window's label ends with; UTC for the others.
fn zone(window: Option<&WindowSpan>) -> TimeZone {
    window
        .and_then(|window| window.label.rsplit_once(' '))
        .and_then(|(_, name)| TimeZone::get(name).ok())
        .unwrap_or(TimeZone::UTC)
}

fn instant(at: EventTime, zone: &TimeZone) -> String {
    Timestamp::from_millisecond(at.0).map_or_else(
        |_| at.0.to_string(),
        |at| at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string(),
    )
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
