//! However many threads there are, the same comes out.

use std::fmt::Write as _;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::backtest::Summary;
use crate::backtest::chunk::{CHUNK_BYTES, Chunk, Lines};
use crate::engine::{Lists, Plan, Settings};
use crate::event::Decoder;
use crate::rule::{Source as File, load};

const RULES: &str = "
version: 1
rules:
  - { name: cap, on: issue, measure: sum(points), window: 1h, above: 300 }
  - { name: all, on: issue, per: global, measure: sum(points), window: 10m, above: 9000 }
  - { name: ring, on: issue, per: device, measure: distinct(user), window: 10m, above: 3 }
";

/// Several pieces, with blank lines, faults and duplicates.
fn lines() -> String {
    let mut text = String::new();
    for n in 0..9_000_u64 {
        let (ts, device) = (1_763_740_800_000 + n * 900, n % 31);
        // One in 40 has come before, some of them in another piece.
        let id = if n.is_multiple_of(40) { n.saturating_sub(401) } else { n };
        let user = id * id % 97;
        writeln!(
            text,
            r#"{{"id":"e{id}","ts":{ts},"user":"u{user}","kind":"issue","points":{},"device":"d{device}"}}"#,
            n % 50,
        )
        .unwrap();
        match n % 500 {
            0 => text.push('\n'),
            1 => text.push_str("{\"id\":\n"),
            _ => {}
        }
    }
    text
}

fn fold(rules: &str) -> Backtest {
    let set = load(&[File { path: "a.yaml".to_owned(), text: rules.to_owned() }]).unwrap();
    let settings = Settings { max_ahead_ms: None, ..Settings::default() };
    let plan = Plan::new(Arc::new(set), Lists::default(), settings);
    Backtest::new(plan, Decoder::default(), 65_536, "events")
}

/// What a fold has come to.
type Outcome = (Vec<String>, Summary);

fn outcomes(source: impl Source, threads: usize, rules: &[&str]) -> (Vec<Outcome>, io::Result<()>) {
    let mut folds: Vec<Backtest> = rules.iter().map(|rules| fold(rules)).collect();
    let mut effects = vec![Vec::new(); folds.len()];
    let mut sink = |at: usize, effect: &Effect| {
        effects[at].push(format!("{effect:?}"));
        Ok(())
    };
    let mut all: Vec<&mut Backtest> = folds.iter_mut().collect();
    let ran = run_in(threads, &mut all, source, &mut sink, &mut |_| {});
    let summaries = folds.iter().map(Backtest::summary);
    (effects.into_iter().zip(summaries).collect(), ran)
}

fn outcome(text: &str, threads: usize) -> Outcome {
    let (mut outcomes, ran) =
        outcomes(Lines::new(text.as_bytes(), threads.is_multiple_of(2)), threads, &[RULES]);
    ran.unwrap();
    outcomes.remove(0)
}

/// Lines that cannot be read to their end.
struct Broken<'a>(Lines<&'a [u8]>, usize);

impl Source for Broken<'_> {
    fn next(&mut self) -> io::Result<Option<Chunk>> {
        if self.1 == 0 {
            return Err(io::Error::other("unplugged"));
        }
        self.1 -= 1;
        self.0.next()
    }
}

#[test]
fn any_number_of_threads_comes_to_the_same() {
    let text = lines();
    assert!(text.len() > 5 * CHUNK_BYTES);
    let (effects, summary) = outcome(&text, 1);
    let counts = (effects.len() > 50, summary.duplicate, summary.quarantined);
    assert_eq!(counts, (true, 224, 18));
    for threads in 2..7 {
        let other = outcome(&text, threads);
        assert_eq!(other.0, effects, "{threads}");
        assert_eq!(format!("{:?}", other.1), format!("{summary:?}"), "{threads}");
    }
}

#[test]
fn folds_do_not_see_each_other() {
    let text = lines();
    let rules = [RULES, &RULES.replace("above: 300", "above: 100"), "version: 1\nrules: []\n"];
    for threads in [1_usize, 2, 9] {
        let (together, ran) =
            outcomes(Lines::new(text.as_bytes(), threads.is_multiple_of(2)), threads, &rules);
        ran.unwrap();
        for (rules, together) in rules.iter().zip(together) {
            let (alone, _) = outcomes(Lines::new(text.as_bytes(), true), 1, &[rules]);
            assert_eq!(format!("{together:?}"), format!("{:?}", alone[0]), "{threads}");
        }
    }
}

#[test]
fn what_was_read_before_a_fault_counts_and_nothing_closes() {
    let text = lines();
    let whole = outcome(&text, 1);
    for threads in 1_usize..5 {
        let (outcomes, ran) = outcomes(
            Broken(Lines::new(text.as_bytes(), threads.is_multiple_of(2)), 3),
            threads,
            &[RULES],
        );
        assert_eq!(ran.unwrap_err().to_string(), "unplugged");
        let (effects, summary) = &outcomes[0];
        assert!(summary.events > 2_000 && summary.events < whole.1.events, "{summary:?}");
        assert!(!effects.is_empty() && whole.0.starts_with(effects), "{threads}");
    }
}

#[test]
fn nobody_waits_for_a_sink_that_fails() {
    let text = lines();
    for threads in 1_usize..5 {
        let mut one = fold(RULES);
        let mut sink = |_: usize, _: &Effect| Err(io::Error::other("full"));
        let source = Lines::new(text.as_bytes(), threads.is_multiple_of(2));
        let ran = run_in(threads, &mut [&mut one], source, &mut sink, &mut |_| {});
        assert_eq!(ran.unwrap_err().to_string(), "full");
        let mut one = fold(RULES);
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut sink = |_: usize, _: &Effect| panic!("a fault of ours");
            let source = Lines::new(text.as_bytes(), threads.is_multiple_of(2));
            run_in(threads, &mut [&mut one], source, &mut sink, &mut |_| {})
        }));
        assert!(ran.is_err(), "{threads}");
    }
}

/// Lines of which the last come when somebody says so.
struct Slow<'a> {
    pieces: Vec<&'a str>,
    more: mpsc::Receiver<()>,
}

impl Source for Slow<'_> {
    fn next(&mut self) -> io::Result<Option<Chunk>> {
        let Some(piece) = self.pieces.pop() else { return Ok(None) };
        if self.pieces.is_empty() {
            let said = self.more.recv_timeout(Duration::from_mins(1));
            said.map_err(|_| io::Error::other("nobody said so"))?;
        }
        let text = piece.as_bytes().to_vec();
        Ok(Some(Chunk { text, ..Chunk::default() }))
    }
}

#[test]
fn what_has_come_is_handed_out_before_more_comes() {
    let text = lines();
    let records = text.lines().filter(|line| !line.is_empty()).count() as u64;
    let mut pieces: Vec<String> = text
        .split_inclusive('\n')
        .collect::<Vec<_>>()
        .chunks(200)
        .map(<[&str]>::concat)
        .rev()
        .collect();
    pieces.insert(0, text.lines().take(1).collect());
    for threads in 1_usize..5 {
        let (say, more) = mpsc::channel();
        let mut one = fold(RULES);
        let mut left = text.len() as u64;
        let mut progress = |bytes| {
            left = left.saturating_sub(bytes);
            if left == 0 {
                // Behind the end of the input nobody listens.
                say.send(()).unwrap_or_default();
            }
        };
        let source = Slow { pieces: pieces.iter().map(String::as_str).collect(), more };
        run_in(threads, &mut [&mut one], source, &mut |_, _| Ok(()), &mut progress).unwrap();
        assert_eq!(one.summary().events, 1 + records, "{threads}");
    }
}

/// A source that fails as ours would not.
struct Faulty;

impl Source for Faulty {
    fn next(&mut self) -> io::Result<Option<Chunk>> {
        panic!("a fault of ours")
    }
}

#[test]
fn a_fault_of_any_thread_ends_all() {
    for threads in 1_usize..5 {
        let ran = std::panic::catch_unwind(|| outcomes(Faulty, threads, &[RULES]));
        assert!(ran.is_err(), "{threads}");
    }
}
