//! Events per second of decode, and of decode and step with the shipped rules, by number of
//! users. Input is seeded; criterion reports elements (events) a second.

use std::path::Path;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tidegate::backtest::Backtest;
use tidegate::cli::rules::read_rules;
use tidegate::engine::{Lists, Plan, Settings};
use tidegate::event::Decoder;
use tidegate::generate::{Options, run};

fn lines(users: u64) -> Vec<Vec<u8>> {
    // Unpaced, so that few users have the same mix of events as many.
    let options = Options { users, rate: 200, paced: false, ..Options::default() };
    let mut text = Vec::new();
    run(&options, &mut text).expect("a vector takes every byte");
    text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn plan() -> Plan {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let (set, entries) = read_rules(&root).expect("the shipped rules load");
    let mut lists = Lists::new(set.lists.len());
    entries.into_iter().enumerate().for_each(|(at, entries)| lists.set(at, entries));
    Plan::new(Arc::new(set), lists, Settings { max_ahead_ms: None, ..Settings::default() })
}

fn decode(c: &mut Criterion) {
    let lines = lines(1000);
    let decoder = Decoder::default();
    let mut group = c.benchmark_group("decode");
    group.throughput(Throughput::Elements(lines.len() as u64));
    group.bench_function("generated", |bench| {
        bench.iter(|| lines.iter().filter(|line| decoder.decode(line, 65_536).is_ok()).count());
    });
    group.finish();
}

fn shipped_rules(c: &mut Criterion) {
    let plan = plan();
    let mut group = c.benchmark_group("shipped rules");
    group.sample_size(10);
    for users in [1000, 100_000, 1_000_000] {
        let lines = lines(users);
        group.throughput(Throughput::Elements(lines.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(users), &lines, |bench, lines| {
            bench.iter(|| {
                let mut fold = Backtest::new(plan.clone(), Decoder::default(), 65_536, "bench");
                let mut effects = 0u64;
                for line in lines {
                    fold.feed(line);
                    let counted = fold.take(&mut |_| {
                        effects += 1;
                        Ok(())
                    });
                    counted.expect("counting cannot fail");
                }
                effects
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decode, shipped_rules);
criterion_main!(benches);
