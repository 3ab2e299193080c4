//! Rolling windows against a scan of a list.

use proptest::prelude::*;

use super::*;

fn entry(ts: i64, count: i64, points: i64) -> Entry {
    Entry { ts, count, sum: points, max: points }
}

#[test]
fn a_reversal_ahead_of_t_does_not_hide_its_step() {
    let (window, step, t) = (10_000, 1000, 5000);
    let mut rolling = Rolling::default();
    rolling.insert(entry(5500, -1, -1), step, t);
    for _ in 0..200 {
        rolling.insert(entry(t, 1, 1), step, t);
    }
    assert_eq!(rolling.count(t, window), 200);
    assert_eq!(rolling.count(5500, window), 199);
}

proptest! {
    #[test]
    fn few_entries_are_exact(
        events in prop::collection::vec((0i64..2000, -9i64..10), 1..128),
        window in 1i64..1500,
    ) {
        let (mut rolling, mut seen, mut t) = (Rolling::default(), Vec::new(), i64::MIN);
        for (ts, points) in events {
            t = t.max(ts);
            rolling.insert(entry(ts, 1, points), 10, t);
            seen.push((ts, points));
            rolling.advance(t, window);
            let inside: Vec<i64> = seen
                .iter()
                .filter(|(ts, _)| t - window < *ts && *ts <= t)
                .map(|(_, points)| *points)
                .collect();
            prop_assert_eq!(rolling.count(t, window), i64::try_from(inside.len()).unwrap());
            prop_assert_eq!(rolling.sum(t, window), inside.iter().sum::<i64>());
            prop_assert_eq!(rolling.max(t, window), inside.iter().copied().max());
        }
    }

    #[test]
    fn many_entries_never_count_too_few(
        mut times in prop::collection::vec(0i64..20_000, 200..600),
    ) {
        let (window, step) = (6400, 50);
        times.sort_unstable();
        let mut rolling = Rolling::default();
        for (index, t) in times.iter().copied().enumerate() {
            rolling.insert(entry(t, 1, 1), step, t);
            rolling.advance(t, window);
            let since = |from: i64| times[..=index].iter().filter(|ts| **ts > from).count();
            let count = usize::try_from(rolling.count(t, window)).unwrap();
            prop_assert!(since(t - window) <= count && count <= since(t - window - step));
        }
    }
}
