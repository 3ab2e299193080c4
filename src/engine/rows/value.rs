//! Values that members have shown, as they stand in rows.

use crate::engine::seen::Value;

/// Bytes of a value: its hash, and 48 bits of its time.
pub(super) const VALUE: usize = 14;

/// `None` of a time that is thousands of years off.
pub(super) fn bytes_of((hash, ts): Value) -> Option<[u8; VALUE]> {
    let mut bytes = [0; VALUE];
    let (own, time) = bytes.split_first_chunk_mut::<8>()?;
    *own = hash.to_le_bytes();
    time.copy_from_slice(ts.to_le_bytes().get(..VALUE - 8)?);
    (ts << 16 >> 16 == ts).then_some(bytes)
}

pub(super) fn value_of(bytes: [u8; VALUE]) -> Value {
    let (hash, rest) = bytes.split_first_chunk().unwrap_or((&[0; 8], &[0; VALUE - 8]));
    let mut time = [0; 8];
    time[2..].copy_from_slice(rest);
    (u64::from_le_bytes(*hash), i64::from_le_bytes(time) >> 16)
}
