//! CPU time an event of decode, and of decode and step under two rule sets, by users and by how
//! often each acts. States are warm: every user was there before, as far as 2 M events reach.
//!
//! Time is that of the thread on its core, from `/proc`, so that a busy machine shows less.

mod events;

use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate::backtest::Backtest;
use tidegate::engine::Plan;
use tidegate::event::{Decoder, Layouts};

use events::{Events, Fold, Shape, five, shipped};

const WARM: usize = 2_000_000;
const EVENTS: usize = 200_000;

/// Nanoseconds on a core.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = u64;
    type Value = u64;

    fn start(&self) -> u64 {
        let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
    }

    fn end(&self, start: u64) -> u64 {
        self.start() - start
    }

    fn add(&self, a: &u64, b: &u64) -> u64 {
        a + b
    }

    fn zero(&self) -> u64 {
        0
    }

    #[expect(clippy::cast_precision_loss, reason = "a run lasts far less than 2^53 ns")]
    fn to_f64(&self, value: &u64) -> f64 {
        *value as f64
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

fn decode(c: &mut Criterion<CpuTime>) {
    let mut group = c.benchmark_group("decode");
    let lines = Events::new(Shape::Zipf, 1_000_000).lines(EVENTS);
    let decoder = Decoder::default();
    group.throughput(Throughput::Elements(EVENTS as u64)).sample_size(20);
    group.bench_function("generated", |bench| {
        let decodes = |line: &&str| decoder.decode(line.as_bytes(), 65_536).is_ok();
        bench.iter(|| lines.lines().filter(decodes).count());
    });
    group.bench_function("generated, alike", |bench| {
        let mut layouts = Layouts::default();
        bench.iter(|| {
            let decodes =
                |line: &&str| decoder.decode_alike(&mut layouts, line.as_bytes(), 65_536).is_ok();
            lines.lines().filter(decodes).count()
        });
    });
    group.finish();
}

fn fold(c: &mut Criterion<CpuTime>, name: &str, plan: &Plan) {
    for shape in [Shape::Zipf, Shape::Uniform] {
        let mut group = c.benchmark_group(format!("{name}, {shape:?}"));
        group.throughput(Throughput::Elements(EVENTS as u64)).sample_size(10);
        for users in [1000, 100_000, 1_000_000] {
            let mut made = None;
            group.bench_function(BenchmarkId::from_parameter(users), |bench| {
                let (events, fold) = made.get_or_insert_with(|| {
                    let mut events = Events::new(shape, users);
                    let mut fold = Fold::new();
                    for _ in 0..WARM / EVENTS {
                        fold.feed(plan, &events.lines(EVENTS));
                    }
                    (events, fold)
                });
                // The stream goes on from run to run: a copy of the state would have to grow
                // all its tables at the first new key.
                bench.iter_batched(
                    || events.lines(EVENTS),
                    |lines| fold.feed(plan, &lines),
                    BatchSize::PerIteration,
                );
            });
        }
        group.finish();
    }
}

fn five_rules(c: &mut Criterion<CpuTime>) {
    fold(c, "five rules", &five());
}

fn shipped_rules(c: &mut Criterion<CpuTime>) {
    fold(c, "shipped rules", &shipped());
}

/// `backtest` flushes after each event.
fn backtest(c: &mut Criterion<CpuTime>) {
    let plan = shipped();
    let mut group = c.benchmark_group("backtest, shipped rules, Zipf");
    group.throughput(Throughput::Elements(EVENTS as u64)).sample_size(10);
    let lines = Events::new(Shape::Zipf, 1_000_000).lines(EVENTS);
    group.bench_function("from nothing", |bench| {
        let fresh = || Backtest::new(plan.clone(), Decoder::default(), 65_536, "bench");
        let feed = |fold: &mut Backtest| {
            let mut effects = 0u64;
            for line in lines.lines() {
                fold.feed(line.as_bytes());
                let counted = fold.take(&mut |_| {
                    effects += 1;
                    Ok(())
                });
                counted.expect("counting cannot fail");
            }
            effects
        };
        bench.iter_batched_ref(fresh, feed, BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime);
    targets = decode, five_rules, shipped_rules, backtest
}
criterion_main!(benches);
