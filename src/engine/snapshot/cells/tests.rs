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

#[test]
fn values_of_a_series_are_read_as_their_version_has_them() {
    let read = |version, bytes: &[u8]| {
        let mut reader = Reader { rest: Rest(bytes), base: 0, version };
        reader.value().filter(|_| reader.rest.0.is_empty()).map(f64::to_bits)
    };
    let border = 9_007_199_254_740_992.0;
    for value in [0.0, -0.0, 1.0, -31.0, 2.5, border - 1.0, border, -border, 1e300, f64::MIN] {
        let mut to = Vec::new();
        Writer { to: &mut to, base: 0 }.value(value);
        assert_eq!(read(3, &to), Some(value.to_bits()), "{value}");
        assert_eq!(read(2, &value.to_le_bytes()), Some(value.to_bits()), "{value}");
    }
    let mut to = Vec::new();
    for value in [0.0, 1.0, -31.0] {
        Writer { to: &mut to, base: 0 }.value(value);
    }
    assert_eq!(to.len(), 3, "counts take a byte");
    assert_eq!(read(3, &[6]), None);
}
