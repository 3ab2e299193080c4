//! The words of notices, kind by kind in each language, as they stand in `tests/it/texts`.
//! `TIDEGATE_BLESS=1` writes them anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate::engine::Decision;
use tidegate::notify::{Language, NotifySettings, Transport, sample};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/texts")
}

/// Ways that write texts for people, and the parts of each that are compared.
fn ways() -> Vec<(&'static str, Value)> {
    let robot = json!({ "url": "http://127.0.0.1:9/" });
    let sms = json!({ "url": "http://127.0.0.1:9/", "account": "a", "token": "t", "from": "1",
        "to": ["2"] });
    let aliyun = json!({ "provider": "aliyun", "account": "a", "token": "t", "from": "s",
        "template": "T", "to": ["2"] });
    let mail =
        json!({ "smtp": "smtp://127.0.0.1:9", "from": "a@b.example", "to": ["c@d.example"] });
    vec![
        ("email", mail),
        ("sms", sms),
        ("sms", aliyun),
        ("dingtalk", robot.clone()),
        ("feishu", robot.clone()),
        ("wecom", robot.clone()),
        ("slack", robot),
    ]
}

/// One decision of each kind, from what the wire carries.
fn decisions() -> Vec<(&'static str, Vec<Decision>, usize)> {
    let at = 1_763_779_200_123_i64;
    let trigger =
        json!({ "id": "01JD8Z6W", "topic": "points.events", "partition": 3, "offset": 8812 });
    let base = json!({
        "id": "5b0c2f8e1d7a4c3b9e6f0a1d2c3b4a59", "ts": at, "rule": "user-daily-cap", "level": 1,
        "severity": "critical", "mode": "live", "key": { "user": "u-1001" },
        "measure": "sum(points)", "value": 5120, "bound": 5000,
        "window": { "start": 1_763_740_800_000_i64, "end": 1_763_827_200_000_i64,
            "label": "day 2025-11-22 Asia/Shanghai" },
        "trigger": trigger, "summary": "user u-1001: sum(points) 5120 > 5000 in day 2025-11-22",
        "ruleset": "9c1f7a2e", "alert": [], "description": "A user earns at most 5,000 points a day.",
        "actions": ["freeze issue until 2025-11-22T16:00:00Z"],
    });
    let but = |changes: Value| -> Decision {
        let mut decision = base.clone();
        for (name, value) in changes.as_object().unwrap() {
            decision[name] = value.clone();
        }
        serde_json::from_value(decision).unwrap()
    };
    let bare = json!({ "measure": null, "value": null, "bound": null, "window": null });
    let with = |more: Value| {
        let mut all = bare.clone();
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        all
    };
    let window = json!({ "start": at - 600_000, "end": at, "label": "10m" });
    let cap = but(json!({}));
    let matched =
        but(with(json!({ "rule": "blacklist", "severity": "warning", "actions": ["review"],
        "summary": "user u-1001: event matches blacklist", "description": null })));
    let score = but(json!({ "rule": "issuance", "key": { "global": true }, "measure": "count",
        "value": 900, "bound": 4.0, "zscore": 6.127, "mean": 100.5, "sd": 12.25, "window": window,
        "severity": "warning", "actions": ["freeze issue forever"], "description": null }));
    let ratio = but(json!({ "rule": "bank-run", "key": { "source": "lottery" }, "value": 2.4567,
        "measure": "sum(points) / sum(points)", "bound": 1.5, "window": window,
        "actions": ["review account until 2025-11-22T16:00:00Z"] }));
    let forecast = but(json!({ "rule": "cap-soon", "severity": "info", "value": 4000,
        "forecast": at + 3_600_000, "actions": [] }));
    let shadow = but(json!({ "mode": "shadow" }));
    let audit = but(with(json!({ "rule": "tidegate.list", "key": { "list": "blacklist" },
        "severity": "info", "summary": "list blacklist: 1 entry added", "actions": [],
        "actor": "ann", "reason": "chargeback", "description": null, "trigger": null })));
    let group = (0..6).map(|n| {
        but(json!({ "id": format!("{n:032}"), "ts": at + n * 1_000,
        "value": 5_120 + n, "key": { "user": format!("{n}-member") } }))
    });
    let digest = vec![cap.clone(), matched.clone(), ratio.clone()];
    vec![
        ("cap", vec![cap], 0),
        ("match", vec![matched], 0),
        ("zscore", vec![score], 0),
        ("ratio", vec![ratio], 0),
        ("forecast", vec![forecast], 0),
        ("shadow", vec![shadow], 0),
        ("audit", vec![audit], 0),
        ("group", group.collect(), 206),
        ("digest", digest, 0),
        ("daily", vec![sample::account().unwrap()], 0),
        ("daily-mismatch", vec![mismatch()], 0),
    ]
}

/// The account of a day in which something is wrong.
fn mismatch() -> Decision {
    let mut decision = sample::account().unwrap();
    let report = decision.daily.as_mut().unwrap();
    report.complete = false;
    report.waiting = vec!["events 3".to_owned(), "partials 1".to_owned()];
    report.corrections.clear();
    (report.caps, report.decisions) = (Vec::new(), Vec::new());
    report.sources.truncate(1);
    "<b>bad</b>".clone_into(&mut report.sources[0].source);
    report.conservation.ok = false;
    report.conservation.faults =
        vec!["partition 2: 17820 records came in, 17819 are accounted for".to_owned()];
    report.conservation.partitions[2].ok = false;
    decision
}

/// Everything that people are told of one kind of notice, in one language.
fn told(language: Language, decisions: &[Decision], rest: usize) -> String {
    let mut told = String::new();
    let settings = NotifySettings {
        language,
        url: Some("https://tidegate.example".to_owned()),
        timezone: Some("Asia/Shanghai".to_owned()),
        ..NotifySettings::default()
    };
    for (way, keys) in ways() {
        let receiver = serde_json::from_value(json!({ way: keys })).unwrap();
        let patience = Duration::from_secs(1);
        let transport = Transport::new("oncall", &receiver, &settings, false, patience).unwrap();
        let mut notice = sample::notice("oncall", decisions.to_vec());
        notice.rest = rest;
        for (part, text) in transport.preview(&notice).unwrap() {
            writeln!(told, "== {way}: {part}\n{}\n", text.trim_end()).unwrap();
        }
    }
    told
}

#[tokio::test]
async fn every_kind_of_notice_reads_as_it_stands_in_its_file() {
    let bless = std::env::var_os("TIDEGATE_BLESS").is_some();
    let mut faults = Vec::new();
    for (language, code) in [(Language::En, "en"), (Language::Zh, "zh")] {
        for (kind, decisions, rest) in decisions() {
            let path = folder().join(format!("{code}-{kind}.txt"));
            let told = told(language, &decisions, rest);
            assert!(!told.contains("u-1001"), "{code} {kind}: unmasked");
            if bless {
                std::fs::create_dir_all(folder()).unwrap();
                std::fs::write(&path, &told).unwrap();
            } else if std::fs::read_to_string(&path).unwrap_or_default() != told {
                faults.push(format!("{} is otherwise now:\n{told}", path.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
