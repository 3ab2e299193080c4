//! When the files of a host are published.

use super::{Due, due};
use crate::stream::kafka::SetRecord;

fn history(sets: &[&str]) -> Vec<SetRecord> {
    let record = |set: &&str| SetRecord {
        set: (*set).to_owned(),
        ruleset: (*set).to_owned(),
        actor: "instance a".to_owned(),
    };
    sets.iter().map(record).collect()
}

#[test]
fn news_are_published_and_what_was_replaced_does_not_come_back_by_itself() {
    // What was published, what the files say, at a start, after an edit.
    let rows: [(&[&str], &str, Due, Due); 6] = [
        (&[], "a", Due::Begin, Due::Begin),
        (&["a"], "a", Due::Nothing, Due::Nothing),
        (&["a"], "b", Due::Publish, Due::Publish),
        (&["a", "b"], "a", Due::Tell, Due::Publish),
        (&["a", "b"], "c", Due::Publish, Due::Publish),
        // Compaction has taken the first `a`.
        (&["b", "a"], "b", Due::Tell, Due::Publish),
    ];
    for (sets, own, at_start, after_edit) in rows {
        let history = history(sets);
        assert_eq!(due(&history, own, false), at_start, "{sets:?} {own}");
        assert_eq!(due(&history, own, true), after_edit, "{sets:?} {own}");
    }
}

#[test]
fn two_hosts_with_different_files_come_to_rest() {
    let mut sets = vec!["old"];
    for _ in 0..5 {
        for own in ["a", "b"] {
            if due(&history(&sets), own, false) == Due::Publish {
                sets.push(own);
            }
        }
    }
    assert_eq!(sets, ["old", "a", "b"]);
}
