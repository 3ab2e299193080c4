//! Eight bytes at a time, as one number whose lowest byte comes first.

/// The high bit of each byte that is no digit. Above the lowest one set others may be wrong.
#[inline]
pub(super) fn no_digits(word: u64) -> u64 {
    let off = word ^ 0x3030_3030_3030_3030;
    (off.wrapping_add(0x7676_7676_7676_7676) | off) & 0x8080_8080_8080_8080
}

/// The high bit of each byte that ends a run of plain string bytes: `"`, `\\` or a control
/// byte. Above the lowest one set others may be wrong.
#[inline]
pub(super) fn special(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero(word ^ (ONES * u64::from(b'"')));
    let backslash = zero(word ^ (ONES * u64::from(b'\\')));
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGHS
}

/// The number that eight digits write, of which the first is lowest; zero bytes count as zeros.
/// Neighbours are joined, then pairs, then fours.
#[inline]
pub(super) fn eight_digits(digits: u64) -> i64 {
    let ones = digits & 0x0f0f_0f0f_0f0f_0f0f;
    let twos = ones.wrapping_mul(10 << 8 | 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let fours = twos.wrapping_mul(100 << 16 | 1) >> 16 & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000 << 32 | 1) >> 32).cast_signed()
}
