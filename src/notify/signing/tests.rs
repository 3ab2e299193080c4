//! Only an unaltered link of our own works, and not for ever.

use super::{Signed, Signer};
use crate::notify::Secret;

fn read(path: &str) -> (Signed, String) {
    let url = url::Url::parse(&format!("http://x{path}")).unwrap();
    let value = |name: &str| {
        url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned()).unwrap()
    };
    let number = |name: &str| value(name).parse().unwrap();
    let signed =
        Signed { group: value("group"), through: number("through"), until: number("until") };
    (signed, value("signature"))
}

#[test]
fn an_altered_an_old_and_a_foreign_link_are_refused() {
    let signer = Signer::new(Secret::new("s3cret"));
    let (signed, signature) = read(&signer.path("0123456789abcdef", 1_000));
    assert!(signer.admits(&signed, &signature, 1_000));
    assert!(signer.admits(&signed, &signature, signed.until - 1));
    assert!(!signer.admits(&signed, &signature, signed.until));
    let altered = [
        Signed { group: "0123456789abcdee".into(), ..signed.clone() },
        Signed { through: 1_001, ..signed.clone() },
        Signed { until: signed.until + 1, ..signed.clone() },
    ];
    for altered in altered {
        assert!(!signer.admits(&altered, &signature, 1_000), "{altered:?}");
    }
    let other = signature.replace(['0', '1'], "2");
    let short = signature.chars().take(62).collect::<String>();
    for wrong in ["", "zz", other.as_str(), short.as_str(), &format!("{signature}00")] {
        assert!(!signer.admits(&signed, wrong, 1_000), "{wrong}");
    }
    assert!(!Signer::new(Secret::new("other")).admits(&signed, &signature, 1_000));
}
