//! `tidegate rules case`: a reviewer's "this was none" becomes a test with one command.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;

const RULES: &str = "version: 1
timezone: Asia/Shanghai
lists:
  staff: { field: user, file: staff.csv }
rules:
  - { name: burst, on: issue, measure: count, window: 10m, above: 2, then: [{ freeze: { for: 1d } }] }
  - { name: big, on: issue, where: { points: { gte: 100 } } }
  - { name: inside, on: redeem, where: { user: { in: staff } } }
  - { name: shared, on: issue, per: device, measure: distinct(user), window: 1h, above: 1 }
";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("rules.yaml", RULES);
    write("staff.csv", "value\nwang\n");
    let mut events = String::new();
    for (id, minute, user, kind, points) in [
        ("1", 0, "zhang", "issue", 500),
        ("2", 1, "li", "issue", 1),
        ("3", 2, "zhang", "issue", 1),
        ("4", 3, "zhang", "issue", 1),
        ("5", 4, "wang", "redeem", 1),
        ("6", 5, "zhang", "issue", 700),
    ] {
        let event = json!({ "id": id, "ts": 1_763_769_600_000_i64 + minute * 60_000, "user": user,
            "kind": kind, "points": points, "device": "phone", "ip": "10.0.0.9",
            "attrs": { "mail": format!("{user}@example.com") } });
        events.push_str(&event.to_string());
        events.push('\n');
    }
    let file = fs::File::create(folder.path().join("events.jsonl.gz")).unwrap();
    let mut file = GzEncoder::new(file, Compression::fast());
    file.write_all(events.as_bytes()).unwrap();
    file.finish().unwrap();
    folder
}

fn tidegate(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("rules").args(arguments).current_dir(folder).output().unwrap()
}

/// `rules case` over the recorded events; the exit status and what it says.
fn case(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let common = ["case", "--input", "events.jsonl.gz", "--file", "fp.test.yaml"];
    let out = tidegate(folder, &[&common[..], arguments].concat());
    let said = [out.stdout, out.stderr].concat();
    (out.status.code(), String::from_utf8(said).unwrap())
}

#[test]
fn a_false_positive_fails_as_a_test_until_the_rule_is_mended() {
    let folder = folder();
    let at = folder.path();
    let arguments = ["--user", "zhang", "--rule", "burst", "--event", "4", "--name", "typed fast"];
    let (status, said) = case(at, &arguments);
    let expected = "fp.test.yaml:2: typed fast: 3 events
fails until the rules are mended:
       event 0: big level 0
     + event 2: burst level 0: user u1: count 3 > 2 in 10m
";
    assert_eq!((status, said.as_str()), (Some(0), expected));
    let text = fs::read_to_string(at.join("fp.test.yaml")).unwrap();
    let expected = "tests:
  - name: typed fast
    events:
      - { ts: \"2025-11-22T08:00:00+08:00\", user: u1, kind: issue, points: 500, device: d1, ip: \"192.0.2.1\" }
      - { ts: \"2025-11-22T08:02:00+08:00\", user: u1, kind: issue, points: 1, device: d1, ip: \"192.0.2.1\" }
      - { ts: \"2025-11-22T08:03:00+08:00\", user: u1, kind: issue, points: 1, device: d1, ip: \"192.0.2.1\" }
    expect:
      - { event: 0, rule: big, level: 0 }
";
    assert_eq!(text, expected);
    assert_eq!(tidegate(at, &["test", "."]).status.code(), Some(1));
    fs::write(at.join("rules.yaml"), RULES.replace("above: 2", "above: 3")).unwrap();
    assert_eq!(tidegate(at, &["test", "."]).status.code(), Some(0));
    // What has been mended is said to be.
    let (status, said) = case(at, &arguments);
    assert_eq!(status, Some(0));
    assert!(said.ends_with("passes: burst does not fire on these events\n"), "{said}");
    assert_eq!(tidegate(at, &["test", "."]).status.code(), Some(0));
}

#[test]
fn what_the_rules_do_is_held_fast() {
    let folder = folder();
    let arguments =
        ["--key", "device=phone", "--expect", "as-is", "--rules", "rules.yaml", "--reveal"];
    let (status, said) = case(folder.path(), &arguments);
    assert_eq!(
        (status, said.as_str()),
        (Some(0), "fp.test.yaml:3: as recorded: 6 events\npasses\n")
    );
    let text = fs::read_to_string(folder.path().join("fp.test.yaml")).unwrap();
    assert!(text.starts_with("rules: rules.yaml\ntests:\n"), "{text}");
    assert!(text.contains("user: wang") && text.contains("mail: wang@example.com"), "{text}");
    assert!(text.contains("- { event: 1, rule: shared, level: 0 }"), "{text}");
    let test = tidegate(folder.path(), &["test", "fp.test.yaml"]);
    assert_eq!(test.status.code(), Some(0));
}

#[test]
fn pseudonyms_that_change_the_decision_are_not_written() {
    let folder = folder();
    let wang = ["--user", "wang", "--rule", "inside"];
    let (status, said) = case(folder.path(), &wang);
    assert_eq!(status, Some(1));
    assert!(said.starts_with("not written: with pseudonyms"), "{said}");
    assert!(!folder.path().join("fp.test.yaml").exists());
    let (status, said) = case(folder.path(), &[&wang[..], &["--reveal"]].concat());
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("+ event 0: inside level 0"), "{said}");
}

#[test]
fn wrong_usage_is_told_and_nothing_is_written() {
    let folder = folder();
    let rows: [(&[&str], &str); 6] = [
        (&["--rule", "burst"], "--user"),
        (&["--user", "zhang"], "say which rule should not have fired"),
        (&["--user", "zhang", "--rule", "brust"], "no rule is called brust"),
        (&["--user", "nobody", "--rule", "burst"], "holds no events of this target"),
        (&["--user", "zhang", "--rule", "burst", "--event", "2"], "has the id 2"),
        (&["--key", "colour=red", "--rule", "burst"], "name `user`, `device`"),
    ];
    for (arguments, told) in rows {
        let (status, said) = case(folder.path(), arguments);
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(told), "{said}");
    }
    assert!(!folder.path().join("fp.test.yaml").exists());
}
