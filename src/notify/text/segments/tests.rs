//! Sizes at their edges, and cuts.

use super::{Encoding, cut, segments};

#[test]
fn counts_as_networks_do() {
    let rows: [(String, Encoding, usize, usize); 11] = [
        (String::new(), Encoding::Gsm7, 0, 1),
        ("a".repeat(160), Encoding::Gsm7, 160, 1),
        ("a".repeat(161), Encoding::Gsm7, 161, 2),
        ("a".repeat(306), Encoding::Gsm7, 306, 2),
        ("a".repeat(307), Encoding::Gsm7, 307, 3),
        // Of the extension: two septets each.
        ("€".repeat(80), Encoding::Gsm7, 160, 1),
        ("[critical] a_b@c é".to_owned(), Encoding::Gsm7, 20, 1),
        // One sign that is not in the set makes all of them wide.
        (format!("…{}", "a".repeat(69)), Encoding::Ucs2, 70, 1),
        ("长".repeat(71), Encoding::Ucs2, 71, 2),
        ("😀".repeat(35), Encoding::Ucs2, 70, 1),
        // 67 units a part: the 34th pair is not torn apart.
        ("😀".repeat(67), Encoding::Ucs2, 134, 3),
    ];
    for (text, encoding, units, parts) in rows {
        let size = segments(&text);
        assert_eq!((size.encoding, size.units, size.parts), (encoding, units, parts), "{text}");
    }
}

/// An escaped sign is not torn apart either: 153 septets a part, of 152 with these.
#[test]
fn a_sign_of_two_septets_stays_whole() {
    assert_eq!(segments(&"€".repeat(152)).parts, 2);
    assert_eq!(segments(&"€".repeat(153)).parts, 3);
}

#[test]
fn a_cut_says_how_much_is_missing() {
    assert_eq!(cut("short", 1), "short");
    let words = "word ".repeat(60);
    let text = cut(words.trim_end(), 1);
    assert!(segments(&text).parts == 1 && segments(&text).units > 130, "{text}");
    let (head, missing) = text.split_once("... (+").unwrap();
    let missing: usize = missing.trim_end_matches(')').parse().unwrap();
    assert_eq!(head.chars().count() + missing, 299);
    assert!(head.ends_with("word"), "{head}");
    // Nowhere to cut well: anywhere.
    let text = cut(&"长".repeat(400), 3);
    assert_eq!(segments(&text).parts, 3);
    assert!(text.starts_with("长长") && text.ends_with(')'), "{text}");
}
