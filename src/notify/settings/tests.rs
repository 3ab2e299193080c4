//! The section of the contract, and what is refused.

use std::collections::BTreeMap;

use super::{NotifySettings, SettingsError};
use crate::notify::{Transport, Via};

const CONTRACT: &str = r#"
receivers:
  oncall-mail: { email: { smtp: "smtp://user:hunter2@mail.example:587", tls: starttls, ca: /etc/ca.pem, from: risk@example.com, to: [oncall@example.com] } }
  oncall-sms:  { sms: { provider: twilio, url: "https://sms.example", account: AC1, token: "hunter2", from: "+15550100", to: ["+15550101"] } }
  bridge:      { webhook: { url: "https://hook.example/x", secret: "hunter2" } }
routes:
  - { match: { severity: [critical] }, to: [oncall-mail, oncall-sms], group_wait: 10s, group_interval: 1m, repeat_interval: 4h, escalate_after: 15m }
default: [oncall-mail]
"#;

fn read(text: &str) -> Result<NotifySettings, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn reads_the_contract_and_shows_no_secret() {
    let settings = read(CONTRACT).unwrap();
    assert_eq!(settings.faults(), []);
    assert!(matches!(settings.receivers["bridge"].via(), Some(Via::Webhook(_))));
    assert_eq!(settings.routes[0].group_interval, Some(60_000));
    assert_eq!(settings.routes[0].escalate_after, Some(900_000));
    assert_eq!(settings.machines().into_iter().collect::<Vec<_>>(), ["bridge"]);
    let shown = format!("{settings:?}{}", serde_json::to_string(&settings).unwrap());
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn refuses_unknown_keys_and_bad_durations() {
    for text in [
        "receiver: {}",
        "receivers: { a: { webhook: { url: x, sekret: y } } }",
        "receivers: { a: { pager: {} } }",
        "routes: [ { to: [], group_wait: soon } ]",
        "routes: [ { to: [], match: { colour: [red] } } ]",
    ] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn tells_all_faults_at_once() {
    let settings = read(
        "{ receivers: { a: {}, b: { rate: 0, sms: { url: u, account: a, token: t, from: f, to: [] } } }, default: [c] }",
    )
    .unwrap();
    let unknown = SettingsError::Unknown { place: "`default`".to_owned(), name: "c".to_owned() };
    assert_eq!(
        settings.faults(),
        [
            SettingsError::OneWay("a".to_owned()),
            SettingsError::Nobody("b".to_owned()),
            SettingsError::NoRate("b".to_owned()),
            unknown
        ]
    );
}

#[test]
fn the_examples_of_the_documentation_are_sound() {
    let page = include_str!("../../../docs/notices.md");
    let examples: Vec<NotifySettings> = page
        .split("```yaml\n")
        .skip(1)
        .map(|rest| {
            let example = rest.split("```").next().unwrap();
            let mut file: BTreeMap<String, NotifySettings> =
                serde_saphyr::from_str(example).unwrap();
            file.remove("notify").unwrap()
        })
        .collect();
    for settings in &examples {
        let mut faults = settings.faults();
        if settings.receivers.is_empty() {
            // Routes alone name receivers that stand elsewhere.
            faults.retain(|fault| !matches!(fault, SettingsError::Unknown { .. }));
        }
        assert_eq!(faults, []);
        for (name, receiver) in &settings.receivers {
            // A CA file is the user's own.
            if receiver.email.is_none() {
                let timeout = std::time::Duration::from_secs(1);
                Transport::new(name, receiver, settings, false, timeout).unwrap();
            }
        }
    }
    let settings = &examples[0];
    assert_eq!((settings.receivers.len(), settings.routes.len()), (10, 2));
    assert_eq!(settings.give_up, Some(86_400_000));
}
