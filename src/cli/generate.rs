//! `tidegate generate`: a seeded stream of events with labelled abuse, as JSON lines.

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context;

use crate::generate::{self, Options};

/// What to generate.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Ordinary members.
    #[arg(long, default_value_t = 10_000)]
    users: u64,
    /// Ordinary events a second of event time.
    #[arg(long, default_value_t = 100)]
    rate: u64,
    /// Length of the stream in seconds of event time.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// First event time, milliseconds since the epoch.
    #[arg(long, default_value_t = 1_763_740_800_000)]
    start: i64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the episodes laid into the stream, as JSON lines.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
}

/// Writes the stream to `out`; the exit status is 0.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<u8> {
    let Arguments { users, rate, seconds, start, seed, .. } = *arguments;
    let mut buffered = BufWriter::new(out);
    let labels = generate::run(&Options { users, rate, seconds, start, seed }, &mut buffered)?;
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
