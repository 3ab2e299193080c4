//! `tidegate generate`: a seeded stream of events with labelled abuse, as JSON lines.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;

use crate::generate::{self, Disorder, Options, Popularity};

/// What to generate.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Ordinary members.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    users: u64,
    /// How the events fall on the members.
    #[arg(long, value_enum, default_value_t = Popularity::Zipf)]
    users_distribution: Popularity,
    /// Let busy members go over the caps, as often as their popularity says.
    #[arg(long)]
    unpaced: bool,
    /// Ordinary events a second of event time.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    rate: u64,
    /// Length of the stream in seconds of event time; by default 600, or what `--events` take.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: Option<u64>,
    /// Ordinary events in all; with `--seconds` they are spread over that time.
    #[arg(long)]
    events: Option<u64>,
    /// First event time: RFC 3339, milliseconds since the epoch, or `now`.
    #[arg(long, default_value = "2025-11-22T00:00:00+08:00", value_parser = start)]
    start: i64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Share of events that come too late to count.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    late: f64,
    /// Share of events sent twice.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    duplicates: f64,
    /// Share of records added that are not JSON or break the form of an event.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    broken: f64,
    /// Share of events added that lie in the far future; for live streams, since a backtest takes
    /// them at their word.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    far_ahead: f64,
    /// Where to write the episodes laid into the stream, as JSON lines.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

fn start(text: &str) -> Result<i64, String> {
    if text == "now" {
        return Ok(jiff::Timestamp::now().as_millisecond());
    }
    if let Ok(ms) = text.parse() {
        return Ok(ms);
    }
    let instant: Result<jiff::Timestamp, _> = text.parse();
    instant.map(jiff::Timestamp::as_millisecond).map_err(|error| error.to_string())
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share lies between 0 and 1".into()),
    }
}

impl Arguments {
    fn options(&self) -> Options {
        let seconds = match (self.seconds, self.events) {
            (Some(seconds), _) => seconds,
            (None, Some(events)) => events.div_ceil(self.rate).max(1),
            (None, None) => 600,
        };
        Options {
            users: self.users,
            popularity: self.users_distribution,
            paced: !self.unpaced,
            rate: self.rate,
            seconds,
            events: self.events,
            start: self.start,
            seed: self.seed,
            disorder: Disorder {
                late: self.late,
                duplicates: self.duplicates,
                broken: self.broken,
                far_ahead: self.far_ahead,
            },
        }
    }
}

/// Writes the stream to `out`; the exit status is 0.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<u8> {
    let mut buffered = BufWriter::with_capacity(1 << 18, out);
    let labels = generate::run(&arguments.options(), &mut buffered)?;
    buffered.flush()?;
    if let Some(path) = &arguments.labels {
        let mut text = Vec::new();
        for label in &labels {
            serde_json::to_writer(&mut text, label)?;
            text.push(b'\n');
        }
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(0)
}
