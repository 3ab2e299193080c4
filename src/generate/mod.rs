//! Seeded streams of events with labelled abuse.
//!
//! The same options give the same bytes: no clock, no environment, one seeded generator per
//! purpose. The stream is made as it is read; only the episodes laid into it are held.

mod disorder;
mod episodes;
mod line;
mod members;
pub mod score;

#[cfg(test)]
mod tests;

use std::io::{self, Write};

pub use disorder::{Disorder, Fault};
pub use episodes::Label;
pub use members::Popularity;

use disorder::Mess;
use episodes::{Episodes, Planted};
use line::{Event, Writer};
use members::Members;

/// What stream to make.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Ordinary members, at least 1.
    pub users: u64,
    pub popularity: Popularity,
    /// Members stay below the caps of the shipped rules; what a dense stream has left over
    /// becomes purchases. Off, busy members act as often as their popularity says.
    pub paced: bool,
    /// Ordinary events a second of event time, at least 1.
    pub rate: u64,
    /// Length of the stream in event time.
    pub seconds: u64,
    /// Ordinary events in all, spread evenly over `seconds` in place of `rate`.
    pub events: Option<u64>,
    /// Event time of the first instant, milliseconds since the epoch.
    pub start: i64,
    pub seed: u64,
    pub disorder: Disorder,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            users: 100_000,
            popularity: Popularity::Zipf,
            paced: true,
            rate: 100,
            seconds: 600,
            events: None,
            start: 1_763_740_800_000,
            seed: 1,
            disorder: Disorder::default(),
        }
    }
}

impl Options {
    fn count(&self) -> u64 {
        self.events.unwrap_or_else(|| self.seconds.saturating_mul(self.rate.max(1)))
    }

    fn length_ms(&self) -> u64 {
        self.seconds.max(1).saturating_mul(1000)
    }
}

/// One line of the stream, without its line feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// When to send it. Its event time too, unless `fault` says otherwise; never decreases.
    pub at: i64,
    /// The key of its Kafka record.
    pub user: &'a str,
    pub bytes: &'a [u8],
    /// The episode it belongs to, as an index into [`Stream::labels`].
    pub label: Option<usize>,
    /// What is wrong with it on purpose.
    pub fault: Option<Fault>,
}

/// The stream, a line at a time.
#[derive(Debug)]
pub struct Stream {
    start: i64,
    length_ms: u64,
    count: u64,
    made: u64,
    members: Members,
    /// The next ordinary event, drawn but not yet due.
    ahead: Option<Event>,
    episodes: Episodes,
    mess: Mess,
    writer: Writer,
}

impl Stream {
    pub fn new(options: &Options) -> Stream {
        Stream {
            start: options.start,
            length_ms: options.length_ms(),
            count: options.count(),
            made: 0,
            members: Members::new(options),
            ahead: None,
            episodes: Episodes::plan(
                options.start,
                options.length_ms(),
                options.count(),
                options.seed,
            ),
            mess: Mess::new(options.disorder, options.seed),
            writer: Writer::new(options.seed),
        }
    }

    /// The episodes laid into the stream.
    pub fn labels(&self) -> &[Label] {
        &self.episodes.labels
    }

    /// The next line; `None` at the end.
    pub fn next_line(&mut self) -> Option<Line<'_>> {
        if self.mess.due() {
            return self.mess.line();
        }
        if self.ahead.is_none() && self.made < self.count {
            let passed = u128::from(self.made) * u128::from(self.length_ms);
            let passed = u64::try_from(passed / u128::from(self.count)).unwrap_or(u64::MAX);
            self.ahead = Some(self.members.next(self.start.saturating_add_unsigned(passed)));
            self.made += 1;
        }
        let due = self.ahead.as_ref().map_or(i64::MAX, |event| event.ts);
        if let Some(Planted { label, event }) = self.episodes.next_until(due) {
            let at = event.ts;
            self.writer.write(event, at);
            self.mess.remember(at, &self.writer);
            return Some(self.writer.line(at, Some(*label), None));
        }
        let mut event = self.ahead.take()?;
        let at = event.ts;
        let fault = self.mess.befall(&mut event);
        self.writer.write(&event, at);
        self.members.wrote(&event, self.writer.id());
        self.mess.follow(at, fault, &self.writer);
        Some(self.writer.line(at, None, fault))
    }
}

/// Writes the stream as JSON lines; returns the episodes in it.
///
/// # Errors
/// What `out` fails with.
pub fn run(options: &Options, out: &mut dyn Write) -> io::Result<Vec<Label>> {
    let mut stream = Stream::new(options);
    while let Some(line) = stream.next_line() {
        out.write_all(line.bytes)?;
        out.write_all(b"\n")?;
    }
    Ok(stream.episodes.labels)
}
