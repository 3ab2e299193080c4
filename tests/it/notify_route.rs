//! `tidegate notify route`: who hears of an alert, and which routes nobody ever takes.

use std::process::{Command, Output};

const CONFIG: &str = r#"
notify:
  receivers:
    mail: { slack: { url: "http://a" } }
    chat: { slack: { url: "http://b" } }
    lead: { slack: { url: "http://c" } }
  routes:
    - match: { labels: { team: [fraud] } }
      to: [chat]
      routes:
        - { match: { severity: [critical] }, to: [mail, chat], escalate: [{ after: 15m, to: [lead] }] }
    - { match: { rule: [cap*] }, to: [mail] }
    - { match: { rule: [cap-day], severity: [info] }, to: [lead] }
  default: [lead]
"#;

fn route(arguments: &[&str]) -> Output {
    routed("", arguments)
}

/// With these rules beside the configuration, if any.
fn routed(rules: &str, arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    if !rules.is_empty() {
        std::fs::create_dir(folder.path().join("rules")).unwrap();
        std::fs::write(folder.path().join("rules/r.yaml"), rules).unwrap();
    }
    let config = folder.path().join("tidegate.yaml");
    std::fs::write(&config, CONFIG).unwrap();
    Command::new(env!("CARGO_BIN_EXE_tidegate"))
        .args(["notify", "route", "--config"])
        .arg(config)
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn it_names_routes_receivers_and_steps_and_warns_of_routes_nobody_takes() {
    let rows: [(&[&str], &str, &str); 4] = [
        (&["--rule", "x"], "default", "lead"),
        (&["--rule", "cap-day", "--severity", "info", "--user", "u-1"], "route 2", "mail"),
        (&["--rule", "x", "--label", "team=fraud"], "route 1", "chat"),
        (&["--rule", "x", "--label", "team=fraud", "--severity", "critical"], "route 1.1", "mail"),
    ];
    for (arguments, name, first) in rows {
        let output = route(&[arguments, &["--format", "json"]].concat());
        assert!(output.status.success(), "{output:?}");
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&told["route"], &told["to"][0]), (&name.into(), &first.into()));
        let warned = String::from_utf8(output.stderr).unwrap();
        let warning = "warning: route 3 is never taken: route 2 takes all that it matches";
        assert!(warned.contains(warning), "{warned}");
    }
    let output = route(&["--rule", "x", "--label", "team=fraud", "--severity", "critical"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("lead after 15m without acknowledgement"), "{text}");
    assert!(text.contains("again:  every 4h while it fires, 6 times at most"), "{text}");
    let bad = route(&["--severity", "grave"]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(String::from_utf8(bad.stderr).unwrap().contains("`grave` is no severity"));
}

/// Arguments, and severity and route of each answer.
type Row<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);

#[test]
fn of_a_rule_of_the_set_it_knows_severities_and_labels() {
    let rules = "version: 1\nrules:\n  - name: x\n    labels: { team: fraud }\n    on: issue\n    \
                 measure: count\n    window: day\n    levels: [{ above: 1 }, { above: 2, severity: \
                 critical }, { above: 3, severity: critical }]\n";
    let rows: [Row<'_>; 4] = [
        (&["--rule", "x"], &[("warning", "route 1"), ("critical", "route 1.1")]),
        (&["--rule", "x", "--severity", "info"], &[("info", "route 1")]),
        (
            &["--rule", "x", "--label", "team=other"],
            &[("warning", "default"), ("critical", "default")],
        ),
        (&["--rule", "y"], &[("warning", "default")]),
    ];
    for (arguments, expected) in rows {
        let output = routed(rules, &[arguments, &["--format", "json"]].concat());
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let told: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let told: Vec<(&str, &str)> = told
            .iter()
            .map(|told| (told["severity"].as_str().unwrap(), told["route"].as_str().unwrap()))
            .collect();
        assert_eq!(told, expected, "{arguments:?}");
    }
}
