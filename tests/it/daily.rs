//! `tidegate daily` over a file of events.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

const RULES: &str = "version: 1
timezone: Asia/Shanghai
rules:
  - { name: cap, on: issue, per: source, measure: sum(points), window: day, above: 100,
      then: [{ freeze: { scope: issue, for: window } }, alert] }
";

fn tidegate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tidegate")).args(arguments).output().unwrap()
}

/// Two days: 60 issues of 5 points, a redemption of 7 a minute, some of them twice, late or broken.
fn events(path: &Path) {
    let start = 1_763_827_200_000_i64 - 30 * 60_000;
    let mut lines = String::new();
    for minute in 0..60 {
        let ts = start + minute * 60_000;
        let issue = json!({ "id": format!("i{minute}"), "ts": ts, "user": "u", "kind": "issue",
            "points": 5, "source": "quiz" });
        let redeem = json!({ "id": format!("r{minute}"), "ts": ts, "user": "u", "kind": "redeem",
            "points": 7 });
        writeln!(lines, "{issue}\n{redeem}").unwrap();
        match minute {
            10 => writeln!(lines, "{issue}").unwrap(),
            20 => lines.push_str("no json\n"),
            40 => {
                let late = json!({ "id": "late", "ts": start, "user": "u", "kind": "issue",
                    "points": 1000, "source": "quiz" });
                writeln!(lines, "{late}").unwrap();
            }
            _ => {}
        }
    }
    std::fs::write(path, lines).unwrap();
}

#[test]
fn the_account_of_a_file_is_that_of_its_days() {
    let folder = tempfile::tempdir().unwrap();
    let (rules, input) = (folder.path().join("r.yaml"), folder.path().join("events.jsonl"));
    std::fs::write(&rules, RULES).unwrap();
    events(&input);
    let (rules, input) = (rules.to_str().unwrap(), input.to_str().unwrap());
    let whole = ["daily", "--rules", rules, "--input", input];
    let out = tidegate(&[&whole[..], &["--format", "json"]].concat());
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let text = String::from_utf8(out.stdout).unwrap();
    let days: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(days.len(), 2);
    let (first, second) = (&days[0], &days[1]);
    assert_eq!((&first["date"], &first["complete"]), (&json!("2025-11-22"), &json!(true)));
    assert_eq!((&second["date"], &second["complete"]), (&json!("2025-11-23"), &json!(false)));
    for day in &days {
        assert_eq!(day["total"]["day"]["issued"], json!({ "events": 30, "points": 150 }));
        assert_eq!(day["total"]["day"]["redeemed"], json!({ "events": 30, "points": 210 }));
        assert_eq!(day["caps"][0]["value"], 150);
        assert_eq!(day["decisions"][0]["decisions"], 1);
        assert_eq!(day["commands"], json!([{ "rule": "cap", "command": "freeze", "count": 1 }]));
        assert_eq!(day["conservation"]["ok"], true);
    }
    assert_eq!(second["total"]["year"]["issued"]["points"], 300);
    // The watermark leaves the first day with the first issue of the second.
    let records = json!({ "consumed": 62, "accepted": 60, "duplicate": 1, "late": 0,
        "quarantined": 1 });
    assert_eq!(first["conservation"]["total"], records);
    assert_eq!(second["conservation"]["total"]["late"], 1);
    let of_records: Vec<&Value> =
        days.iter().map(|day| &day["conservation"]["partitions"][0]).collect();
    assert_eq!(of_records[0]["last_offset"], 61);
    assert_eq!(
        (&of_records[1]["first_offset"], &of_records[1]["last_offset"]),
        (&json!(62), &json!(122))
    );

    let out = tidegate(&[&whole[..], &["--date", "2025-11-22"]].concat());
    let text = String::from_utf8(out.stdout).unwrap();
    assert!(
        text.starts_with("Points account of 2025-11-22 (Asia/Shanghai): Records OK\n"),
        "{text}"
    );
    assert!(
        text.contains("- Issued: 150 (30 events); month 150, quarter 150, year 150\n"),
        "{text}"
    );
    assert!(!text.contains("2025-11-23"), "{text}");
    let out = tidegate(&[&whole[..], &["--date", "2024-01-01"]].concat());
    assert_eq!(out.status.code(), Some(1));
    let told = String::from_utf8(out.stderr).unwrap();
    assert!(told.contains("no record of 2024-01-01"), "{told}");
    let out = tidegate(&["daily", "--input", input]);
    assert_eq!(out.status.code(), Some(2), "a file needs rules");
}
