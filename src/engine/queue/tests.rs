//! A queue in pages is a queue.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_queue_of_pages_is_a_queue(
        steps in prop::collection::vec((0..5_u8, 1..2 * PAGE), 1..20),
    ) {
        let mut queue = Queue::default();
        let mut model = VecDeque::new();
        let mut next = 0_u32;
        for (what, count) in steps {
            match what {
                0..=2 => {
                    for _ in 0..count {
                        queue.push_back(next);
                        model.push_back(next);
                        next += 1;
                    }
                }
                3 => {
                    for _ in 0..count {
                        prop_assert_eq!(queue.pop_front(), model.pop_front());
                    }
                }
                _ => {
                    let keep = |item: &u32| !(*item as usize).is_multiple_of(count);
                    queue.retain(keep);
                    model.retain(keep);
                }
            }
            prop_assert_eq!(queue.len(), model.len());
            prop_assert_eq!(queue.front(), model.front().copied());
            for at in [0, 1, PAGE - 1, PAGE, count, model.len().saturating_sub(1), model.len()] {
                prop_assert_eq!(queue.get(at), model.get(at).copied());
            }
            prop_assert!(queue.iter().eq(model.iter().copied()));
        }
        let again: Queue<u32> = queue.iter().collect();
        prop_assert!(again.iter().eq(model.iter().copied()));
    }
}

#[test]
fn what_has_left_takes_no_room() {
    let mut queue = Queue::default();
    (0..100 * PAGE).for_each(|item| queue.push_back(item));
    let full = queue.bytes();
    (0..99 * PAGE + 7).for_each(|item| assert_eq!(queue.pop_front(), Some(item)));
    assert!(queue.bytes() < full / 10, "{} of {full} bytes", queue.bytes());
    while queue.pop_front().is_some() {}
    assert_eq!((queue.len(), queue.front()), (0, None));
    queue.push_back(1);
    assert_eq!((queue.len(), queue.get(0), queue.get(1)), (1, Some(1), None));
}
