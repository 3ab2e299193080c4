//! What was measured, as a table and as JSON; and what the system tells of a process.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use serde::Serialize;

use crate::Delivery;
use crate::Options;
use crate::baseline::{Kind, Pass};
use crate::bed::Input;
use crate::detector::{Detected, Rules};
use crate::latency::{CAUSES, Latency, Pauses, Spread};

/// One round of everything.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Run {
    /// Load averages at its start.
    pub(crate) load: String,
    pub(crate) baselines: BTreeMap<Kind, Pass>,
    pub(crate) detectors: BTreeMap<Rules, Detected>,
    /// Of each kind of delivery that was asked for.
    pub(crate) latency: Vec<Latency>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Report {
    facts: BTreeMap<&'static str, String>,
    input: Input,
    pub(crate) runs: Vec<Run>,
}

impl Report {
    pub(crate) fn new(options: &Options, input: &Input, kafka: String) -> Report {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let machine = format!("{cores} cores, {}, Linux {}", processor(), said("uname", &["-r"]));
        let commit =
            said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"]);
        let (_, librdkafka) = rdkafka::util::get_rdkafka_version();
        let versions =
            format!("tidegate {} ({commit}), librdkafka {librdkafka}", env!("CARGO_PKG_VERSION"));
        let text = format!(
            "{} events of {} bytes, lz4, {} partitions, {} distinct users, {:?}, {} a second of \
             event time",
            input.events,
            input.bytes / input.events.max(1),
            input.ends.len(),
            input.users,
            options.distribution,
            options.rate
        );
        let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        let facts = [
            ("date", date),
            ("machine", machine),
            ("versions", versions),
            ("kafka", kafka),
            ("input", text),
        ];
        Report { facts: facts.into(), input: input.clone(), runs: Vec::new() }
    }

    pub(crate) fn head(&self) -> String {
        self.facts.iter().fold(String::new(), |mut text, (name, fact)| {
            writeln!(text, "{name:<9} {fact}").unwrap();
            text
        })
    }

    /// The tables, with the medians of all runs.
    pub(crate) fn body(&self) -> String {
        let mut text = String::new();
        let loads: Vec<&str> = self.runs.iter().map(|run| run.load.as_str()).collect();
        writeln!(text, "load      {} (at the start of each run)", loads.join("; ")).unwrap();
        self.throughput(&mut text);
        self.memory(&mut text);
        for delivery in [Delivery::ExactlyOnce, Delivery::AtLeastOnce] {
            self.latency(&mut text, delivery);
        }
        text
    }

    fn throughput(&self, text: &mut String) {
        let head = ["events/s", "CPU-s/M", "to (b)", "peak MiB"];
        writeln!(text, "\n{:<34}{}", "", head.map(|name| format!("{name:>10}")).concat()).unwrap();
        let mut line = |title: &str, passes: &dyn Fn(&Run) -> Option<Pass>| {
            let of = |figure: &dyn Fn(&Run, Pass) -> Option<f64>| {
                median(self.runs.iter().filter_map(|run| figure(run, passes(run)?)))
            };
            let rate = of(&|_, pass| Some(pass.events_per_second));
            let cost = of(&|_, pass| Some(pass.cpu_seconds_per_million));
            let peak = of(&|_, pass| Some(mebibytes(pass.peak_bytes)));
            let ratio = of(&|run, pass| {
                let parse = run.baselines.get(&Kind::Parse)?;
                Some(pass.cpu_seconds_per_million / parse.cpu_seconds_per_million)
            });
            if !rate.is_nan() {
                writeln!(text, "{title:<34}{rate:>10.0}{cost:>10.3}{ratio:>10.2}{peak:>10.0}")
                    .unwrap();
            }
        };
        for kind in Kind::ALL {
            line(kind.title(), &|run| run.baselines.get(&kind).copied());
        }
        for rules in [Rules::Five, Rules::Shipped] {
            line(rules.title(), &|run| run.detectors.get(&rules).map(|run| run.pass));
        }
    }

    fn memory(&self, text: &mut String) {
        for rules in [Rules::Five, Rules::Shipped] {
            let of = |figure: &dyn Fn(&Detected) -> f64| {
                median(self.runs.iter().filter_map(|run| run.detectors.get(&rules).map(figure)))
            };
            if of(&|run| run.decisions).is_nan() {
                continue;
            }
            let rss = |at: usize| of(&|run| mebibytes(run.rss_bytes[at]));
            writeln!(
                text,
                "\n{}\n  memory    RSS {:.0} MiB at the start, {:.0} at the end\n  \
                 per user  {:.0} bytes of RSS growth, {:.0} of state by its own account\n  \
                 output    {:.0} decisions, {:.0} commands, {:.0} transactions; {:.0} events not \
                 accepted",
                rules.title(),
                rss(0),
                rss(1),
                of(&|run| run.rss_bytes_per_user),
                of(&|run| run.state_bytes_per_user),
                of(&|run| run.decisions),
                of(&|run| run.commands),
                of(&|run| run.transactions),
                of(&|run| run.refused),
            )
            .unwrap();
        }
    }

    fn latency(&self, text: &mut String, delivery: Delivery) {
        let all = self.runs.iter().flat_map(|run| &run.latency);
        let measured: Vec<&Latency> = all.filter(|one| one.delivery == delivery).collect();
        if measured.is_empty() {
            return;
        }
        let head = ["samples", "p50 ms", "p90 ms", "p99 ms", "max ms"];
        let head = head.map(|name| format!("{name:>9}")).concat();
        writeln!(text, "\n{:<34}{head}", delivery.name()).unwrap();
        let mut line = |title: &str, spread: &dyn Fn(&Latency) -> Spread| {
            let samples: usize = measured.iter().map(|latency| spread(latency).samples).sum();
            write!(text, "{title:<34}{samples:>9}").unwrap();
            let figures: [fn(Spread) -> f64; 4] = [|s| s.p50, |s| s.p90, |s| s.p99, |s| s.max];
            for figure in figures {
                let middle = median(measured.iter().map(|latency| figure(spread(latency))));
                write!(text, "{middle:>9.1}").unwrap();
            }
            text.push('\n');
        };
        line("event to command", &|latency| latency.command);
        line("event to event, nothing between", &|latency| latency.bare);
        let cpu = median(measured.iter().map(|latency| latency.cpu_seconds));
        let not_once: usize = measured.iter().map(|latency| latency.not_once).sum();
        writeln!(
            text,
            "commands not seen exactly once: {not_once}; tidegate uses {:.1} % of a core",
            cpu * 100.0
        )
        .unwrap();
        let head = ["> 1 ms", "> 20 ms", "> 50 ms", "> 100 ms"];
        let head = head.map(|name| format!("{name:>9}")).concat();
        writeln!(text, "{:<34}{head}", "pauses of the worker").unwrap();
        for (at, cause) in CAUSES.into_iter().enumerate() {
            let mut sums: Pauses = [0; 4];
            for latency in &measured {
                sums.iter_mut().zip(latency.pauses[at]).for_each(|(sum, one)| *sum += one);
            }
            if sums.iter().sum::<u64>() > 0 {
                let sums = sums.map(|sum| format!("{sum:>9}")).concat();
                writeln!(text, "  {cause:<32}{sums}").unwrap();
            }
        }
        let reloads: u64 = measured.iter().map(|latency| latency.reloads).sum();
        if reloads > 0 {
            writeln!(text, "edited rule sets in force meanwhile: {reloads}").unwrap();
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes far below 2^52")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Not a number when there are none.
fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => figures[n / 2],
        n => f64::midpoint(figures[n / 2 - 1], figures[n / 2]),
    }
}

/// User and system time of a process, in steps of 10 ms.
pub(crate) fn cpu_seconds(id: &str) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    // The name, which may hold anything, ends at the last parenthesis; the state comes next.
    let (_, fields) = text.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.map(|ticks| ticks.parse::<u32>().unwrap()).sum();
    // Linux tells them in hundredths of a second, whatever its own clock does.
    f64::from(ticks) / 100.0
}

pub(crate) struct Memory {
    pub(crate) resident: u64,
    pub(crate) peak: u64,
}

pub(crate) fn memory_bytes(id: &str) -> Memory {
    let text = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    Memory { resident: kib("VmRSS:") * 1024, peak: kib("VmHWM:") * 1024 }
}

/// The three load averages.
pub(crate) fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let name = text.lines().find(|line| line.starts_with("model name"));
    let name = name.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim());
    name.unwrap_or("processor unknown").to_owned()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    text.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned())
}
