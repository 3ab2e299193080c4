//! What no writer has written is not read.

use super::{RANK_MAX, REGISTERS, Reader, Rest, Writer};
use crate::engine::distinct::Sketch;

/// A rank that no hash has stood beyond the end of a table when the estimate was made.
#[test]
fn a_sketch_with_a_rank_that_no_hash_has_is_refused() {
    let written = |rank: u32| {
        let mut sketch = Sketch(vec![Vec::new(); REGISTERS]);
        sketch.0[7].push((5, u8::try_from(rank).unwrap()));
        let mut to = Vec::new();
        Writer { to: &mut to, base: 3 }.sketch(&sketch);
        // Behind the kind.
        to.split_off(1)
    };
    let read = |bytes: &[u8]| Reader { rest: Rest(bytes), base: 3, version: 3 }.sketch();
    let highest = read(&written(RANK_MAX)).unwrap();
    assert!(highest.count(0, 9) > 0);
    assert!(read(&written(RANK_MAX + 1)).is_none());
}
