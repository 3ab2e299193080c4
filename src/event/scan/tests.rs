//! The scanner's parts against plain loops over bytes.

use proptest::prelude::*;

use super::{NO_WORD, Scanner, Sort, Span, word};

fn scanner(text: &str) -> Scanner<'_> {
    Scanner::new(text).unwrap()
}

fn ends(byte: u8) -> bool {
    byte == b'"' || byte == b'\\' || byte < 0x20
}

/// Every place of every special byte, and of its neighbours, around the eight-byte steps.
#[test]
fn a_run_of_plain_bytes_ends_where_a_plain_loop_ends_it() {
    for size in 0..36 {
        for at in 0..=size {
            for byte in (0..0x80).map(char::from).chain(['é', '\u{80}', '\u{a2}', '😀']) {
                let text = format!("{}{byte}{}", "x".repeat(at), "!".repeat(size - at));
                let naive = text.bytes().position(ends).unwrap_or(text.len());
                let naive = u32::try_from(naive).unwrap();
                assert_eq!(scanner(&text).plain(0), naive, "{text:?}");
            }
        }
    }
}

#[test]
fn a_span_keeps_what_it_was_made_of() {
    let sorts = [
        Sort::Null,
        Sort::True,
        Sort::False,
        Sort::Integer,
        Sort::Decimal,
        Sort::Text,
        Sort::Escaped,
        Sort::Object,
        Sort::Array,
    ];
    for sort in sorts {
        for (from, to) in [(0, 0), (0, 7), (5, 6), (1 << 29, super::PLACE_MAX)] {
            let span = Span::new(sort, from, to);
            assert_eq!((span.sort(), span.begin(), span.last()), (sort, from, to));
        }
    }
    assert_eq!(Span::NULL.sort(), Sort::Null);
}

proptest! {
    #[test]
    fn plain_runs_of_any_text_end_alike(text in any::<String>(), mixed in r#"[a-é"\\\x00-\x1f]{0,40}"#) {
        for text in [text, mixed] {
            for from in 0..=text.len() {
                let naive = text.bytes().skip(from).position(ends).map_or(text.len(), |n| n + from);
                let got = scanner(&text).plain(u32::try_from(from).unwrap());
                prop_assert_eq!(got as usize, naive);
            }
        }
    }

    #[test]
    fn chunks_are_the_bytes_with_zeros_behind(text in any::<String>()) {
        for at in 0..text.len() + 9 {
            let mut bytes: Vec<u8> = text.bytes().skip(at).take(8).collect();
            bytes.resize(8, 0);
            let expected = u64::from_le_bytes(bytes.try_into().unwrap());
            prop_assert_eq!(scanner(&text).chunk(u32::try_from(at).unwrap()), expected);
        }
    }

    #[test]
    fn words_are_equal_for_equal_strings_only(a in "[ab]{0,9}", b in "[ab\0]{0,9}") {
        let (first, second) = (word(a.as_bytes()), word(b.as_bytes()));
        prop_assert_eq!(first == second && first != NO_WORD, a == b && a.len() <= 8);
    }

    /// Also where escapes split or end the string, and wherever the text is cut off.
    #[test]
    fn strings_say_what_serde_json_reads(text in any::<String>(), pad in 0..9_usize, cut in any::<bool>()) {
        let mut json = format!("{}{}", " ".repeat(pad), serde_json::Value::from(text.as_str()));
        if cut {
            json.pop();
        }
        let at = u32::try_from(pad).unwrap();
        let got = scanner(&json).quoted(at).map(|span| scanner(&json).string(span).into_owned());
        prop_assert_eq!(got.ok(), (!cut).then_some(text.clone()));
        if let Ok(span) = scanner(&json).quoted(at) {
            prop_assert_eq!(scanner(&json).word(span), word(text.as_bytes()));
        }
    }
}
