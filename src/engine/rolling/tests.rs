//! Rolling windows against a scan of a list.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn few_entries_are_exact(
        events in prop::collection::vec((0i64..2000, -9i64..10), 1..128),
        window in 1i64..1500,
    ) {
        let (mut rolling, mut seen, mut t) = (Rolling::default(), Vec::new(), i64::MIN);
        for (ts, points) in events {
            rolling.insert(ts, 1, points, points, 10);
            seen.push((ts, points));
            t = t.max(ts);
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
            rolling.insert(t, 1, 1, 1, step);
            rolling.advance(t, window);
            let since = |from: i64| times[..=index].iter().filter(|ts| **ts > from).count();
            let count = usize::try_from(rolling.count(t, window)).unwrap();
            prop_assert!(since(t - window) <= count && count <= since(t - window - step));
        }
    }
}
