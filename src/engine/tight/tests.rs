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
}
