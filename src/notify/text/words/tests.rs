//! Phrases in both languages.

use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{Words, number};
use crate::notify::receivers::Language;

fn words(language: Language) -> Words {
    Words { language, zone: TimeZone::UTC }
}

#[test]
fn numbers_are_grouped() {
    let rows: [(Value, &str); 8] = [
        (json!(0), "0"),
        (json!(999), "999"),
        (json!(5_120), "5,120"),
        (json!(-1_000_000), "-1,000,000"),
        (json!(1234.5), "1,234.5"),
        (json!(0.346), "0.35"),
        (json!(4.0), "4"),
        (json!("all"), "all"),
    ];
    for (value, told) in rows {
        assert_eq!(number(&value), told);
    }
}

#[test]
fn windows_are_named() {
    let rows = [
        ("day 2025-11-22 Asia/Shanghai", "2025-11-22 当日", true),
        ("week 2025-W07 Asia/Shanghai", "2025 年第 7 周", true),
        ("month 2025-03 Asia/Shanghai", "2025 年 3 月", true),
        ("quarter 2025-Q4 Asia/Shanghai", "2025 年第 4 季度", true),
        ("year 2025 Asia/Shanghai", "2025 年", true),
        ("10m", "10 分钟", false),
        ("500ms", "500 毫秒", false),
    ];
    for (label, told, calendar) in rows {
        assert_eq!(words(Language::Zh).window(label), (told.to_owned(), calendar));
        assert_eq!(words(Language::En).window(label), (label.to_owned(), calendar));
    }
}

#[test]
fn actions_are_told_with_local_instants() {
    let zone = TimeZone::get("Asia/Shanghai").unwrap();
    let rows = [
        (
            "freeze issue until 2025-11-22T16:00:00Z",
            "freeze issue until 2025-11-23 00:00 +08:00",
            "冻结发放至 2025-11-23 00:00 +08:00",
        ),
        ("freeze account forever", "freeze account for ever", "冻结账户（永久）"),
        ("review", "for review", "转人工复核"),
        (
            "review redeem until 2025-11-22T16:00:01Z",
            "held for review: freeze redeem until 2025-11-23 00:00:01 +08:00",
            "待复核：冻结兑换至 2025-11-23 00:00:01 +08:00",
        ),
        ("unfreeze activity", "unfreeze activity", "解冻活动资格"),
        ("deduct all", "deduct all points", "扣除全部积分"),
        ("deduct 1200", "deduct 1,200 points", "扣除 1,200 积分"),
        ("sing a song", "sing a song", "sing a song"),
    ];
    for (line, en, zh) in rows {
        assert_eq!(words(Language::En).action(line, &zone), en);
        assert_eq!(words(Language::Zh).action(line, &zone), zh);
    }
}

#[test]
fn keys_and_measures_have_names() {
    let key = json!({ "user": "u-1***", "attrs.shop": "s-1***" });
    let key = key.as_object().unwrap();
    assert_eq!(words(Language::En).who(key), "user u-1***, shop s-1***");
    assert_eq!(words(Language::Zh).who(key), "用户 u-1***，shop s-1***");
    let zh = |measure| words(Language::Zh).measure(measure);
    assert_eq!(zh("distinct(device)"), "不同设备数");
    assert_eq!(zh("sum(points) / count"), "积分合计 / 次数");
}
