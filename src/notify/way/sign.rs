//! The signatures that providers ask for.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::Sha256;

/// Keys may have any length, so that none is refused.
fn sha256(key: &[u8], text: &[u8]) -> Vec<u8> {
    Hmac::<Sha256>::new_from_slice(key)
        .map(|mac| mac.chain_update(text).finalize().into_bytes().to_vec())
        .unwrap_or_default()
}

/// `sha256=` and the HMAC-SHA256 of the body in lower-case hex (N1).
pub fn signature(secret: &[u8], body: &[u8]) -> String {
    let mut text = "sha256=".to_owned();
    for byte in sha256(secret, body) {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
    }
    text
}

/// HMAC-SHA256 in Base64.
pub(super) fn sha256_base64(key: &str, text: &str) -> String {
    STANDARD.encode(sha256(key.as_bytes(), text.as_bytes()))
}

/// HMAC-SHA1 in Base64: Aliyun's RPC interface, signature version 1.0, knows nothing else.
pub(super) fn sha1_base64(key: &str, text: &str) -> String {
    Hmac::<Sha1>::new_from_slice(key.as_bytes())
        .map(|mac| STANDARD.encode(mac.chain_update(text).finalize().into_bytes()))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
