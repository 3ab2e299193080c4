//! However many threads there are, the same comes out.

use std::fmt::Write as _;

use super::*;
use crate::backtest::Summary;
use crate::backtest::chunk::{CHUNK_BYTES, Lines};
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

fn outcome(text: &str, decoders: usize) -> (Vec<String>, Summary) {
    let set = load(&[File { path: "a.yaml".to_owned(), text: RULES.to_owned() }]).unwrap();
    let settings = Settings { max_ahead_ms: None, ..Settings::default() };
    let plan = Plan::new(Arc::new(set), Lists::default(), settings);
    let mut fold = Backtest::new(plan, Decoder::default(), 65_536, "events");
    let mut effects = Vec::new();
    let mut sink = |_: usize, effect: &Effect| {
        effects.push(format!("{effect:?}"));
        Ok(())
    };
    let source = Lines::new(text.as_bytes());
    run_in(decoders, &mut [&mut fold], source, &mut sink, &mut |_| {}).unwrap();
    (effects, fold.summary())
}

#[test]
fn any_number_of_decoders_comes_to_the_same() {
    let text = lines();
    assert!(text.len() > 5 * CHUNK_BYTES);
    let (effects, summary) = outcome(&text, 1);
    let counts = (effects.len() > 50, summary.duplicate, summary.quarantined);
    assert_eq!(counts, (true, 224, 18));
    for decoders in 2..5 {
        let other = outcome(&text, decoders);
        assert_eq!(other.0, effects, "{decoders}");
        assert_eq!(format!("{:?}", other.1), format!("{summary:?}"), "{decoders}");
    }
}
