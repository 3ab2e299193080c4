//! The whole against a real Apache Kafka: throughput, cost, memory and latency of `tidegate run`
//! beside plain consumption of the same topic in the same run. See docs/benchmark.md.
//!
//! `cargo bench --bench e2e -- --help`
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark that cannot go on should stop, and it speaks to a terminal"
)]

mod baseline;
mod bed;
#[expect(dead_code, reason = "the tests' broker: not everything is needed here")]
#[path = "../../tests/it/broker/mod.rs"]
mod broker;
mod detector;
mod latency;
#[expect(dead_code, reason = "the tests' process: not everything is needed here")]
#[path = "../../tests/it/process.rs"]
mod process;
mod report;
mod restore;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tidegate::generate::Popularity;

use crate::baseline::Kind;
use crate::bed::Bed;
use crate::detector::Rules;
use crate::report::{Report, Run};

/// `engine.delivery`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Delivery {
    ExactlyOnce,
    AtLeastOnce,
}

impl Delivery {
    /// As it is written in a configuration.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Delivery::ExactlyOnce => "exactly_once",
            Delivery::AtLeastOnce => "at_least_once",
        }
    }
}

/// What is edited while latencies are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Edits {
    /// A bound, each second.
    Bounds,
    /// Rules that are made ready from the log come and go, each 5 seconds.
    Rules,
}

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A Kafka that runs already; without, one is started (needs Java and Maven).
    #[arg(long)]
    brokers: Option<String>,
    #[arg(long, default_value_t = 5_000_000)]
    events: u64,
    #[arg(long, default_value_t = 1_000_000)]
    users: u64,
    #[arg(long, value_enum, default_value_t = Popularity::Zipf)]
    distribution: Popularity,
    /// Events a second of event time.
    #[arg(long, default_value_t = 1000)]
    rate: u64,
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// How often everything is measured; medians are shown.
    #[arg(long, default_value_t = 1)]
    runs: usize,
    /// Rule sets of the throughput part.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Rules::Five, Rules::Shipped])]
    rules: Vec<Rules>,
    /// Leave out the plain consumers.
    #[arg(long)]
    no_baselines: bool,
    /// Length of the latency part; 0 leaves it out.
    #[arg(long, default_value_t = 20)]
    latency_seconds: u64,
    /// Seconds before it in which nothing is counted: a broker that has just been started compiles
    /// its code for a minute, with a core and more.
    #[arg(long, default_value_t = 60)]
    warm_up_seconds: u64,
    /// Events a second of the latency part.
    #[arg(long, default_value_t = 2000)]
    latency_rate: u64,
    /// Freezes a second of the latency part.
    #[arg(long, default_value_t = 25)]
    freezes: u64,
    /// How long the producer of the latency part gathers records, which is a part of every latency;
    /// 5 is what clients do that are told nothing.
    #[arg(long, default_value_t = 5)]
    linger_ms: u64,
    /// When freezes leave in the latency part; of several each is measured in turn.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Delivery::ExactlyOnce])]
    delivery: Vec<Delivery>,
    /// Edit the rules during the latency part.
    #[arg(long, value_enum)]
    edits: Option<Edits>,
    /// Also measure what snapshots cost, and a restart after a kill.
    #[arg(long)]
    restore: bool,
    /// The program to measure; by default the one built with this benchmark.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_tidegate"))]
    binary: PathBuf,
    /// Where to write the figures of every run.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Parser)]
#[command(name = "e2e", version, about)]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// Cargo says so when it wants figures, not a check that benches start.
    #[arg(long, hide = true)]
    bench: bool,
    #[arg(long, hide = true)]
    test: bool,
    #[command(subcommand)]
    child: Option<Child>,
}

#[derive(Debug, clap::Subcommand)]
enum Child {
    /// Consumes a topic in a process of its own, so that its cost can be told.
    #[command(hide = true)]
    Baseline(baseline::Arguments),
}

fn main() -> ExitCode {
    let mut cli = Cli::parse();
    if let Some(Child::Baseline(arguments)) = cli.child {
        println!("{}", serde_json::to_string(&baseline::consume(&arguments)).unwrap());
        return ExitCode::SUCCESS;
    }
    if cli.test || !cli.bench {
        println!("e2e: measures only under `cargo bench --bench e2e`");
        return ExitCode::SUCCESS;
    }
    if cli.options.brokers.is_none() && !broker::able() {
        eprintln!("e2e: needs java and mvn to start a Kafka, or one that runs: --brokers");
        return ExitCode::from(2);
    }
    // It runs in a folder of its own.
    cli.options.binary = std::path::absolute(&cli.options.binary).unwrap();
    measure(&cli.options);
    ExitCode::SUCCESS
}

fn measure(options: &Options) {
    let bed = Bed::new(options.brokers.as_deref());
    let input = bed.prefill(options);
    let mut report = Report::new(options, &input, bed.kafka());
    print!("{}", report.head());
    for number in 1..=options.runs {
        eprintln!("run {number} of {}, load average {}", options.runs, report::load());
        let mut run = Run { load: report::load(), ..Run::default() };
        let kinds: &[Kind] = if options.no_baselines { &[] } else { &Kind::ALL };
        for kind in kinds {
            run.baselines.insert(*kind, baseline::measure(&bed, &input, *kind));
        }
        for rules in &options.rules {
            run.detectors.insert(*rules, detector::measure(&bed, &input, *rules, &options.binary));
        }
        if options.latency_seconds > 0 {
            let measured = |delivery: &Delivery| latency::measure(&bed, options, *delivery);
            run.latency = options.delivery.iter().map(measured).collect();
        }
        report.runs.push(run);
    }
    print!("{}", report.body());
    if options.restore {
        restore::measure(&bed, &input, options);
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report).unwrap()).unwrap();
    }
}
