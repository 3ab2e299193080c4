//! What is written of a notice is found again, by its lines, and nothing else is.

use super::{IDS_MAX, KEPT_MAX, Told, records};
use crate::notify::notice::{HELD, LINES, Notice};

fn notice(receiver: &str, of: &[(u64, &str)]) -> Notice {
    Notice {
        receiver: receiver.to_owned(),
        tickets: (1..).zip(of).map(|(n, (kind, _))| n * LINES + kind).collect(),
        ids: of.iter().map(|(_, id)| (*id).to_owned()).collect(),
        ..Notice::default()
    }
}

fn read_back(notice: &Notice) -> Told {
    let mut told = Told::default();
    for record in records(notice) {
        told.take(record.as_bytes());
    }
    told
}

#[test]
fn each_line_is_told_by_itself_but_a_notice_and_what_is_held_of_it_are_one() {
    let told = read_back(&notice("chat", &[(0, "a"), (HELD, "b"), (HELD + 2, "c")]));
    for (id, lines) in [("a", "chat ~chat"), ("b", "chat ~chat"), ("c", "^2 chat")] {
        for line in ["chat", "~chat", "^1 chat", "^2 chat", "hook"] {
            let is_told = lines.split_whitespace().collect::<Vec<_>>().join(" ").contains(line)
                && (line.starts_with('^') == lines.starts_with('^'));
            assert_eq!(told.has(line, id), is_told, "{line} of {id}");
        }
    }
    assert!(!told.has("chat", "d"));
}

#[test]
fn a_notice_of_very_many_is_several_records() {
    let many: Vec<String> = (0..=IDS_MAX * 2).map(|n| format!("{n:032x}")).collect();
    let of: Vec<(u64, &str)> = many.iter().map(|id| (0, id.as_str())).collect();
    let notice = notice("chat", &of);
    assert_eq!(records(&notice).len(), 3);
    assert!(records(&notice).iter().all(|record| record.len() < 500_000));
    let told = read_back(&notice);
    assert!(many.iter().all(|id| told.has("chat", id)));
    assert_eq!(records(&Notice::default()).len(), 0);
}

#[test]
fn records_of_another_hand_say_nothing_and_the_oldest_are_forgotten() {
    let mut told = Told::default();
    for text in ["", "{}", r#"{"v":2,"receiver":"a","told":{"0":["x"]},"to":{}}"#] {
        told.take(text.as_bytes());
    }
    assert!(told.is_empty());
    for n in 0..KEPT_MAX {
        let text = format!(r#"{{"v":1,"receiver":"a","told":{{"2":["{n}"]}},"to":{{"0":{n}}}}}"#);
        told.take(text.as_bytes());
    }
    told.take(br#"{"v":1,"receiver":"a","told":{"2":["new"]},"to":{"0":7}}"#);
    assert!(!told.has("^1 a", "0") && told.has("^1 a", "1") && told.has("^1 a", "new"));
    assert_eq!((told.reach(0), told.reach(1)), (i64::try_from(KEPT_MAX - 1).ok(), None));
}
