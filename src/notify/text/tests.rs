//! Texts that fit, words that are checked, and others' words that stay words. The texts
//! themselves are held by `tests/it/texts.rs`.

use std::path::Path;

use serde_json::json;

use super::{Texts, segments};
use crate::engine::Decision;
use crate::notify::receivers::Language;
use crate::notify::{Notice, NotifySettings, ReceiverSettings, sample};

fn settings(language: Language, templates: Option<&Path>) -> NotifySettings {
    NotifySettings {
        language,
        templates: templates.map(Path::to_owned),
        url: Some("https://tidegate.example/".to_owned()),
        ..NotifySettings::default()
    }
}

fn texts(language: Language) -> Texts {
    Texts::new(&settings(language, None), &ReceiverSettings::default()).unwrap()
}

fn many(count: usize, rest: usize) -> Notice {
    let of = |n: usize| Decision {
        key: serde_json::Map::from_iter([("user".to_owned(), json!(format!("u-{n:04}")))]),
        ..sample::cap()
    };
    Notice { rest, ..sample::notice("mail", (0..count).map(of).collect()) }
}

#[test]
fn a_short_message_is_one_part_where_it_can_be() {
    for language in [Language::En, Language::Zh] {
        let short = texts(language).sms(&many(1, 0)).unwrap();
        assert_eq!(segments(&short).parts, 1, "{short}");
        assert!(short.contains("u-0000") && short.contains("5,120 > 5,000"), "{short}");
        let of_many = texts(language).sms(&many(50, 162)).unwrap();
        assert_eq!(segments(&of_many).parts, 1, "{of_many}");
        assert!(of_many.contains("211"), "{of_many}");
    }
    // One that cannot be said in one part is cut, with the count of what is missing.
    let mut long = many(1, 0);
    long.rule = "r".repeat(600);
    let text = texts(Language::En).sms(&long).unwrap();
    assert!(segments(&text).parts == 3 && text.ends_with(')') && text.contains("... (+"), "{text}");
}

#[test]
fn a_chat_lists_as_many_as_fit_and_counts_the_rest() {
    let texts = texts(Language::En);
    let whole = texts.chat(&many(50, 162), |_| true).unwrap();
    assert!(whole.text.contains("u-0049") && whole.text.contains("and 162 more"), "{}", whole.text);
    for room in [400, 1_000, 3_000] {
        let chat = texts.chat(&many(50, 162), |chat| chat.text.len() <= room).unwrap();
        assert!(chat.text.len() <= room && chat.text.len() * 3 > room, "{}", chat.text);
        let listed = chat.text.matches("u-0").count();
        assert!(chat.text.contains(&format!("and {} more", 212 - listed)), "{}", chat.text);
    }
    let tiny = texts.chat(&many(1, 0), |chat| chat.text.chars().count() <= 40).unwrap();
    let (head, missing) = tiny.text.split_once("… (+").unwrap();
    assert!(
        head.len() > 20 && missing.trim_end_matches(')').parse::<u32>().is_ok(),
        "{}",
        tiny.text
    );
}

#[test]
fn words_of_others_stay_words() {
    let evil = "<script>alert(1)</script>\r\nBcc: x@y [z](http://e) \"q\" {{ 7*7 }} ";
    let mut decision = sample::cap();
    decision.key = serde_json::Map::from_iter([("source".to_owned(), json!(evil))]);
    decision.description = Some(evil.to_owned());
    decision.actions = vec![evil.to_owned()];
    decision.rule = evil.to_owned();
    let notice = sample::notice("mail", vec![decision]);
    for language in [Language::En, Language::Zh] {
        let texts = texts(language);
        let mail = texts.mail(&notice).unwrap();
        assert!(!mail.html.contains("<script") && mail.html.contains("&lt;script&gt;"));
        assert!(mail.html.contains("{{ 7*7 }}"), "{}", mail.html);
        for line in [&mail.subject, &texts.sms(&notice).unwrap()] {
            assert!(!line.contains(['\r', '\n']), "{line}");
        }
        assert!(!mail.text.lines().any(|line| line.starts_with("Bcc")), "{}", mail.text);
        let chat = texts.chat(&notice, |_| true).unwrap();
        assert!(!chat.text.contains("<script") && !chat.text.contains("[z]("), "{}", chat.text);
        let json = texts.render(("x.json", r#"{"who": "{{ first.who }}"}"#), &notice, &[]).unwrap();
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert!(read["who"].as_str().unwrap().contains("\"q\""), "{json}");
        let url = texts.render(("x.url", "http://h/?w={{ first.who }}"), &notice, &[]).unwrap();
        assert!(!url.contains([' ', '"', '<', '\n', '[']), "{url}");
    }
}

#[test]
fn a_folder_replaces_templates_and_that_of_a_receiver_and_language_goes_first() {
    let folder = tempfile::tempdir().unwrap();
    let (all, own) = (folder.path().join("all"), folder.path().join("own"));
    for (place, text) in [
        (all.join("subject.txt"), "all {{ rule }}"),
        (all.join("zh/subject.txt"), "全部 {{ rule }}"),
        (all.join("en/sms.txt"), "sms {{ first.who }}"),
        (own.join("subject.txt"), "own {{ receiver }}"),
    ] {
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::write(place, text).unwrap();
    }
    let subject = |language, receiver: &ReceiverSettings| {
        let texts = Texts::new(&settings(language, Some(&all)), receiver).unwrap();
        texts.mail(&many(1, 0)).unwrap().subject
    };
    let plain = ReceiverSettings::default();
    assert_eq!(subject(Language::En, &plain), "all user-daily-cap");
    assert_eq!(subject(Language::Zh, &plain), "全部 user-daily-cap");
    let with_own = ReceiverSettings { templates: Some(own), ..plain.clone() };
    assert_eq!(subject(Language::Zh, &with_own), "own mail");
    let texts = Texts::new(&settings(Language::En, Some(&all)), &with_own).unwrap();
    assert_eq!(texts.sms(&many(1, 0)).unwrap(), "sms user u-0000");
}

#[test]
fn faults_of_templates_are_told_with_their_place_and_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let fault = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let settings = settings(Language::En, Some(folder.path()));
        let error = Texts::new(&settings, &ReceiverSettings::default()).unwrap_err().to_string();
        std::fs::remove_file(path).unwrap();
        error.replace(&format!("{}/", folder.path().display()), "")
    };
    insta::assert_snapshot!(fault("mail.htm", "x"), @r"
    mail.htm: no template has this name
      hint: did you mean `mail.html`?
    ");
    insta::assert_snapshot!(fault("sms.txt", "ok\n{{ first.hedline }}"), @r"
    sms.txt:2: `first.hedline` is undefined
      hint: did you mean `headline`?
    ");
    insta::assert_snapshot!(fault("subject.txt", "{{ severty }}"), @r"
    subject.txt:1: `severty` is undefined
      hint: did you mean `severity`?
    ");
    insta::assert_snapshot!(fault("chat.md", "{% if more %}\nno end"), @"chat.md:2: unexpected end of input, expected end of block: `no end`");
    insta::assert_snapshot!(fault("mail.txt", "{{ rule | shout }}"), @"mail.txt:1: filter shout is unknown");
    let nowhere = settings(Language::En, Some(Path::new("/nowhere/at/all")));
    let error = Texts::new(&nowhere, &ReceiverSettings::default()).unwrap_err().to_string();
    assert!(error.starts_with("cannot read /nowhere/at/all: "), "{error}");
}

#[test]
fn what_is_wrong_with_an_instance_is_told_in_a_sentence() {
    let limits = crate::watch::Limits {
        lost_after_ms: 120_000,
        lag: 1,
        lag_for_ms: 1,
        stalled_ms: 1,
        quarantine: 1.0,
    };
    let mut watch = crate::watch::Watch::new("host-a", limits);
    let lost = crate::watch::Facts { silent_ms: Some(130_000), ..Default::default() };
    let crate::watch::News::Began(decision) = watch.look(&lost, 0, 1_763_779_200_000).remove(0)
    else {
        unreachable!("it begins")
    };
    let texts = Texts::new(&settings(Language::En, None), &ReceiverSettings::default()).unwrap();
    let seen = crate::notify::masked(&decision);
    let notice = Notice { rule: decision.rule.clone(), decisions: vec![seen], ..Notice::default() };
    let sms = texts.sms(&notice).unwrap();
    let told = "instance host-a, no canary has come through for 2m10s";
    assert!(sms.ends_with(&told.replace(',', "")), "{sms}");
    let mail = texts.mail(&notice).unwrap().text;
    assert!(mail.starts_with(&format!("{told}\nDetection does not work")), "{mail}");
    assert!(mail.contains("docs/operations.md#canary-lost"), "{mail}");
}
