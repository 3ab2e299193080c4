//! A few entries in little room against a list.

use proptest::prelude::*;

use super::*;

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -50..50_i64,
        1 => Just(i64::from(i32::MAX)),
        1 => Just(i64::from(i32::MIN)),
        1 => Just(i64::from(i32::MAX) + 1),
        1 => any::<i64>(),
    ]
}

proptest! {
    #[test]
    fn entries_come_out_in_their_order(
        steps in prop::collection::vec((number(), number(), 0..5_usize), 1..40),
    ) {
        let mut tight = Tight::default();
        let mut model: Vec<Entry> = Vec::new();
        let mut base = 0;
        for (ts, value, gone) in steps {
            if gone > 0 && gone <= model.len() {
                tight.drop_first(gone);
                model.drain(..gone);
            }
            base = if model.is_empty() { ts } else { base };
            let has_room = model.len() < ROOM
                && i32::try_from(value).is_ok()
                && ts.checked_sub(base).is_some_and(|since| i32::try_from(since).is_ok());
            let before = tight;
            prop_assert_eq!(tight.insert(Entry { ts, value }), has_room);
            if has_room {
                let at = model.partition_point(|other| other.ts <= ts);
                model.insert(at, Entry { ts, value });
            } else {
                prop_assert_eq!(before, tight);
            }
            let (entries, len) = tight.entries();
            prop_assert_eq!(&entries[..len], &model[..]);
            let again = Tight::of(&model).map(|tight| tight.entries().1);
            prop_assert!(again.is_none_or(|again| again == len));
        }
    }

    /// What slides is what comes in and lets go of the rest, or stays as it was.
    #[test]
    fn a_window_slides_by_an_entry(
        steps in prop::collection::vec((0..60_i64, number(), 0..80_i64, -20..200_i64), 1..60),
    ) {
        let mut tight = Tight::default();
        let mut model: Vec<Entry> = Vec::new();
        let mut now = 1_763_740_800_000_i64;
        for (gap, value, window, most) in steps {
            now += gap - 5;
            let entry = Entry { ts: now, value };
            let left: Vec<Entry> =
                model.iter().filter(|entry| entry.ts > now - window).copied().collect();
            let sum: i128 = left.iter().map(|entry| i128::from(entry.value)).sum();
            let slides = left.len() < ROOM
                && model.last().is_none_or(|last| last.ts <= now)
                && sum + i128::from(value) <= i128::from(most)
                && i32::try_from(value).is_ok();
            let before = tight;
            prop_assert_eq!(tight.slide(entry, now - window, most), slides);
            if slides {
                model = left;
                model.push(entry);
            } else {
                prop_assert_eq!(before, tight);
                now -= gap;
            }
            let (entries, len) = tight.entries();
            prop_assert_eq!(&entries[..len], &model[..]);
        }
    }
}
