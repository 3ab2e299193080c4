//! Plain consumers to compare with: each reads the whole topic once in a process of its own.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tidegate::event::{Decoder, Layouts};
use tidegate::stream::Polled;
use tidegate::stream::kafka::Reader;

use crate::bed::{Bed, Input};
use crate::report::{cpu_seconds, memory_bytes};

const MAX_BYTES: usize = 65_536;

/// What is done with each record.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Nothing.
    Bare,
    /// Parsed by sonic-rs into a struct that borrows.
    Parse,
    /// Decoded as tidegate does, with all checks.
    Decode,
}

impl Kind {
    pub(crate) const ALL: [Kind; 3] = [Kind::Bare, Kind::Parse, Kind::Decode];

    pub(crate) const fn title(self) -> &'static str {
        match self {
            Kind::Bare => "(a) batch consume",
            Kind::Parse => "(b) batch consume + sonic-rs",
            Kind::Decode => "(c) batch consume + own decoder",
        }
    }
}

/// What one pass took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Pass {
    pub(crate) events_per_second: f64,
    pub(crate) cpu_seconds_per_million: f64,
    /// Most resident memory.
    pub(crate) peak_bytes: u64,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    address: String,
    #[arg(long)]
    topic: String,
    #[arg(long, value_enum)]
    kind: Kind,
    /// Records of each partition.
    #[arg(long, value_delimiter = ',')]
    ends: Vec<i64>,
}

/// The fields of contract E1 and E2, borrowed; attributes stay unparsed text.
#[derive(Debug, Deserialize)]
struct Wire<'a> {
    id: &'a str,
    ts: i64,
    user: &'a str,
    kind: &'a str,
    points: i64,
    source: Option<&'a str>,
    device: Option<&'a str>,
    ip: Option<&'a str>,
    #[serde(borrow)]
    reverses: Option<sonic_rs::LazyValue<'a>>,
    #[serde(borrow)]
    attrs: Option<sonic_rs::LazyValue<'a>>,
}

/// Starts the child and reads its figures.
pub(crate) fn measure(bed: &Bed, input: &Input, kind: Kind) -> Pass {
    let kind = clap::ValueEnum::to_possible_value(&kind).unwrap();
    let ends: Vec<String> = input.ends.iter().map(i64::to_string).collect();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["baseline", "--address", &bed.address, "--topic", &input.topic]);
    command.args(["--kind", kind.get_name(), "--ends", &ends.join(",")]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?} failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The child: reads all partitions from their start to their end.
pub(crate) fn consume(arguments: &Arguments) -> Pass {
    let cpu = cpu_seconds("self");
    let starts: Vec<(i32, i64)> =
        (0..).zip(&arguments.ends).map(|(partition, _)| (partition, 0)).collect();
    let mut reader =
        Reader::open(&arguments.address, &BTreeMap::new(), &arguments.topic, &starts).unwrap();
    let total: u64 = arguments.ends.iter().sum::<i64>().cast_unsigned();
    let (decoder, mut layouts) = (Decoder::default(), Layouts::default());
    let (mut records, mut understood) = (0u64, 0u64);
    let mut began: Option<Instant> = None;
    while records < total {
        let polled = reader.poll(10, &mut |polled| {
            for one in polled {
                let Polled::Record(record) = one else { continue };
                records += 1;
                let value = record.value.unwrap_or_default();
                understood +=
                    u64::from(understands(arguments.kind, (&decoder, &mut layouts), value));
            }
        });
        if let Err(error) = polled {
            eprintln!("the reader goes on after: {error}");
        }
        if records > 0 {
            began.get_or_insert_with(Instant::now);
        }
    }
    let took = began.unwrap().elapsed().as_secs_f64();
    let cpu = cpu_seconds("self") - cpu;
    assert_eq!(understood, total, "some records were not understood");
    Pass { peak_bytes: memory_bytes("self").peak, ..per_event(total, took, cpu) }
}

fn understands(kind: Kind, (decoder, layouts): (&Decoder, &mut Layouts), value: &[u8]) -> bool {
    match kind {
        Kind::Bare => !black_box(value).is_empty(),
        Kind::Parse => {
            let event = sonic_rs::from_slice::<Wire<'_>>(value);
            black_box(&event).as_ref().is_ok_and(Wire::is_whole)
        }
        Kind::Decode => black_box(decoder.decode_alike(layouts, value, MAX_BYTES)).is_ok(),
    }
}

impl Wire<'_> {
    /// Looks at every field, so that none is left out as unused.
    fn is_whole(&self) -> bool {
        black_box((&self.source, &self.device, &self.ip, &self.reverses, &self.attrs));
        black_box(self.points);
        !self.id.is_empty() && !self.user.is_empty() && !self.kind.is_empty() && self.ts > 0
    }
}

/// The memory is left to the caller.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
pub(crate) fn per_event(events: u64, seconds: f64, cpu: f64) -> Pass {
    Pass {
        events_per_second: events as f64 / seconds,
        cpu_seconds_per_million: cpu * 1e6 / events as f64,
        peak_bytes: 0,
    }
}
