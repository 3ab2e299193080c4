//! Rows of E1–E3, and the scanner against `serde_json`.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{AttrValue, Decoder, Kind, Reason};

const GOOD: &str = r#"{"id":"a","ts":1763769600000,"user":"u","kind":"issue","points":5"#;

/// The reason for `GOOD` with `more` members, or its points.
fn check(more: &str, expected: Result<i64, Reason>) {
    let text = format!("{GOOD}{more}}}");
    let got = Decoder::default().decode(text.as_bytes(), 65_536).map(|event| event.points);
    assert_eq!(got, expected, "{text}");
}

#[test]
fn optional_members_are_held_to_their_limits() {
    check("", Ok(5));
    check(r#","x":{"y":[1,{"z":null}]}"#, Ok(5));
    check(r#","source":null,"device":"","ip":"::1""#, Ok(5));
    check(&format!(r#","source":"{}""#, "s".repeat(257)), Err(Reason::Bad("source")));
    check(r#","device":7"#, Err(Reason::Bad("device")));
    check(r#","attrs":{"a":[1]}"#, Err(Reason::Bad("attrs")));
    check(r#","attrs":[]"#, Err(Reason::Bad("attrs")));
    check(r#","reverses":[7]"#, Ok(5));
    let many: Vec<String> = (0..33).map(|at| format!(r#""k{at}":1"#)).collect();
    check(&format!(r#","attrs":{{{}}}"#, many.join(",")), Err(Reason::Bad("attrs")));
}

#[test]
fn faults_of_json_count_wherever_they_stand() {
    for more in [
        r#","id":"b""#,
        r#","x":{"a":1,"a":2}"#,
        r#","x":{"a":1,"\u0061":2}"#,
        r#","x":"\ud800""#,
        r#","x":"\ud800\u0041""#,
        r#","x":"\udc00""#,
        r#","x":[1,]"#,
        r#","x":01"#,
        r#","x":1."#,
        ",\"x\":\"\u{1}\"",
        ",",
        r"} ",
    ] {
        check(more, Err(Reason::NotJson));
    }
    check(r#","x":"\ud83d\ude00""#, Ok(5));
    check(&format!(r#","x":{}{}"#, "[".repeat(63), "]".repeat(63)), Ok(5));
    check(&format!(r#","x":{}{}"#, "[".repeat(64), "]".repeat(64)), Err(Reason::NotJson));
}

#[test]
fn required_members_are_checked_one_by_one() {
    let row = |member: &str, value: &str, expected: Option<Reason>| {
        let mut members = BTreeMap::from([
            ("id", "\"a\""),
            ("ts", "1763769600000"),
            ("user", "\"u\""),
            ("kind", "\"issue\""),
            ("points", "5"),
        ]);
        members.insert(member, value);
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let text = format!("{{{}}}", members.join(","));
        let got = Decoder::default().decode(text.as_bytes(), 65_536).err();
        assert_eq!(got, expected, "{text}");
    };
    for value in ["5.0", "1e2", "-1", "1000000000001", "\"5\"", "null", "99999999999999999999"] {
        row("points", value, Some(Reason::Bad("points")));
    }
    row("points", "1000000000000", None);
    row("points", "-0", None);
    for value in ["1763769600000.0", "1.7e12", "0", "\"2025-11-22\"", "\"x\"", "null"] {
        row("ts", value, Some(Reason::Bad("ts")));
    }
    row("ts", "\"2025-11-22T10:00:00.123999+08:00\"", None);
    row("ts", "946684800000", None);
    row("ts", "946684799999", Some(Reason::Bad("ts")));
    row("kind", "\"Issue\"", Some(Reason::Bad("kind")));
    row("user", "\"\"", Some(Reason::Bad("user")));
    let decode = |text: &[u8]| Decoder::default().decode(text, 10).err();
    assert_eq!(decode(b"[]"), Some(Reason::NotJson));
    assert_eq!(decode(b"\xff"), Some(Reason::NotJson));
    assert_eq!(decode(b"12345678901"), Some(Reason::TooLarge));
}

#[test]
fn a_reversal_of_an_adjustment_may_be_negative() {
    let decode = |kind: &str| {
        let text = format!(
            r#"{{"id":"a","ts":1763769600000,"user":"u","kind":"reverse","points":-5,
                "reverses":{{"id":"b","ts":"2025-11-21T00:00:00Z","kind":"{kind}","partial":true}}}}"#
        );
        Decoder::default().decode(text.as_bytes(), 65_536).map(|event| {
            event.reverses.is_some_and(|reverses| reverses.partial && reverses.ts.is_some())
        })
    };
    assert_eq!(decode("adjust"), Ok(true));
    assert_eq!(decode("issue"), Err(Reason::Bad("points")));
    assert_eq!(decode("gift"), Err(Reason::Bad("reverses")));
}

#[test]
fn other_shapes_are_mapped() {
    let map = |rows: &[(&str, &str)]| -> BTreeMap<String, String> {
        rows.iter().map(|(name, to)| ((*name).to_owned(), (*to).to_owned())).collect()
    };
    let fields = map(&[("user", "/member/id"), ("points", "/lines/1/n"), ("attrs.tier", "/t~1r")]);
    let decoder = Decoder::new(&fields, &map(&[("EARN", "issue")])).unwrap();
    let text = r#"{"id":"a","ts":1763769600000,"kind":"EARN","member":{"id":"u9"},
        "lines":[{"n":1},{"n":7}],"t/r":"gold","attrs":{"x":true,"tier":"old"}}"#;
    let event = decoder.decode(text.as_bytes(), 65_536).unwrap();
    assert_eq!((&*event.user, event.kind, event.points), ("u9", Kind::Issue, 7));
    assert_eq!(event.attr("tier"), Some(&AttrValue::Text("gold".into())));
    assert_eq!(event.attr("x"), Some(&AttrValue::Bool(true)));
    let fault = Decoder::new(&map(&[("usr", "/x")]), &map(&[])).unwrap_err();
    assert!(fault.to_string().starts_with("input.fields: `usr` is not a field"));
    assert!(Decoder::new(&map(&[("user", "x")]), &map(&[])).is_err());
    assert!(Decoder::new(&map(&[]), &map(&[("EARN", "earn")])).is_err());
}

proptest! {
    #[test]
    fn the_scanner_takes_what_serde_json_takes(text in r#"[\[\]{}",:0-9eE+.\\u\-a-dtrulfsn ]{0,24}"#) {
        let text = format!("{{\"x\":{text}}}");
        let expected = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        let got = super::scan::object(&text, |_, _| {}).is_ok();
        // Duplicate keys, and numbers beyond a double, are where the two differ by design.
        if expected != got {
            prop_assert!(text.contains('e') || text.contains('E') || text.matches(':').count() > 2);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(Decoder::default().decode(&bytes, 65_536));
    }
}
