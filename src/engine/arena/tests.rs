//! Blocks against a list of what was written to each.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn blocks_keep_what_they_hold_and_never_overlap(
        steps in prop::collection::vec((0..3_u8, 1..=BLOCK_MAX, any::<u8>()), 1..300),
    ) {
        let mut arena = Arena::default();
        let mut held: Vec<(u32, u8)> = Vec::new();
        for (what, bytes, mark) in steps {
            if what == 0 && !held.is_empty() {
                let (at, _) = held.swap_remove(bytes % held.len());
                arena.give_back(at);
            } else {
                let at = arena.take(bytes);
                let block = arena.block_mut(at);
                prop_assert!(block.len() >= bytes && block.len() <= (bytes + 3 * GRAIN).min(BLOCK_MAX));
                block[1..].fill(mark);
                held.push((at, mark));
            }
            for (at, mark) in &held {
                prop_assert!(arena.block(*at)[1..].iter().all(|byte| byte == mark));
            }
        }
    }
}

#[test]
fn what_was_given_back_is_taken_again() {
    let mut arena = Arena::default();
    let blocks: Vec<u32> = (0..10_000).map(|n| arena.take(16 + n % 90)).collect();
    let before = arena.heap();
    for at in blocks {
        arena.give_back(at);
    }
    let lists = arena.heap() - before;
    for n in 0..10_000 {
        arena.take(16 + n % 90);
    }
    assert!(arena.heap() <= before + lists, "{} bytes, before {before}", arena.heap());
}

#[test]
fn bytes_are_written_where_they_are_read() {
    let mut arena = Arena::default();
    let [one, two] = [40, 40].map(|bytes| arena.take(bytes));
    arena.set_bytes(Arena::byte(two, 8), [7; 12]);
    assert_eq!(arena.bytes::<12>(Arena::byte(two, 8)), [7; 12]);
    assert_eq!(&arena.block(two)[8..20], [7; 12]);
    assert!(arena.block(one)[1..].iter().all(|byte| *byte == 0));
    arena.near(one);
    arena.near(u32::MAX);
}

#[test]
fn a_small_arena_takes_little() {
    let mut arena = Arena::default();
    arena.take(30);
    assert!(arena.heap() < 1_000, "{}", arena.heap());
}
