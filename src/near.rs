//! Hints to the processor: which memory will be read soon. A room with `unsafe`.
//!
//! Why: a counter's line is far from every cache, and a load of it holds up all that comes after;
//! a hint does not. The steps over an event begin while the lines of the next ones are on the way.
//!
//! Argument: the address is one of a value that is borrowed, and a prefetch reads nothing that a
//! program could tell: it changes no memory, raises no fault and may be left out. Without an
//! instruction for it, and under an interpreter, nothing is done.
#![expect(unsafe_code, reason = "see the argument above")]

/// Brings the first line of the cache of a value near, for reading.
#[inline]
pub(crate) fn near<T: ?Sized>(value: &T) {
    near_at(std::ptr::from_ref(value).cast());
}

/// Brings the line of an address near, which is of a value that is borrowed.
#[inline]
fn near_at(place: *const u8) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: part of the instruction set of every x86-64; any address is allowed.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(place.cast());
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: any address is allowed; no register, flag or memory changes.
    unsafe {
        std::arch::asm!(
            "prfm pldl1keep, [{place}]",
            place = in(reg) place,
            options(nostack, preserves_flags, readonly)
        );
    }
    #[cfg(any(miri, not(any(target_arch = "x86_64", target_arch = "aarch64"))))]
    let _ = place;
}

/// Brings all lines of a list near: for lists of a few lines.
#[inline]
pub(crate) fn near_all<T>(list: &[T]) {
    let of_a_line = 64 / size_of::<T>().max(1);
    list.iter().step_by(of_a_line.max(1)).for_each(near);
    // The list may begin within a line.
    if let Some(last) = list.last() {
        near(last);
    }
}

/// Brings all lines of a value near: for values of a few lines.
#[inline]
pub(crate) fn near_lines<T>(value: &T) {
    let place = std::ptr::from_ref(value).cast::<u8>();
    for at in (0..size_of::<T>()).step_by(64) {
        // Of the value, so that the address may be named; nothing is read there.
        near_at(place.wrapping_add(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_change_nothing_whatever_they_name() {
        let mut list: Vec<u64> = (0..100).collect();
        near(&list);
        near_all(&list);
        near_all::<u64>(&[]);
        near_all(&[(), ()]);
        near("text");
        near(list.as_slice());
        // The end of a page, of a list, and room that nobody has written to yet.
        list.reserve(5_000);
        list.spare_capacity_mut().iter().step_by(64).for_each(near);
        near(&[0_u8; 4_096][4_095]);
        near_lines(&[0_u8; 1_000]);
        near_lines(&());
        assert!(list.iter().copied().eq(0..100));
    }
}
