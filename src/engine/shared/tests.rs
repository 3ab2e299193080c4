//! What a flush brings is counted where it lies, however far its watermark goes.

use crate::engine::quiet::tests::Pair;
use crate::engine::{Effect, Lists, Plan, Settings};
use crate::rule::{Source, load};

fn plan(rules: &str) -> Plan {
    let text = format!("version: 1\nrules:\n{rules}");
    let set = load(&[Source { path: "rules.yaml".to_owned(), text }]).unwrap();
    let settings = Settings { max_ahead_ms: None, ..Settings::default() };
    Plan::new(std::sync::Arc::new(set), Lists::new(0), settings)
}

/// After a stop hours come with one flush: the first of its events still belong to a window that is
/// long over at the last.
#[test]
fn a_window_goes_on_although_the_watermark_of_the_flush_lies_beyond_it() {
    let rules = "
  - { name: many, on: issue, per: global, measure: sum(points), window: 30m, above: 100 }";
    let start = 1_763_740_800_000_i64;
    let decided = |flushes: [bool; 3]| {
        let mut pair = Pair::new(plan(rules));
        for (n, ((minutes, points), flush)) in
            (1..).zip([(0, 60), (20, 50), (75, 1)].into_iter().zip(flushes))
        {
            let ts = start + minutes * 60_000;
            pair.feed(
                &format!(
                    r#"{{"id":"e-{n}","ts":{ts},"user":"u","kind":"issue","points":{points}}}"#
                ),
                n,
            );
            if flush {
                pair.flush();
            }
        }
        let effects = pair.outs[1].effects.iter();
        let values = effects.filter_map(|effect| match effect {
            Effect::Decision(one) => {
                Some((one.trigger.as_ref()?.id.clone(), one.value.as_ref()?.to_string()))
            }
            _ => None,
        });
        values.collect::<Vec<_>>()
    };
    let once = vec![("e-2".to_owned(), "110".to_owned())];
    assert_eq!(decided([true, true, true]), once);
    assert_eq!(decided([true, false, true]), once);
    assert_eq!(decided([false, false, true]), once);
}
