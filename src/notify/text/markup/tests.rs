//! Marks of others mean nothing.

use super::{Dialect, json, tame};
use crate::config::percent;

const EVIL: &str =
    "[x](http://e) <at user_id=\"all\"> <!channel> *b* _i_ u_1 `c` ~s~ # h | ![p](u)";

#[test]
fn no_mark_keeps_its_meaning() {
    let wide = Dialect::Markdown.escape(EVIL);
    assert_eq!(
        wide,
        "［x］(http://e) ＜at user_id=\"all\"＞ ＜！channel＞ ＊b＊ ＿i＿ u_1 ｀c｀ ～s～ ＃ h ｜ ！［p］(u)"
    );
    let slack = Dialect::Slack.escape("<!channel> & *b* u_1");
    assert_eq!(slack, "&lt;!channel&gt; &amp; ＊b＊ u_1");
    let feishu = Dialect::Feishu.escape(EVIL);
    assert!(!feishu.contains(['<', '>', '[', ']', '(', ')', '*', '`', '~', '"']), "{feishu}");
    assert!(feishu.starts_with("&#91;x&#93;&#40;http&#58;//e&#41; &#60;at "), "{feishu}");
}

#[test]
fn bold_and_links_are_of_the_dialect() {
    assert_eq!(Dialect::Markdown.bold("u-1***"), "**u-1＊＊＊**");
    assert_eq!(Dialect::Slack.bold("u-1***"), "*u-1＊＊＊*");
    assert_eq!(Dialect::Feishu.bold("u-1***"), "**u&#45;1&#42;&#42;&#42;**");
    assert_eq!(Dialect::Slack.link("https://h/?a=1&b=2", "Why|x"), "<https://h/?a=1&b=2|Why|x>");
    assert_eq!(Dialect::Markdown.link("https://h", "a]b"), "[a］b](https://h)");
}

#[test]
fn addresses_and_json_keep_their_form() {
    assert_eq!(percent("a b&c=d/é*()"), "a%20b%26c%3Dd%2F%C3%A9%2A%28%29");
    assert_eq!(json("a\"b\\\n"), "a\\\"b\\\\\\n");
}

#[test]
fn what_is_tamed_is_one_visible_line() {
    assert_eq!(tame("a\r\nBcc: x\u{0}\u{1b}[1m\u{2028}b"), "a Bcc: x [1m b");
    // Turned writing, and nothing at all between two letters.
    assert_eq!(tame("\u{202e}gpj.exe a\u{200b}b \u{2066}c\u{2069}"), "gpj.exe ab c");
}
