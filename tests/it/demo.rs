//! `tidegate demo` from the outside: needs nothing installed, so it runs everywhere.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// Starts a demo whose folders lie in `folder`.
fn start(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["demo", "--listen", "127.0.0.1:0"]).args(arguments);
    // Receivers on this machine must be reached whatever the environment says of proxies.
    command.env("TMPDIR", folder).env("http_proxy", "http://127.0.0.1:9").env_remove("no_proxy");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Reads standard error up to the line with `word` in it; returns what follows that.
fn line(messages: &mut impl BufRead, word: &str) -> String {
    let mut read = String::new();
    loop {
        let mut line = String::new();
        assert!(messages.read_line(&mut line).unwrap() > 0, "no line {word} in {read}");
        if let Some((_, rest)) = line.split_once(word) {
            return rest.trim().to_owned();
        }
        read.push_str(&line);
    }
}

/// Reads on, so that the demo never waits for us; gives what it said.
fn rest(mut messages: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        messages.read_to_string(&mut text).unwrap();
        text
    })
}

fn get(url: &str) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    })
}

/// Header fields and body of a mail, lines folded and CRLF as the standards ask.
fn mail(text: &str) -> (BTreeMap<String, String>, String) {
    assert_eq!(text.matches('\n').count(), text.matches("\r\n").count(), "bare line feeds");
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let head = head.replace("\r\n ", " ");
    let fields = head.split("\r\n").map(|line| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.to_owned(), value.to_owned())
    });
    (fields.collect(), body.to_owned())
}

fn check_mail(text: &str) {
    let (fields, body) = mail(text);
    assert_eq!(fields["From"], "tidegate@demo.example");
    assert_eq!(fields["To"], "oncall@demo.example");
    assert!(fields["Subject"].starts_with('['), "{fields:?}");
    let kind = &fields["Content-Type"];
    assert!(kind.starts_with("multipart/alternative"), "{kind}");
    let boundary = kind.split('"').nth(1).unwrap();
    let parts: Vec<&str> = body.split(&format!("--{boundary}")).collect();
    assert_eq!(parts.len(), 4, "text, HTML and the end: {body}");
    assert!(parts[1].contains("text/plain") && parts[2].contains("text/html"), "{body}");
    assert!(parts[3].starts_with("--"), "{body}");
}

#[test]
fn what_is_injected_is_caught_and_people_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = folder.path().join("told");
    let outbox = outbox.to_str().unwrap();
    let arguments = ["--seconds", "8", "--rate", "1500", "--format", "json", "--outbox", outbox];
    let mut child = start(folder.path(), &arguments);
    let mut messages = BufReader::new(child.stderr.take().unwrap());
    let page = line(&mut messages, "status page");
    let (status, text) = get(&page);
    assert!(status == 200 && text.contains("<title>"), "{status} {text}");
    let (status, text) = get(&format!("{page}metrics"));
    assert!(status == 200 && text.contains("tidegate_ready"), "{status} {text}");
    let messages = rest(messages);
    let output = child.wait_with_output().unwrap();
    let messages = messages.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{messages}");
    assert!(!messages.contains('\x1b'), "colours without a terminal: {messages}");
    let outcome: Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = format!("{outcome:#}\n{messages}");
    assert_eq!(outcome["complete"], true, "{told}");
    assert_eq!(
        [&outcome["injected"], &outcome["caught"], &outcome["missed"]],
        [14, 14, 0],
        "{told}"
    );
    assert_eq!([&outcome["frozen"], &outcome["unsent"]], [0, 0], "{told}");

    let total = |name: &str| outcome["totals"][name].as_u64().unwrap();
    let became = ["accepted", "duplicate", "late", "quarantined"].map(total);
    assert!(became.iter().all(|count| *count > 0), "{told}");
    assert_eq!(total("consumed"), became.iter().sum::<u64>(), "{told}");
    assert_eq!(total("consumed"), outcome["sent"].as_u64().unwrap(), "{told}");

    let mut counts = BTreeMap::from([("mail", 0), ("sms", 0), ("webhook", 0)]);
    for entry in std::fs::read_dir(outbox).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap();
        *counts.get_mut(name.split('-').next().unwrap()).unwrap() += 1;
        if name.starts_with("mail") {
            check_mail(&text);
        } else {
            let told: Value = serde_json::from_str(&text).unwrap();
            let field = if name.starts_with("sms") { "body" } else { "rule" };
            assert!(told[field].is_string(), "{text}");
        }
        // Masked: the episodes' actors are named by their part.
        assert!(!text.contains("velocity-bot-0") && !text.contains("takeover-0"), "{text}");
    }
    assert_eq!(outcome["delivered"]["mails"], counts["mail"], "{told}");
    assert_eq!(outcome["delivered"]["sms"], counts["sms"], "{told}");
    assert_eq!(outcome["delivered"]["webhooks"], counts["webhook"], "{told}");
    assert!(counts.values().all(|count| *count > 0), "{told}");
}

#[test]
fn a_signal_ends_it_with_the_table() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(folder.path(), &["--seconds", "0"]);
    let mut messages = BufReader::new(child.stderr.take().unwrap());
    // The second line with figures: events are under way.
    line(&mut messages, "events/s, ");
    line(&mut messages, "events/s, ");
    let messages = rest(messages);
    let mut kill = Command::new("kill");
    assert!(kill.args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", messages.join().unwrap());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("episode  ") && text.contains("injected, "), "{text}");
    assert!(text.contains("not sent to their end: "), "{text}");
    assert!(text.contains("outbox: "), "{text}");
}

#[test]
fn rules_with_faults_end_it_before_it_starts() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, "version: 1\nrules: [{ name: a, pre: user }]\n").unwrap();
    let child = start(folder.path(), &["--rules", rules.to_str().unwrap()]);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("`pre`"), "{text}");
}
