//! A slab is a list.

use super::*;

#[test]
fn items_stay_at_their_places() {
    let mut slab = Slab::default();
    assert_eq!((slab.len(), slab.get(0)), (0, None));
    let count = 3 * PAGE + 7;
    for item in 0..count {
        assert_eq!(slab.push(item), item);
    }
    assert_eq!(slab.len(), count);
    assert!(slab.iter().copied().eq(0..count));
    for at in [0, 3, PAGE - 1, PAGE, 3 * PAGE, count - 1] {
        assert_eq!((slab[at], slab.get(at).copied()), (at, Some(at)));
    }
    assert_eq!(slab.get(count), None);
    assert_eq!(slab.get_mut(5 * PAGE), None);
    slab[PAGE] = 1;
    *slab.get_mut(PAGE - 1).unwrap() = 2;
    assert_eq!((slab[PAGE - 1], slab[PAGE], slab[PAGE + 1]), (2, 1, PAGE + 1));
    assert!(slab.bytes() >= count * size_of::<usize>());
}
