//! Rows of E1–E3, and the scanner against `serde_json`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use proptest::prelude::*;

use super::scan::Scanner;
use super::{AttrValue, Canary, Decoder, Event, EventTime, Kind, Reason, Reverses};

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

#[test]
fn times_are_rfc_3339_and_no_other_notation() {
    let ts = |ts: &str| {
        let text = format!(r#"{{"id":"a","ts":"{ts}","user":"u","kind":"issue","points":5}}"#);
        Decoder::default().decode(text.as_bytes(), 65_536).map(|event| event.ts.0).ok()
    };
    assert_eq!(ts("2025-11-22T00:00:00Z"), Some(1_763_769_600_000));
    assert_eq!(ts("2025-11-22t00:00:00.5z"), Some(1_763_769_600_500));
    assert_eq!(ts("2025-11-22T00:00:00-00:00"), Some(1_763_769_600_000));
    assert_eq!(ts("2025-11-22T05:30:00.000999+05:30"), Some(1_763_769_600_000));
    assert_eq!(ts("2025-11-22T00:00:00.1239999999999999Z"), Some(1_763_769_600_123));
    for other in [
        "20251122T000000Z",
        "2025-11-22T00Z",
        "2025-11-22T00:00Z",
        "2025-11-22T00:00:00,5Z",
        "2025-11-22T00:00:00.Z",
        "2025-11-22T00:00:00+08",
        "2025-11-22T00:00:00+0800",
        "2025-11-22T00:00:00+08:00:00",
        "2025-11-22T00:00:00Z[UTC]",
        "2025-11-22 00:00:00Z",
        "2025-11-22T00:00:00",
        "+002025-11-22T00:00:00Z",
        "2025-02-29T00:00:00Z",
    ] {
        assert_eq!(ts(other), None, "{other}");
    }
}

/// A name that only its escape tells from ours is not ours, and one that only looks other is.
#[test]
fn names_are_compared_by_what_they_say() {
    check(r#","id\u0000":7,"sourc\u0065":"s","source\u0000":7,"":7,"x":7"#, Ok(5));
    check(r#","sourc\u0065":7"#, Err(Reason::Bad("source")));
    check(r#","\u0069d":"b""#, Err(Reason::NotJson));
    check(r#","":1,"":2"#, Err(Reason::NotJson));
    check(r#","reversesx":7,"ip4":7,"sour":7,"sourcesource":7"#, Ok(5));
    let kind = |kind: &str| {
        let text =
            format!(r#"{{"id":"a","ts":1763769600000,"user":"u","kind":{kind},"points":5}}"#);
        Decoder::default().decode(text.as_bytes(), 65_536).map(|event| event.kind)
    };
    assert_eq!(kind(r#""iss\u0075e""#), Ok(Kind::Issue));
    for other in [r#""issue\u0000""#, r#""issues""#, r#""""#, "true", r#""expireexpire""#] {
        assert_eq!(kind(other), Err(Reason::Bad("kind")), "{other}");
    }
}

#[test]
fn what_nests_to_the_limit_is_found_by_mapping() {
    let fields = BTreeMap::from([("user".to_owned(), "/u/v".to_owned())]);
    let decoder = Decoder::new(&fields, &BTreeMap::new()).unwrap();
    let deep = format!("{}{}", "[".repeat(63), "]".repeat(63));
    let text = format!(
        r#"{{"id":"a","ts":1763769600000,"kind":"issue","points":5,"x":{deep},"u":{{"v":"u"}}}}"#
    );
    assert!(decoder.decode(text.as_bytes(), 65_536).is_ok());
}

#[test]
fn pointers_follow_rfc_6901() {
    let user = |pointer: &str| {
        let fields = BTreeMap::from([("user".to_owned(), pointer.to_owned())]);
        let text = r#"{"id":"a","ts":1763769600000,"kind":"issue","points":5,"u":["x","y"]}"#;
        let decoder = Decoder::new(&fields, &BTreeMap::new()).map_err(|fault| fault.to_string())?;
        Ok(decoder.decode(text.as_bytes(), 65_536).map(|event| event.user.into_owned()).ok())
    };
    assert_eq!(user("/u/1"), Ok(Some("y".to_owned())));
    assert_eq!(user("/u/01"), Ok(None));
    assert_eq!(user("/u/+1"), Ok(None));
    assert_eq!(user("/u/-"), Ok(None));
    let fault: Result<Option<String>, String> = user("/u~2");
    assert!(fault.unwrap_err().contains("`~0` and `~1`"));
}

fn text(bytes_max: usize) -> impl Strategy<Value = Cow<'static, str>> {
    any::<String>().prop_map(move |mut text| {
        text.truncate(text.floor_char_boundary(bytes_max - 1));
        text.push('x');
        Cow::Owned(text)
    })
}

fn attr() -> impl Strategy<Value = AttrValue<'static>> {
    prop_oneof![
        text(256).prop_map(AttrValue::Text),
        any::<i64>().prop_map(AttrValue::Integer),
        proptest::num::f64::NORMAL.prop_map(AttrValue::Float),
        any::<bool>().prop_map(AttrValue::Bool),
    ]
}

fn event() -> impl Strategy<Value = Event<'static>> {
    let time = || (EventTime::MIN.0..=EventTime::MAX.0).prop_map(EventTime);
    let kind = || proptest::sample::select(Kind::ALL.to_vec());
    let original = (text(128), proptest::option::of(time()), kind(), any::<bool>())
        .prop_map(|(id, ts, kind, partial)| Reverses { id, ts, kind, partial });
    let optional = || proptest::option::of(text(256));
    (
        (text(128), time(), text(128), kind(), 0..=1_000_000_000_000_i64, any::<bool>()),
        (optional(), optional(), optional(), proptest::option::of(original)),
        proptest::collection::btree_map(text(20), attr(), 0..6),
    )
        .prop_map(
            |((id, ts, user, kind, size, minus), (source, device, ip, original), attrs)| {
                let reverses = original.filter(|_| kind == Kind::Reverse).map(Box::new);
                let signed = kind == Kind::Adjust
                    || reverses.as_ref().is_some_and(|reverses| reverses.kind == Kind::Adjust);
                let points = if signed && minus { -size } else { size };
                let attrs = attrs.into_iter().collect();
                Event { id, ts, user, kind, points, source, device, ip, reverses, attrs }
            },
        )
}

fn is_object(text: &str) -> bool {
    Scanner::new(text).is_ok_and(|scanner| scanner.whole(|_, at| scanner.value(at, 0)).is_ok())
}

/// Whether `serde_json` takes the text as an object. It differs by design in three ways: it takes
/// duplicate keys, refuses numbers beyond a double, and allows twice the depth.
fn agrees(bytes: &[u8]) -> Result<(), TestCaseError> {
    let theirs = serde_json::from_slice::<serde_json::Value>(bytes);
    let text = std::str::from_utf8(bytes).ok();
    let ours = text.is_some_and(is_object);
    match theirs {
        Ok(value) if ours => prop_assert!(value.is_object()),
        Err(fault) if ours => prop_assert!(fault.to_string().contains("out of range")),
        Ok(value) if value.is_object() => {
            // Written again without its repeats, what was refused for them is taken.
            let again = value.to_string();
            prop_assert!(is_object(&again), "{again}");
            prop_assert!(again.matches(':').count() < text.unwrap_or("").matches(':').count());
        }
        _ => {}
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_scanner_takes_what_serde_json_takes(
        text in r#"[\[\]{}",:0-9eE+.\\u\-a-dtrulfsn ]{0,24}"#,
    ) {
        agrees(text.as_bytes())?;
        agrees(format!("{{\"x\":{text}}}").as_bytes())?;
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        agrees(&bytes)?;
        drop(Decoder::default().decode(&bytes, 65_536));
    }

    #[test]
    fn an_event_comes_back_as_it_was_written(event in event()) {
        let text = event.to_json();
        let decoded = Decoder::default().decode(text.as_bytes(), 65_536);
        // `SmallVec` fixes an event's lifetime, so the two cannot meet in one `==`.
        prop_assert_eq!(format!("{:?}", decoded), format!("Ok({:?})", event));
    }

    #[test]
    fn a_mutated_event_is_judged_as_serde_json_judges_it(
        event in event(),
        edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut bytes = event.to_json().into_bytes();
        for (at, byte, edit) in edits {
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        agrees(&bytes)?;
        drop(Decoder::default().decode(&bytes, 65_536));
    }
}

#[test]
fn a_canary_is_no_event_and_nothing_else_is_a_canary() {
    let canary = Canary::new("host-a-7", "host-a", EventTime(1_763_769_600_000));
    let value = canary.encode();
    assert_eq!(Canary::read(&value), Some(canary.clone()));
    // By its header or its value, others can tell.
    let written =
        r#"{"tidegate":"canary","v":1,"id":"host-a-7","instance":"host-a","ts":1763769600000}"#;
    assert_eq!(String::from_utf8_lossy(&value), written);
    // Whatever an event is mapped to, it is none.
    let pointer = |at: &str| Some(at.to_owned());
    let fields = [("id", "/id"), ("ts", "/ts"), ("user", "/instance"), ("kind", "/tidegate")];
    let fields = fields.map(|(name, at)| (name.to_owned(), pointer(at).unwrap()));
    let kinds = BTreeMap::from([("EARN".to_owned(), "issue".to_owned())]);
    for decoder in [Decoder::default(), Decoder::new(&fields.into(), &kinds).unwrap()] {
        assert!(decoder.decode(&value, 65_536).is_err());
    }
    let other = |from: &str, to: &str| written.replace(from, to);
    for text in [
        other("\"v\":1", "\"v\":2"),
        other("host-a-7", ""),
        other("\"instance\":\"host-a\",", ""),
        other("1763769600000", "5"),
        other("}", ",\"more\":1}"),
        other("canary", "bird"),
        other("{", "{ "),
        format!("{GOOD}}}"),
    ] {
        assert_eq!(Canary::read(text.as_bytes()), None, "{text}");
    }
}
