//! The shipped rules: checked, tested by their own test files, every level fired.

use std::path::Path;
use std::process::{Command, Output};

fn tidegate(arguments: &[&str]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments).current_dir(root).output().unwrap()
}

#[test]
fn the_shipped_rules_pass_their_tests_with_every_level_fired() {
    let out = tidegate(&["rules", "test", "rules", "--coverage"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(0), "{text}");
    assert!(!text.contains("not fired"), "{text}");
}

#[test]
fn a_failing_rule_test_is_exit_1_and_shows_both_sides() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "version: 1\nrules: [{ name: m, on: issue }]\n";
    let test = "tests: [{ name: t, events: [{ ts: 1763769600000, user: u, kind: issue, \
                points: 1 }], expect: [{ event: 0, rule: other }] }]\n";
    std::fs::write(folder.path().join("m.yaml"), rules).unwrap();
    std::fs::write(folder.path().join("m.test.yaml"), test).unwrap();
    let junit = folder.path().join("junit.xml");
    let (folder, junit_path) = (folder.path().to_str().unwrap(), junit.to_str().unwrap());
    let out = tidegate(&["rules", "test", folder, "--junit", junit_path]);
    assert_eq!(out.status.code(), Some(1));
    let text = String::from_utf8(out.stdout).unwrap();
    let told = "m.test.yaml:1: t\n     - event 0: other\n     + event 0: m level 0: user u: event matches m";
    assert!(text.contains(told), "{text}");
    let xml = std::fs::read_to_string(junit).unwrap();
    assert!(xml.contains(r#"tests="1" failures="1""#), "{xml}");
}

#[test]
fn tests_that_fail_are_updated_and_keep_their_comments() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "version: 1\nrules: [{ name: m, on: issue }, { name: n, on: redeem, mode: off }]\n";
    let event = "{ ts: 1763769600000, user: u, kind: issue, points: 1 }";
    let test = format!(
        "# why\ntests:\n  - name: stale\n    events:\n      - {event}  # one\n    expect: []\n  \
         - name: none\n    events: [{{ ts: 1, user: u, kind: issue, points: 1 }}]\n    expect: []\n"
    );
    std::fs::write(folder.path().join("m.yaml"), rules).unwrap();
    let file = folder.path().join("m.test.yaml");
    std::fs::write(&file, &test).unwrap();
    let path = folder.path().to_str().unwrap();
    let out = tidegate(&["rules", "test", path, "--update"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(1), "{text}");
    assert!(text.contains("NEW ") && text.contains("not updated: its events are not"), "{text}");
    assert!(text.ends_with("1 passed, 1 of them updated, 1 failed\n"), "{text}");
    let expected = "    expect:\n      - { event: 0, rule: m, level: 0 }\n  - name: none\n";
    let after = std::fs::read_to_string(&file).unwrap();
    assert_eq!(after, test.replace("    expect: []\n  - name: none\n", expected));
    std::fs::write(&file, after.replace("ts: 1,", "ts: 1763769600000,")).unwrap();
    assert_eq!(tidegate(&["rules", "test", path, "--update"]).status.code(), Some(0));
}

#[test]
fn coverage_below_what_is_asked_for_is_exit_1() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "version: 1\nrules: [{ name: m, on: issue }, { name: n, on: redeem },\n\
                 { name: o, on: expire, mode: off }]\n";
    let test = "tests: [{ name: t, events: [{ ts: 1763769600000, user: u, kind: issue, \
                points: 1 }], expect: [{ rule: m }] }]\n";
    std::fs::write(folder.path().join("m.yaml"), rules).unwrap();
    std::fs::write(folder.path().join("m.test.yaml"), test).unwrap();
    let path = folder.path().to_str().unwrap();
    let out = tidegate(&["rules", "test", path, "--min-coverage", "51"]);
    let text = String::from_utf8(out.stdout).unwrap();
    assert_eq!(out.status.code(), Some(1), "{text}");
    let told = "coverage: 1 of 2 levels, 50.0 %\nnot fired: n level 0 (";
    assert!(text.contains(told) && text.ends_with("coverage is below 51 %\n"), "{text}");
    let fine = tidegate(&["rules", "test", path, "--min-coverage", "50"]);
    assert_eq!(fine.status.code(), Some(0));
}

#[test]
fn exit_statuses_tell_a_fault_from_wrong_usage() {
    let status = |arguments: &[&str]| tidegate(arguments).status.code();
    assert_eq!(status(&["rules", "check", "rules"]), Some(0));
    assert_eq!(status(&["rules", "check", "no-such-file.yaml"]), Some(2));
    assert_eq!(status(&["rules", "chek"]), Some(2));
    assert_eq!(status(&["backtest", "--rules", "rules", "--input", "no-such-file"]), Some(2));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("r.yaml");
    std::fs::write(&path, "version: 1\nrules: [{ name: a, pre: user }, { nam: b }]\n").unwrap();
    let out = tidegate(&["rules", "check", path.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1));
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(text.contains("`pre`") && text.contains("`nam`"), "{text}");
}

#[test]
fn a_backtest_reads_packed_input_and_writes_decisions() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let line = r#"{"id":"a","ts":1763769600000,"user":"u","kind":"redeem","points":10000}"#;
    let plain = folder.path().join("events.jsonl");
    std::fs::write(&plain, format!("{line}\n\nnot json\n{line}\n")).unwrap();
    let gz = folder.path().join("events.jsonl.gz");
    let file = std::fs::File::create(&gz).unwrap();
    let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    packer.write_all(&std::fs::read(&plain).unwrap()).unwrap();
    packer.finish().unwrap();
    let zst = folder.path().join("events.jsonl.zst");
    let packed = zstd::encode_all(&*std::fs::read(&plain).unwrap(), 1).unwrap();
    std::fs::write(&zst, packed).unwrap();
    for path in [plain, gz, zst] {
        let path = path.to_str().unwrap();
        let out = tidegate(&["backtest", "--rules", "rules", "--input", path, "--format", "json"]);
        assert_eq!(out.status.code(), Some(0));
        let decision: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        assert_eq!(decision["rule"], "high-value-redemption");
        let summary: serde_json::Value = serde_json::from_slice(&out.stderr).unwrap();
        assert_eq!(summary["events"], 3);
        assert_eq!(summary["duplicate"], 1);
        assert_eq!(summary["quarantined"], 1);
    }
}
