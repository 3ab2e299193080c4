//! Against a signature that another program has made.

use url::Url;

use super::sign;

/// `base64(hmac(secret, f"{timestamp}\n{secret}", sha256))` of Python, as DingTalk documents it.
#[test]
fn signs_the_address_as_documented() {
    let mut url = Url::parse("https://oapi.dingtalk.com/robot/send?access_token=x").unwrap();
    sign(&mut url, 1_763_779_200_123, "SEC5a3ecf88f2b3eb50db30ecfc00f53033");
    let signed = "p%2Bw2R4ZoMvoFgVvBbSM42AlG6%2Fh2J3IFnC7RNalyrlI%3D";
    let query = format!("access_token=x&timestamp=1763779200123&sign={signed}");
    assert_eq!(url.query(), Some(query.as_str()));
}
