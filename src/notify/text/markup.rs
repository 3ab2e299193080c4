//! Text of others made harmless for where it will stand: no dialect's marks keep their meaning.
//!
//! User ids, devices, sources, attributes and texts of rules come from outside. Each place that
//! they go to has signs of its own that would make links, mentions, fields or headers of them.

use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, State};

use crate::config::percent;

/// How a chat marks up text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::notify) enum Dialect {
    /// DingTalk and WeCom: markdown, of which neither documents an escape.
    #[default]
    Markdown,
    /// Feishu: markdown whose signs are written as entities.
    Feishu,
    /// Slack: `*bold*`, `<url|text>`.
    Slack,
}

impl Dialect {
    pub(super) fn escape(self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut before = None;
        let mut rest = text.chars().peekable();
        while let Some(sign) = rest.next() {
            // Within a word an underscore marks nothing, and ids are copied from notices.
            let within = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            let plain = sign == '_' && within(before) && within(rest.peek().copied());
            before = Some(sign);
            match self {
                _ if plain => out.push(sign),
                Dialect::Feishu => entity(sign, &mut out),
                Dialect::Slack => slack(sign, &mut out),
                Dialect::Markdown => out.push(wide(sign)),
            }
        }
        out
    }

    pub(super) fn bold(self, text: &str) -> String {
        let text = self.escape(text);
        match self {
            Dialect::Slack => format!("*{text}*"),
            Dialect::Markdown | Dialect::Feishu => format!("**{text}**"),
        }
    }

    /// `url` is ours: parts that came from outside are percent-encoded in it.
    pub(super) fn link(self, url: &str, text: &str) -> String {
        let text = self.escape(text);
        match self {
            Dialect::Slack => format!("<{url}|{text}>"),
            Dialect::Markdown | Dialect::Feishu => format!("[{text}]({url})"),
        }
    }
}

/// Where there is no escape, the sign's wide form: it is read the same and means nothing.
fn wide(sign: char) -> char {
    match sign {
        '<' => '＜',
        '>' => '＞',
        '[' => '［',
        ']' => '］',
        '*' => '＊',
        '`' => '｀',
        '~' => '～',
        '#' => '＃',
        '_' => '＿',
        '\\' => '＼',
        '|' => '｜',
        '!' => '！',
        other => other,
    }
}

/// As Feishu's documentation of its cards lists them.
fn entity(sign: char, out: &mut String) {
    match sign {
        '<' | '>' | '~' | '-' | '!' | '*' | '\\' | '[' | ']' | '(' | ')' | '#' | ':' | '+'
        | '"' | '\'' | '`' | '$' | '_' | '&' | '|' => {
            out.push_str("&#");
            out.push_str(&u32::from(sign).to_string());
            out.push(';');
        }
        other => out.push(other),
    }
}

/// Three signs have entities; of the others only the wide form is safe.
fn slack(sign: char, out: &mut String) {
    match sign {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '*' | '~' | '`' | '_' => out.push(wide(sign)),
        other => out.push(other),
    }
}

/// How a template's values are escaped, by the name it ends with or was given.
pub(super) fn install(environment: &mut Environment<'static>, dialect: Dialect) {
    environment.set_auto_escape_callback(|name| match name.rsplit_once('.') {
        Some((_, "html")) => AutoEscape::Html,
        Some((_, "md")) => AutoEscape::Custom("chat".into()),
        Some((_, "url")) => AutoEscape::Custom("url".into()),
        Some((_, "json")) => AutoEscape::Custom("json".into()),
        _ => AutoEscape::None,
    });
    environment.set_formatter(move |out, state: &mut State<'_, '_>, value| {
        let AutoEscape::Custom(kind) = state.auto_escape() else {
            let none = Value::from("");
            let value = if value.is_none() { &none } else { value };
            return minijinja::escape_formatter(out, state, value);
        };
        if value.is_none() {
            return Ok(());
        }
        let text = value.to_string();
        let text = match (value.is_safe(), kind.as_ref()) {
            (true, _) => text,
            (false, "url") => percent(&text),
            (false, "json") => json(&text),
            (false, _) => dialect.escape(&text),
        };
        out.write_str(&text).map_err(minijinja::Error::from)
    });
    environment
        .add_function("bold", move |text: String| Value::from_safe_string(dialect.bold(&text)));
    environment.add_function("link", move |url: String, text: String| {
        Value::from_safe_string(dialect.link(&url, &text))
    });
    environment.add_filter("percent", |text: String| Value::from_safe_string(percent(&text)));
}

/// What stands between the quotes of a JSON string.
fn json(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap_or_default();
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.unwrap_or_default().to_owned()
}

/// One line that shows what it is: control characters are spaces, and nothing in it turns the
/// direction of writing or has no width.
pub(super) fn tame(text: &str) -> String {
    let hidden = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    let kept: String = text
        .chars()
        .filter(|c| !hidden(*c))
        .map(|c| if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}') { ' ' } else { c })
        .collect();
    kept.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
