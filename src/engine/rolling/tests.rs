//! Rolling windows against a scan of a list.

use proptest::prelude::*;

use super::*;

fn add(rolling: &mut Rolling, ts: i64, value: i64, step: i64, t: i64) {
    rolling.insert(Entry { ts, value }, Join::Add, step, t);
}

/// What `insert` comes to by walking the whole list each time.
#[derive(Default)]
struct Walked(Vec<Entry>);

impl Walked {
    fn insert(&mut self, entry: Entry, join: Join, step: i64, t: i64) {
        let at = self.0.partition_point(|other| other.ts <= entry.ts);
        self.0.insert(at, entry);
        if self.0.len() > EXACT_MAX {
            self.0.dedup_by(|next, kept| {
                let same = next.ts.div_euclid(step) == kept.ts.div_euclid(step)
                    && (next.ts <= t) == (kept.ts <= t);
                if same {
                    kept.join(next, join);
                }
                same
            });
        }
    }
}

#[test]
fn a_reversal_ahead_of_t_does_not_hide_its_step() {
    let (window, step, t) = (10_000, 1000, 5000);
    let mut rolling = Rolling::default();
    add(&mut rolling, 5500, -1, step, t);
    for _ in 0..200 {
        add(&mut rolling, t, 1, step, t);
    }
    assert_eq!(rolling.sum(t, window), 200);
    assert_eq!(rolling.sum(5500, window), 199);
}

proptest! {
    #[test]
    fn few_entries_are_exact(
        events in prop::collection::vec((0i64..2000, -9i64..10), 1..128),
        window in 1i64..1500,
    ) {
        let (mut rolling, mut largest) = (Rolling::default(), Rolling::default());
        let (mut seen, mut t) = (Vec::new(), i64::MIN);
        for (ts, points) in events {
            t = t.max(ts);
            add(&mut rolling, ts, points, 10, t);
            largest.insert(Entry { ts, value: points }, Join::Max, 10, t);
            seen.push((ts, points));
            rolling.advance(t, window);
            largest.advance(t, window);
            let inside: Vec<i64> = seen
                .iter()
                .filter(|(ts, _)| t - window < *ts && *ts <= t)
                .map(|(_, points)| *points)
                .collect();
            prop_assert_eq!(rolling.sum(t, window), inside.iter().sum::<i64>());
            prop_assert_eq!(largest.max(t, window), inside.iter().copied().max());
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
            add(&mut rolling, t, 1, step, t);
            rolling.advance(t, window);
            let since = |from: i64| times[..=index].iter().filter(|ts| **ts > from).count();
            let count = usize::try_from(rolling.sum(t, window)).unwrap();
            prop_assert!(since(t - window) <= count && count <= since(t - window - step));
        }
    }

    /// Merging near the new entry alone leaves the list as a walk over the whole does.
    #[test]
    fn merging_nearby_is_merging_all(
        events in prop::collection::vec((-300i64..120, -3i64..9, 0u8..20), 300..900),
        by_max in any::<bool>(),
    ) {
        let (window, step) = (6400, 50);
        let join = if by_max { Join::Max } else { Join::Add };
        let (mut rolling, mut walked, mut t) = (Rolling::default(), Walked::default(), 0);
        for (by, value, ahead) in events {
            let entry = Entry { ts: t + by, value };
            // One in twenty lies ahead of T, as reversals may.
            if ahead > 0 {
                t = t.max(entry.ts);
            }
            rolling.insert(entry, join, step, t);
            walked.insert(entry, join, step, t);
            rolling.advance(t, window);
            walked.0.retain(|entry| entry.ts > t - window);
            prop_assert_eq!(rolling.with(<[Entry]>::to_vec), walked.0.clone());
            let inside = walked.0.iter().filter(|entry| entry.ts <= t);
            if !by_max {
                prop_assert_eq!(rolling.sum(t, window), inside.map(|one| one.value).sum::<i64>());
            }
        }
    }
}
