//! What a person sees while it runs: a live picture on a terminal, a line now and then elsewhere.
//!
//! All of it goes to standard error; the result is for standard output.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::engine::Decision;
use crate::notify::masked;
use crate::rule::Severity;
use crate::service::Totals;

use super::outbox::Delivered;

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Over this long the rate is measured.
const RATE_OVER: Duration = Duration::from_secs(1);
const RULES_SHOWN: usize = 6;

/// The figures of a moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Figures {
    pub(super) passed: Duration,
    pub(super) sent: u64,
    pub(super) totals: Totals,
    pub(super) keys: usize,
    pub(super) commands: BTreeMap<String, u64>,
    pub(super) rules: BTreeMap<String, u64>,
    pub(super) delivered: Delivered,
}

/// Where people can look.
#[derive(Debug)]
pub(super) struct Places<'a> {
    pub(super) page: &'a str,
    pub(super) kafka: &'a str,
    pub(super) events: &'a str,
    pub(super) decisions: &'a str,
    pub(super) outbox: String,
    pub(super) rules: String,
}

#[derive(Debug)]
pub(super) struct View {
    live: Option<Live>,
    colours: bool,
    line_at: Instant,
    measured: (Instant, u64),
    rate: u64,
}

#[derive(Debug)]
struct Live {
    all: MultiProgress,
    lines: [ProgressBar; 4],
}

impl View {
    pub(super) fn new() -> View {
        let terminal = io::stderr().is_terminal();
        let live = terminal.then(|| {
            let all = MultiProgress::new();
            let style = ProgressStyle::with_template("{wide_msg}");
            let line = || {
                let bar = all.add(ProgressBar::no_length());
                match &style {
                    Ok(style) => bar.with_style(style.clone()),
                    Err(_) => bar,
                }
            };
            let lines = [line(), line(), line(), line()];
            Live { all, lines }
        });
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        View { live, colours, line_at: Instant::now(), measured: (Instant::now(), 0), rate: 0 }
    }

    /// Where everything is, before anything moves.
    pub(super) fn places(&self, places: &Places<'_>) {
        let Places { page, kafka, events, decisions, outbox, rules } = places;
        self.line(&format!("{} {page}", self.bold("status page")));
        self.line(&format!(
            "{}       {kafka}, for stock tools: kcat -b {kafka} -t {events} (or {decisions})",
            self.bold("Kafka")
        ));
        self.line(&format!("{}      {outbox}", self.bold("outbox")));
        self.line(&format!("{}       {rules}, read again when they change", self.bold("rules")));
    }

    /// A line that stays.
    pub(super) fn line(&self, text: &str) {
        match &self.live {
            Some(live) => live.all.println(text).unwrap_or_default(),
            // A standard error that is gone must not end the demo.
            None => writeln!(io::stderr(), "{text}").unwrap_or_default(),
        }
    }

    /// A decision as it happens, keys masked; on a terminal only, where it scrolls by.
    pub(super) fn decision(&self, decision: &Decision) {
        if self.live.is_none() {
            return;
        }
        let shown = masked(decision);
        let colour = match shown.severity {
            Severity::Critical => "31",
            Severity::Warning => "33",
            Severity::Info => "36",
        };
        let word = format!("{:<8}", format!("{:?}", shown.severity).to_lowercase());
        let actions = match shown.actions.as_slice() {
            [] => "alert".to_owned(),
            actions => actions.join(", "),
        };
        self.line(&format!(
            "{} {} {}: {}",
            self.paint(colour, &word),
            self.bold(&actions),
            shown.rule,
            shown.summary
        ));
    }

    pub(super) fn show(&mut self, figures: &Figures) {
        let now = Instant::now();
        let (at, before) = self.measured;
        let passed = now.duration_since(at);
        if passed >= RATE_OVER {
            let grown = u128::from(figures.totals.consumed - before);
            let rate = grown * 1000 / passed.as_millis().max(1);
            self.rate = u64::try_from(rate).unwrap_or(u64::MAX);
            self.measured = (now, figures.totals.consumed);
        }
        let Some(live) = &self.live else {
            if now >= self.line_at {
                self.line_at = now + LINE_EVERY;
                self.line(&self.text(figures).join("; "));
            }
            return;
        };
        for (bar, text) in live.lines.iter().zip(self.text(figures)) {
            bar.set_message(text);
        }
    }

    /// Short lines: a terminal of 80 columns shows nearly all of them.
    fn text(&self, figures: &Figures) -> [String; 4] {
        let Totals { consumed, accepted, duplicate, late, quarantined, decisions, .. } =
            figures.totals;
        let Delivered { mails, sms, webhooks } = figures.delivered;
        let mut rules: Vec<_> = figures.rules.iter().collect();
        rules.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.as_str()));
        let rules: Vec<String> =
            rules.iter().take(RULES_SHOWN).map(|(name, count)| format!("{name} {count}")).collect();
        let command = |name: &str| figures.commands.get(name).copied().unwrap_or(0);
        let (freezes, reviews) = (command("freeze"), command("review"));
        let seconds = figures.passed.as_secs();
        let Figures { sent, keys, .. } = figures;
        [
            format!(
                "{seconds} s, {} events/s, {consumed} read of {sent} sent, {keys} keys in memory",
                self.rate
            ),
            format!(
                "{accepted} accepted, {duplicate} duplicate, {late} late, {quarantined} quarantined"
            ),
            format!(
                "{decisions} decisions, {freezes} freezes, {reviews} reviews; \
                 {mails} mails, {sms} SMS, {webhooks} webhooks"
            ),
            if rules.is_empty() { "no rule has fired yet".into() } else { rules.join(", ") },
        ]
    }

    /// The live picture goes; what scrolled by stays.
    pub(super) fn end(&mut self) {
        if let Some(live) = self.live.take() {
            live.lines.iter().for_each(ProgressBar::finish_and_clear);
        }
    }

    fn bold(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
