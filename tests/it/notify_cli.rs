//! `tidegate notify`: one sample out, texts shown, and what is wrong told.

use std::path::Path;
use std::process::{Command, Output};

use crate::notify::{Endpoint, SMTP_PASSWORD, Smtp};

fn tidegate(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("notify").args(arguments).current_dir(folder);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tidegate.yaml"), config).unwrap();
    folder
}

/// Status, standard output, standard error; off the runtime's thread, which serves meanwhile.
async fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = folder.to_owned();
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let output = tokio::task::spawn_blocking(move || {
        tidegate(&folder, &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    })
    .await
    .unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn a_sample_arrives_or_it_is_said_why_not() {
    let (good, good_at) = Endpoint::start(&[]).await;
    let (_bad, bad_at) = Endpoint::start(&[404]).await;
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let folder = folder(&format!(
        "notify: {{ receivers: {{
           good: {{ webhook: {{ url: 'http://{good_at}/x' }} }},
           gone: {{ slack: {{ url: 'http://{bad_at}/secret-path' }} }},
           nobody: {{ wecom: {{ url: 'http://{deaf}/secret-path' }} }},
           lost: {{ dingtalk: {{ url: 'http://no-such-host.invalid/secret-path' }} }} }} }}"
    ));
    let (status, said, _) = run(folder.path(), &["test", "good"]).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(said.starts_with("receiver `good` (webhook) took the sample"), "{said}");
    let sent: serde_json::Value = serde_json::from_slice(&good.seen()[0].2).unwrap();
    assert_eq!(sent["rule"], "tidegate.test");
    for (name, error, hint) in [
        ("gone", "the receiver answered 404 Not Found", "the path is not"),
        ("nobody", "onnection refused", "nothing listens there"),
        ("lost", "dns error", "cannot be resolved"),
    ] {
        let (status, said, told) = run(folder.path(), &["test", name]).await;
        assert_eq!((status, said.as_str()), (Some(1), ""), "{name}: {told}");
        assert!(told.contains(error) && told.contains(hint), "{name}: {told}");
        assert!(!told.contains("secret-path"), "{name}: {told}");
    }
    let (status, said, _) = run(folder.path(), &["test", "gone", "--format", "json"]).await;
    // The endpoint has no more answers of 404.
    assert_eq!(status, Some(0));
    let said: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["delivered"], &said["way"]), (&true.into(), &"slack".into()));
    let (status, _, told) = run(folder.path(), &["test", "goot"]).await;
    assert_eq!(status, Some(2));
    assert!(told.contains("there is no receiver `goot` (did you mean `good`?)"), "{told}");
}

#[tokio::test]
async fn what_the_provider_answers_is_shown() {
    let (_far, at) = Endpoint::start(&[400]).await;
    let folder = folder(&format!(
        "notify: {{ receivers: {{ sms: {{ sms: {{ url: 'http://{at}/', account: a, token: t, from: '1', to: ['2'] }} }} }} }}"
    ));
    let (status, _, told) = run(folder.path(), &["test", "sms"]).await;
    assert_eq!(status, Some(1));
    assert!(told.contains("(sms) was not told: the receiver answered 400 Bad Request"), "{told}");
    assert!(told.contains("  answer: no more of it"), "{told}");
}

#[tokio::test]
async fn a_mail_is_refused_with_a_hint_or_taken() {
    let Some(smtp) = Smtp::start("starttls").await else { return };
    let receivers = serde_json::json!({ "notify": { "receivers": {
        "good": smtp.receiver("starttls", SMTP_PASSWORD, true),
        "wrong": smtp.receiver("starttls", "no", true),
        "untrusting": smtp.receiver("starttls", SMTP_PASSWORD, false) } } });
    let folder = folder(&receivers.to_string());
    for (name, hint) in [("wrong", "account, token and secret"), ("untrusting", "`ca` adds a root")]
    {
        let (status, _, told) = run(folder.path(), &["test", name]).await;
        assert_eq!(status, Some(1), "{told}");
        assert!(told.contains(hint), "{name}: {told}");
    }
    let (status, _, told) = run(folder.path(), &["test", "good"]).await;
    assert_eq!(status, Some(0), "{told}");
    assert!(smtp.mail().await.contains("[info] tidegate.test"));
}

const RULES: &str = "
version: 1
timezone: Asia/Shanghai
rules:
  - name: cap
    on: issue
    measure: sum(points)
    window: day
    above: 5000
    severity: critical
    then: [{ freeze: { scope: issue, for: window } }, alert]
";

#[test]
fn a_preview_shows_the_texts_of_a_rule_and_of_decisions() {
    let folder = folder(
        "rules: rules.yaml\nnotify: { receivers: { ding: { dingtalk: { url: 'http://127.0.0.1:9/' } }, mail: { email: { smtp: 'smtp://127.0.0.1:9', from: a@b.c, to: [a@b.c] } } } }",
    );
    std::fs::write(folder.path().join("rules.yaml"), RULES).unwrap();
    let shown = |arguments: &[&str]| {
        let output = tidegate(folder.path(), &[&["preview"], arguments].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let all = shown(&["--rule", "cap"]);
    for part in
        ["== subject\n[critical] cap: user u-1***\n", "== html\n<!doctype html>", "== size\n1 part"]
    {
        assert!(all.contains(part), "{all}");
    }
    let sms = shown(&["--rule", "cap", "--language", "zh", "--part", "sms"]);
    assert!(sms.starts_with("[严重] cap：用户 u-1*** 积分合计 5,125 > 5,000"), "{sms}");
    let body = shown(&["--receiver", "ding", "--part", "body"]);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body["msgtype"], "markdown");
    assert!(shown(&["--receiver", "mail", "--part", "text"]).contains("Value: sum(points) 5,120"));
    let decision = serde_json::to_string(&crate::notify::decision("d1")).unwrap();
    std::fs::write(folder.path().join("d.json"), format!("{decision}\n{decision}\n")).unwrap();
    let subject = shown(&["--decision", "d.json", "--part", "subject"]);
    assert_eq!(subject, "[critical] cap: user u-1*** and 1 more\n");
    for (arguments, fault) in [
        (&["--rule", "cop"][..], "there is no rule `cop` in"),
        (&["--part", "htlm"], "there is no part `htlm`: one of `subject`"),
        (&["--decision", "rules.yaml"], "holds what is no decision"),
    ] {
        let output = tidegate(folder.path(), &[&["preview"], arguments].concat());
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).contains(fault), "{}", text(&output.stderr));
    }
}

#[test]
fn templates_are_written_changed_and_checked() {
    let folder = folder("notify: { templates: texts }");
    let output = tidegate(folder.path(), &["templates", "texts"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let twice = tidegate(folder.path(), &["templates", "texts"]);
    assert_eq!(twice.status.code(), Some(2));
    let path = folder.path().join("texts/subject.txt");
    std::fs::write(&path, "changed {{ rule }}").unwrap();
    let shown = tidegate(folder.path(), &["preview", "--part", "subject"]);
    assert_eq!(text(&shown.stdout), "changed user-daily-cap\n");
    std::fs::write(&path, "fine\n{{ severity_wrod }}").unwrap();
    let output = tidegate(folder.path(), &["preview"]);
    assert_eq!(output.status.code(), Some(2));
    let told = text(&output.stderr);
    assert!(told.contains("texts/subject.txt:2: "), "{told}");
    assert!(told.contains("hint: did you mean `severity_word`?"), "{told}");
}
