//! Reading by layouts against reading in full.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::{Layouts, MISSES_MAX, STEPS_MAX};
use crate::event::Decoder;

const MAX_BYTES: usize = 65_536;

fn in_full(text: &str) -> String {
    format!("{:?}", Decoder::default().decode(text.as_bytes(), MAX_BYTES))
}

fn alike(layouts: &mut Layouts, text: &str) -> String {
    format!("{:?}", Decoder::default().decode_alike(layouts, text.as_bytes(), MAX_BYTES))
}

fn has_path(layouts: &Layouts, text: &str) -> bool {
    let scanner = crate::event::scan::Scanner::new(text).unwrap();
    layouts.read(&mut crate::event::decode::Members::new(scanner))
}

const ONE: &str = r#"{"id":"a","ts":1763769600000,"user":"u","kind":"issue","points":5}"#;

#[test]
fn a_record_like_one_before_is_read_by_its_layout() {
    let mut layouts = Layouts::default();
    assert!(!has_path(&layouts, ONE));
    for text in [
        ONE.to_owned(),
        ONE.replace('}', "}\n"),
        ONE.replace(',', ", "),
        ONE.replace(
            '}',
            r#","source":"s","device":null,"x":[1,{"y":2}],"attrs":{"tier":"gold","n":1}}"#,
        ),
        ONE.replace('}', r#","source":"s","attrs":{}}"#),
        ONE.replace('}', r#","attrs":{"tier":"gold"},"source":"s"}"#),
        ONE.replace("issue", "reverse").replace('}', r#","reverses":{"id":"b","kind":"issue"}}"#),
    ] {
        assert_eq!(alike(&mut layouts, &text), in_full(&text), "{text}");
        let other = text
            .replace(r#""u""#, r#""another \"user\"""#)
            .replace('5', "77")
            .replace("null", r#""d-1""#)
            .replace("gold", "silver");
        for text in [text, other] {
            assert!(has_path(&layouts, &text), "{text}");
            assert_eq!(alike(&mut layouts, &text), in_full(&text), "{text}");
        }
    }
}

/// Each differs in one place from a record whose layout is known.
#[test]
fn what_is_no_json_has_no_layout() {
    let mut layouts = Layouts::default();
    let known = ONE.replace('}', r#","x":1,"attrs":{"tier":"gold"}}"#);
    alike(&mut layouts, &known);
    assert!(has_path(&layouts, &known));
    for (from, to) in [
        ("}}", "}} x"),
        ("}}", "}"),
        ("}}", "}}}"),
        ("\"gold\"", "\"gold"),
        ("\"gold\"", "gold"),
        ("\"gold\"", "{\"a\":1,\"a\":2}"),
        ("\"x\":1", "\"x\":01"),
        ("\"x\":1", "\"x\":1,\"x\":2"),
        ("\"x\":1", "\"x\":\"\\ud800\""),
        ("\"x\":1", "\"user\":\"v\""),
        ("\"u\"", "\"\u{1}\""),
    ] {
        let text = known.replace(from, to);
        assert!(!has_path(&layouts, &text), "{text}");
        assert_eq!(alike(&mut layouts, &text), "Err(NotJson)", "{text}");
        assert_eq!(in_full(&text), "Err(NotJson)", "{text}");
    }
    // No object of attributes has no layout, so that one which is an object is not taken for it.
    for attrs in ["null", "7", "[]"] {
        let text = ONE.replace('}', &format!(",\"attrs\":{attrs}}}"));
        assert_eq!(alike(&mut layouts, &text), in_full(&text));
        assert!(!has_path(&layouts, &text), "{text}");
    }
    assert_eq!(alike(&mut layouts, &known), in_full(&known));
    assert!(alike(&mut layouts, &known).contains("gold"));
}

#[test]
fn layouts_are_bounded_and_given_up_for_others() {
    let mut layouts = Layouts::default();
    let odd = |at: u32| ONE.replace('}', &format!(",\"x{at}\":1}}"));
    let nests = |at: u32| {
        let (a, b, c) = (at & 7, at >> 3 & 7, at >> 6);
        ONE.replace('{', &format!("{{\"x{a}\":1,\"y{b}\":1,\"z{c}\":1,"))
    };
    for at in 0..MISSES_MAX / 2 {
        for text in [odd(at), nests(at)] {
            assert_eq!(alike(&mut layouts, &text), in_full(&text));
            assert!(layouts.steps.len() <= STEPS_MAX);
        }
    }
    // Steps are full of layouts that come no more: they make room.
    let wanted = ONE.replace("\"id\"", "\"wanted\":1,\"id\"");
    for _ in 0..=MISSES_MAX {
        alike(&mut layouts, &wanted);
    }
    assert!(has_path(&layouts, &wanted));
}

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,3})?",
        any::<String>().prop_map(|text| serde_json::Value::from(text).to_string()),
        "[a-z\"\\\\{}\\[\\],:0-9]{0,4}",
        Just(r#"{"tier":"gold"}"#.to_owned()),
        Just(r#"[1,"x"]"#.to_owned()),
    ]
}

proptest! {
    /// Records of a few keys, of which many are laid out alike, sound or not.
    #[test]
    fn layouts_change_no_event(
        records in proptest::collection::vec(
            (
                proptest::collection::vec((0..12_usize, value()), 0..4),
                proptest::collection::vec((0..3_usize, value()), 0..3),
                0..4_u8,
            ),
            1..40,
        ),
    ) {
        const NAMES: [&str; 12] = [
            "source", "device", "ip", "attrs", "reverses", "x", "longer-than-eight", "", "é",
            "sourc\\u0065", "points", "y",
        ];
        let mut layouts = Layouts::default();
        for (members, attrs, space) in records {
            let (comma, end) = [(",", "}"), (" ,", "}"), (",", " }"), (",", "} ")][space as usize];
            let mut text = ONE.trim_end_matches('}').replace(',', comma);
            for (name, value) in members {
                write!(text, "{comma}\"{}\":{value}", NAMES[name]).unwrap();
            }
            if !attrs.is_empty() {
                let attr = |(name, value): &(usize, String)| format!("\"a{name}\":{value}");
                let attrs: Vec<String> = attrs.iter().map(attr).collect();
                write!(text, "{comma}\"attrs\":{{{}}}", attrs.join(comma)).unwrap();
            }
            text.push_str(end);
            for _ in 0..2 {
                prop_assert_eq!(alike(&mut layouts, &text), in_full(&text), "{}", text);
            }
        }
    }
}
