//! `tidegate demo` (C6).

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::cli::Format;
use crate::cli::run::{LogFormat, start_log};
use crate::control::LoadError;
use crate::demo::{self, Delivered, Options, Outcome, Tally};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Length of the stream in seconds; 0 goes on until Ctrl-C.
    #[arg(long, value_name = "N", default_value_t = 45, value_parser = clap::value_parser!(u64).range(..=86_400))]
    seconds: u64,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Ordinary events a second.
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// Rule file or folder in place of the shipped rules.
    #[arg(long, value_name = "PATH")]
    rules: Option<PathBuf>,
    /// Address of the status page; 127.0.0.1:8080 unless given, or a free port if that is taken.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where mails, messages and webhooks go; a fresh folder unless given.
    #[arg(long, value_name = "FOLDER")]
    outbox: Option<PathBuf>,
    /// Form of the result on standard output.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Runs the demo and writes its result to `out`.
pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<u8> {
    let options = Options {
        seconds: arguments.seconds,
        rate: arguments.rate,
        seed: arguments.seed,
        rules: arguments.rules.clone(),
        listen: arguments.listen,
        outbox: arguments.outbox.clone(),
    };
    start_log(LogFormat::Text, "error,librdkafka=off,rdkafka=off");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    let result = runtime.block_on(demo::run(&options));
    runtime.shutdown_background();
    let outcome = match result {
        Ok(outcome) => outcome,
        Err(error) => {
            let Some(faults @ LoadError::Faults(_)) = error.downcast_ref() else {
                return Err(error);
            };
            writeln!(io::stderr(), "{faults}")?;
            return Ok(1);
        }
    };
    match arguments.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string(&outcome)?)?,
        Format::Text => text(&outcome, out)?,
    }
    Ok(0)
}

fn text(outcome: &Outcome, out: &mut dyn Write) -> io::Result<()> {
    let Tally { rounds, injected, caught, missed, unsent, table, .. } = &outcome.tally;
    if let Some(table) = table {
        writeln!(out, "{table}")?;
    }
    if *rounds > 1 {
        let sum = format!("{injected} injected, {caught} caught, {missed} missed");
        writeln!(out, "all {rounds} rounds: {sum}")?;
    }
    if *unsent > 0 {
        writeln!(out, "not sent to their end: {unsent} episodes")?;
    }
    if !outcome.complete {
        writeln!(out, "stopped before everything sent was judged and told")?;
    }
    let totals = &outcome.totals;
    writeln!(
        out,
        "events: {} sent, {} read: {} accepted, {} duplicate, {} late, {} quarantined",
        outcome.sent,
        totals.consumed,
        totals.accepted,
        totals.duplicate,
        totals.late,
        totals.quarantined
    )?;
    let commands: Vec<String> =
        outcome.commands.iter().map(|(name, count)| format!("{count} {name}")).collect();
    let commands = if commands.is_empty() { "none".into() } else { commands.join(", ") };
    writeln!(out, "decisions: {}; commands: {commands}", totals.decisions)?;
    let Delivered { mails, sms, webhooks } = outcome.delivered;
    let folder = outcome.outbox.display();
    writeln!(out, "outbox: {mails} mails, {sms} SMS, {webhooks} webhooks in {folder}")
}
