//! Against a signature that another program has made.

use super::sign;

/// `base64(hmac(f"{timestamp}\n{secret}", "", sha256))` of Python, as Feishu documents it.
#[test]
fn signs_nothing_under_the_timestamp_and_the_secret() {
    assert_eq!(
        sign(1_763_779_200, "nIMtb7r3N9pkXyXdtAbx6e"),
        "EktMP02niuYAttKVBsNjlGL5q0CHfORJRYminAPOr68="
    );
}
