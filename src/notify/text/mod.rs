//! The words of a notice: a mail's subject, text and HTML, a short message, a chat's message.
//!
//! Writes what it is given: masking has happened before. All words come from templates, which
//! may be replaced ([`crate::notify::NotifySettings::templates`]).

mod daily;
mod facts;
mod markup;
mod segments;
mod templates;
mod words;

use jiff::tz::TimeZone;
use minijinja::Value;
use minijinja::value::Serde;
use serde::Serialize;

pub(in crate::notify) use self::markup::Dialect;
pub use self::segments::{Encoding, Segments, segments};

use self::facts::Facts;
use self::templates::Templates;
use self::words::Words;
use super::notice::Notice;
use super::receivers::{Language, ReceiverSettings, Via};
use super::settings::NotifySettings;
use crate::engine::{DAILY, DailyReport, Decision};

/// A short message is sent in one part if it can be said in one; three are still read.
const PARTS_MAX: usize = 3;
/// How much the briefest short message leaves out.
const BRIEFEST: u8 = 3;

/// A mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Message {
    /// One line.
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// A message to a chat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(in crate::notify) struct Chat {
    /// One line of plain text.
    pub(in crate::notify) title: String,
    /// In the chat's own markup.
    pub(in crate::notify) text: String,
}

/// Templates that cannot be used, or a notice that cannot be put in words: where, and why.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TextError(String);

/// The texts of one receiver. Its templates are read once.
#[derive(Debug)]
pub struct Texts {
    templates: Templates,
    words: Words,
    base_url: Option<String>,
}

impl Texts {
    /// Reads the templates and tries each with notices of all kinds.
    ///
    /// # Errors
    /// All faults of templates at once, each with file, line and a hint.
    pub fn new(settings: &NotifySettings, receiver: &ReceiverSettings) -> Result<Texts, TextError> {
        let folders: Vec<_> = [&receiver.templates, &settings.templates]
            .into_iter()
            .filter_map(|folder| folder.as_deref())
            .collect();
        let dialect = match receiver.via() {
            Some(Via::Slack(_)) => Dialect::Slack,
            Some(Via::Feishu(_)) => Dialect::Feishu,
            _ => Dialect::Markdown,
        };
        let language = receiver.language.unwrap_or(settings.language);
        let zone = match &settings.timezone {
            Some(name) => TimeZone::get(name)
                .map_err(|_| TextError(format!("timezone: `{name}` is not an IANA zone")))?,
            None => TimeZone::UTC,
        };
        let texts = Texts {
            templates: Templates::read(&folders, language, dialect)?,
            words: Words { language, zone },
            base_url: settings.url.clone(),
        };
        texts.tried()?;
        Ok(texts)
    }

    /// Renders every template with every kind of notice: a variable that is not there is found
    /// now, and not at the first alert of its kind.
    fn tried(&self) -> Result<(), TextError> {
        let mut faults: Vec<String> = Vec::new();
        for notice in super::sample::of_all_kinds() {
            for (name, _) in templates::BUILT_IN {
                if let Err(TextError(fault)) = self.write(name, &notice, usize::MAX, 0)
                    && !faults.contains(&fault)
                {
                    faults.push(fault);
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(TextError(faults.join("\n"))) }
    }

    /// The built-in templates: name and text.
    pub fn built_in() -> impl Iterator<Item = (&'static str, &'static str)> {
        templates::BUILT_IN.into_iter()
    }

    /// The account of a day as text, by the built-in template.
    ///
    /// # Errors
    /// None that a test would not find.
    pub fn daily(report: &DailyReport, language: Language) -> Result<String, TextError> {
        let settings = NotifySettings { language, ..NotifySettings::default() };
        let texts = Texts::new(&settings, &ReceiverSettings::default())?;
        let decision = Decision {
            daily: Some(Box::new(report.clone())),
            ..Decision::about(DAILY, DAILY, "", report.end)
        };
        Ok(texts.mail(&super::sample::notice("", vec![decision]))?.text)
    }

    pub fn mail(&self, notice: &Notice) -> Result<Message, TextError> {
        let write = |name| self.write(name, notice, usize::MAX, 0);
        let (as_text, as_html) = match notice.decisions.as_slice() {
            [one] if one.daily.is_some() => ("daily.txt", "daily.html"),
            _ => ("mail.txt", "mail.html"),
        };
        let mut text = write(as_text)?.trim().to_owned();
        text.push('\n');
        Ok(Message { subject: markup::tame(&write("subject.txt")?), text, html: write(as_html)? })
    }

    /// One line of as few parts as it can be said in, at most three. What is longer is cut, and
    /// the number of missing characters stands behind it.
    pub fn sms(&self, notice: &Notice) -> Result<String, TextError> {
        let mut briefest = String::new();
        let mut forms = Vec::new();
        for brief in 0..=BRIEFEST {
            briefest = markup::tame(&self.write("sms.txt", notice, 1, brief)?);
            forms.push((segments(&briefest).parts, briefest.clone()));
        }
        let fitting = (1..=PARTS_MAX).find_map(|most| {
            let form = forms.iter().find(|(parts, _)| *parts <= most);
            form.map(|(_, text)| text.clone())
        });
        Ok(fitting.unwrap_or_else(|| segments::cut(&briefest, PARTS_MAX)))
    }

    /// A message that `fits`: of as many decisions as there is room for, the others counted. A
    /// single one that is too long is cut, with the number of missing characters behind it.
    pub(in crate::notify) fn chat(
        &self,
        notice: &Notice,
        fits: impl Fn(&Chat) -> bool,
    ) -> Result<Chat, TextError> {
        let title = markup::tame(&self.write("subject.txt", notice, usize::MAX, 0)?);
        let of = |rows: usize| -> Result<Chat, TextError> {
            let text = self.write("chat.md", notice, rows, 0)?.trim().to_owned();
            Ok(Chat { title: title.clone(), text })
        };
        let whole = of(usize::MAX)?;
        if fits(&whole) {
            return Ok(whole);
        }
        // Fewer decisions are a shorter text.
        let (mut best, mut too_many) = (None, notice.decisions.len());
        let mut fewest = 1;
        while fewest < too_many {
            let rows = fewest.midpoint(too_many);
            let chat = of(rows)?;
            if fits(&chat) {
                best = Some(chat);
                fewest = rows + 1;
            } else {
                too_many = rows;
            }
        }
        match best {
            Some(chat) => Ok(chat),
            None => Ok(shortened(of(1)?, fits)),
        }
    }

    /// Renders a template of the settings. How its values are escaped follows from the ending of
    /// its `name`: `.url`, `.json`, `.txt`.
    pub(in crate::notify) fn render(
        &self,
        (name, source): (&str, &str),
        notice: &Notice,
        more: &[(&str, &str)],
    ) -> Result<String, TextError> {
        let facts = Value::from(Serde(self.facts(notice, usize::MAX, 0)));
        let more = Value::from_pairs(more.iter().copied());
        let all = minijinja::value::merge_maps([more, facts]);
        let rendered = self.templates.environment.render_named_str(name, source, all);
        rendered.map_err(|error| self.templates.placed(&error, source))
    }

    /// Says what is wrong with an expression, as far as that can be known without an answer.
    pub(in crate::notify) fn compiles(&self, expression: &str) -> Result<(), TextError> {
        let compiled = self.templates.environment.compile_expression(expression);
        compiled.map(drop).map_err(|error| self.templates.placed(&error, expression))
    }

    /// Whether an answer fulfils the expression, of `status` and `json`.
    pub(in crate::notify) fn holds(
        &self,
        expression: &str,
        answer: &serde_json::Value,
    ) -> Result<bool, TextError> {
        let environment = &self.templates.environment;
        let placed = |error: &minijinja::Error| self.templates.placed(error, expression);
        let compiled = environment.compile_expression(expression).map_err(|e| placed(&e))?;
        let value = compiled.eval(Value::from(Serde(answer))).map_err(|e| placed(&e))?;
        Ok(value.is_true())
    }

    fn facts(&self, notice: &Notice, rows_max: usize, brief: u8) -> Facts {
        Facts::of(notice, &self.words, self.base_url.as_deref(), rows_max, brief)
    }

    fn write(
        &self,
        name: &str,
        notice: &Notice,
        rows_max: usize,
        brief: u8,
    ) -> Result<String, TextError> {
        let facts = Value::from(Serde(self.facts(notice, rows_max, brief)));
        let template = self.templates.environment.get_template(name);
        let rendered = template.and_then(|template| template.render(facts));
        rendered.map_err(|error| self.templates.placed(&error, ""))
    }
}

/// Text for DingTalk and WeCom without any of their marks.
pub(in crate::notify) fn escaped(text: &str) -> String {
    Dialect::Markdown.escape(text)
}

/// The longest beginning of the text that fits, with the number of missing characters.
fn shortened(whole: Chat, fits: impl Fn(&Chat) -> bool) -> Chat {
    let Chat { title, text } = whole;
    let count = text.chars().count();
    let of = |kept: usize| {
        let head: String = text.chars().take(kept).collect();
        Chat { title: title.clone(), text: format!("{}… (+{})", head.trim_end(), count - kept) }
    };
    let (mut kept, mut too_many) = (0, count);
    while too_many - kept > 1 {
        let middle = kept.midpoint(too_many);
        if fits(&of(middle)) { kept = middle } else { too_many = middle }
    }
    of(kept)
}

#[cfg(test)]
mod tests;
