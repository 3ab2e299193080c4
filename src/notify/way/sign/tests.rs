//! Signatures against published vectors.

use super::{sha1_base64, sha256_base64, signature};

/// RFC 4231, test cases 2 and 6 (a key longer than a block).
#[test]
fn signs_as_the_rfc_says() {
    assert_eq!(
        signature(b"Jefe", b"what do ya want for nothing?"),
        "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    );
    assert_eq!(
        signature(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First"),
        "sha256=60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
    );
}

/// RFC 2202 and RFC 4231, test case 2 of each.
#[test]
fn signs_in_base64_too() {
    let (key, text) = ("Jefe", "what do ya want for nothing?");
    assert_eq!(sha1_base64(key, text), "7/zfauXrL6LSdBbV8YTfnCWafHk=");
    assert_eq!(sha256_base64(key, text), "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
}
