//! Layers, references, faults, what is shown, and what the reference names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fold::parse_fold;
use super::print::without_credentials;
use super::{Config, ConfigError, Sources, sections};

/// The example of the contract, whole.
const EXAMPLE: &str = r#"
kafka:
  brokers: 127.0.0.1:9092
  group: tidegate
  instance: host-a
  properties: { security.protocol: sasl_ssl }
topics: { events: points.events, commands: points.commands, decisions: tidegate.decisions,
          quarantine: points.quarantine, accounts: tidegate.accounts, control: tidegate.control, create: true, partitions: 4 }
input: { max_ahead: 5m, max_bytes: 65536, fields: {}, kinds: {} }
engine: { workers: 2, flush_interval: 100ms, allowed_lateness: 10m, dedup: 10m }
rules: rules/
state: { snapshots: file:./data/snapshots, interval: 5m }
http: { listen: 127.0.0.1:8080 }
notify:
  receivers:
    oncall-mail: { email: { smtp: "smtp://user:${SMTP_PASSWORD}@mail.example:587", tls: starttls, ca: ca.pem, from: risk@example.com, to: [oncall@example.com] } }
    oncall-sms:  { sms: { provider: twilio, url: "https://sms.example", account: AC1, token: "${SMS_TOKEN}", from: "+15550100", to: ["+15550101"] } }
    bridge:      { webhook: { url: "https://hook.example/x", secret: "${HOOK_SECRET}" } }
  routes:
    - { match: { severity: [critical] }, to: [oncall-mail, oncall-sms], group_wait: 10s, group_interval: 1m, repeat_interval: 4h, escalate_after: 15m }
  default: [oncall-mail]
privacy: { reveal: false }
"#;

const SECRETS: [(&str, &str); 3] =
    [("SMTP_PASSWORD", "p@ss/w%rd"), ("SMS_TOKEN", "0123"), ("HOOK_SECRET", "hook: secret")];

/// A folder with a configuration in it.
struct Place {
    folder: tempfile::TempDir,
    sources: Sources,
}

fn place(text: &str, variables: &[(&str, &str)]) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.yaml");
    std::fs::write(&file, text).unwrap();
    let variables =
        variables.iter().map(|(name, value)| (String::from(*name), String::from(*value)));
    let sources = Sources { file: Some(file), variables: variables.collect(), flags: Vec::new() };
    Place { folder, sources }
}

impl Place {
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::read(&place(text, variables).sources)
}

/// The faults of a configuration, without the folder in their places.
fn faults(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let place = place(text, variables);
    match Config::read(&place.sources) {
        Ok(_) => Vec::new(),
        Err(error) => {
            let folder = format!("{}/", place.folder.path().display());
            error.to_string().lines().map(|line| line.replace(&folder, "")).collect()
        }
    }
}

/// One value of the configuration as `print` shows it.
fn shown(config: &Config, path: &str) -> String {
    let value = config.redacted();
    let value = value.pointer(&format!("/{}", path.replace('.', "/")));
    value.map_or_else(String::new, |value| value.as_str().map_or(value.to_string(), str::to_owned))
}

#[test]
fn reads_the_example_of_the_contract() {
    let place = place(EXAMPLE, &SECRETS);
    let config = Config::load(&place.sources).unwrap();
    assert_eq!(config.kafka.brokers, "127.0.0.1:9092");
    assert_eq!(config.kafka.instance, "host-a");
    assert_eq!(config.kafka.properties["security.protocol"], "sasl_ssl");
    assert_eq!(config.kafka.partials(), "tidegate.partials");
    assert_eq!(config.kafka.journal(), "tidegate.journal");
    assert_eq!(config.kafka.told(), "tidegate.told");
    assert_eq!(config.kafka.standing(), "tidegate.standing");
    assert_eq!(config.topics.notices_dead, "tidegate.notices.dead");
    assert_eq!(config.engine.flush_interval, Duration::from_millis(100));
    assert_eq!(config.rules, place.folder.path().join("rules/"));
    let folder = place.folder.path().display();
    assert_eq!(config.state.snapshots, format!("file:{folder}/data/snapshots"));
    let mail = config.notify.receivers["oncall-mail"].email.as_ref().unwrap();
    assert_eq!(mail.smtp.expose(), "smtp://user:p%40ss%2Fw%25rd@mail.example:587");
    assert_eq!(mail.ca.as_deref(), Some(&*place.folder.path().join("ca.pem")));
    let sms = config.notify.receivers["oncall-sms"].sms.as_ref().unwrap();
    assert_eq!((sms.token.expose(), sms.from.as_str()), ("0123", "+15550100"));
    let hook = config.notify.receivers["bridge"].webhook.as_ref().unwrap();
    assert_eq!(hook.secret.as_ref().unwrap().expose(), "hook: secret");
}

#[test]
fn every_key_but_the_brokers_has_a_default() {
    let empty = place("", &[]);
    let config = Config::read(&empty.sources).unwrap();
    assert_eq!(config.kafka.group, "tidegate");
    assert!(!config.kafka.instance.is_empty());
    assert!(config.engine.workers >= 1);
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.engine.dedup, Some(Duration::from_mins(10)));
    assert_eq!(config.rules, empty.folder.path().join("rules/"));
    let fault = Config::load(&empty.sources).unwrap_err().to_string();
    assert!(fault.starts_with("kafka.brokers: is required"), "{fault}");
    // Empty sections and values are as if they were not there.
    let config = load("kafka:\nengine: { dedup: }\nnotify: { routes: }\nrules:\n", &[]).unwrap();
    assert_eq!(config.kafka.group, "tidegate");
    let nowhere = Sources { file: Some("/nowhere/x.yaml".into()), ..Sources::default() };
    let fault = Config::read(&nowhere).unwrap_err().to_string();
    assert!(fault.starts_with("cannot read /nowhere/x.yaml: "), "{fault}");
}

#[test]
fn dedup_is_off_or_at_least_the_lateness() {
    let read = |text: &str| parse_fold(text, "t.yaml", &Sources::default());
    let dedup = |text: &str| read(text).map(|fold| fold.settings.dedup_ms);
    assert_eq!(dedup("kafka: {brokers: x}").unwrap(), Some(600_000));
    assert_eq!(dedup("engine: {dedup: off}").unwrap(), None);
    assert_eq!(dedup("engine: {allowed_lateness: 20m}").unwrap(), Some(1_200_000));
    assert_eq!(dedup("engine: {allowed_lateness: 20m, dedup: off}").unwrap(), None);
    let rows = [
        ("engine: {dedup: 5m}", "t.yaml:1: engine.dedup: must be at least engine.allowed_lateness"),
        ("engin: {dedup: 5m}", "t.yaml:1: engin: unknown section (did you mean `engine`?)"),
        ("engine: {dedupe: 5m}", "t.yaml:1: engine.dedupe: unknown key (did you mean `dedup`?)"),
        (
            "engine: {dedup: soon}",
            "t.yaml:1: engine.dedup: `soon` is not a duration; write `500ms`, `30s`, `10m`, `1h`, `7d`",
        ),
        ("input: {kinds: {EARN: isue}}", "input.kinds"),
    ];
    for (text, expected) in rows {
        let fault = dedup(text).unwrap_err().to_string();
        assert!(fault.contains(expected), "{text}: {fault}");
    }
    // What a backtest does not read may refer to what is not there.
    assert!(read("notify: {x: '${NOWHERE}'}\ninput: {max_bytes: 10}").is_ok());
}

#[test]
fn tells_all_faults_at_once_with_place_key_and_hint() {
    let text = "
kafka: { broker: x, leave_on_stop: yes }
topcs: {}
topics: { partitions: 0, commands: points.events, control: 'a b', decisions: tidegate.journal }
input: { start: newest, max_bytes: 0 }
engine: { workers: many, flush_interval: 100, idle_after: 1y }
http: { listen: nowhere }
notify:
  receivers:
    mail: { email: { smtp: smtp://h, tls: startls, from: a@b.c, to: a@b.c } }
    hook: { webhook: { secrt: x } }
  routes: [ { too: [mail], to: [hook], group_wait: soon } ]
state: { snapshots: ftp://x }
privacy: { reveal: false, reveal: true }
";
    let twice = ["tidegate.yaml:14: reveal: stands twice in its section"];
    assert_eq!(faults(text, &[]), twice);
    let text = text.replace(", reveal: true", "");
    let duration = "is not a duration; write `500ms`, `30s`, `10m`, `1h`, `7d`";
    let expected = [
        "tidegate.yaml:2: kafka.broker: unknown key (did you mean `brokers`?)".to_owned(),
        "tidegate.yaml:2: kafka.leave_on_stop: `yes` is not `true` or `false`".to_owned(),
        "tidegate.yaml:3: topcs: unknown key (did you mean `topics`?)".to_owned(),
        "tidegate.yaml:4: topics.commands: names the same topic as topics.events".to_owned(),
        "tidegate.yaml:4: topics.control: must be made of letters, digits, `.`, `_` and `-`, at most 249 of them".to_owned(),
        "tidegate.yaml:4: topics.decisions: names the same topic as the journal of kafka.group".to_owned(),
        "tidegate.yaml:4: topics.partitions: must be at least 1".to_owned(),
        "tidegate.yaml:5: input.start: `newest` is not one of `oldest`, `latest`".to_owned(),
        format!("tidegate.yaml:6: engine.flush_interval: `100` {duration}"),
        format!("tidegate.yaml:6: engine.idle_after: `1y` {duration}"),
        "tidegate.yaml:6: engine.workers: `many` is not a number that fits here".to_owned(),
        "tidegate.yaml:7: http.listen: `nowhere` is not an address and port, such as `127.0.0.1:8080`".to_owned(),
        "tidegate.yaml:10: notify.receivers.mail.email.tls: `startls` is not one of `none`, `starttls`, `tls` (did you mean `starttls`?)".to_owned(),
        "tidegate.yaml:10: notify.receivers.mail.email.to: a list is wanted: `[…]`".to_owned(),
        "tidegate.yaml:11: notify.receivers.hook.webhook.secrt: unknown key (did you mean `secret`?)".to_owned(),
        "tidegate.yaml:11: notify.receivers.hook.webhook: `url` is missing".to_owned(),
        "tidegate.yaml:12: notify.routes.0.group_wait: `soon` is not a duration; try `10s`".to_owned(),
        "tidegate.yaml:12: notify.routes.0.too: unknown key (did you mean `to`?)".to_owned(),
        "tidegate.yaml:13: state.snapshots: must be `file:FOLDER`, `s3://BUCKET/PREFIX`, \
         `gs://BUCKET/PREFIX`, `az://CONTAINER/PREFIX` or `off`"
            .to_owned(),
    ];
    let mut found = faults(&text, &[]);
    let line = |fault: &String| fault.split(':').nth(1).and_then(|line| line.parse::<u32>().ok());
    found.sort_by_key(|fault| (line(fault), fault.clone()));
    let mut expected = expected.to_vec();
    expected.sort_by_key(|fault| (line(fault), fault.clone()));
    assert_eq!(found, expected);
}

#[test]
fn bounds_are_kept() {
    let rows = [
        ("input: {max_bytes: 0}", "input.max_bytes: must be more than 0"),
        ("input: {max_bytes: -1}", "input.max_bytes: `-1` is not a number that fits here"),
        ("engine: {workers: 0}", "engine.workers: must be at least 1"),
        ("engine: {flush_interval: 1h}", "engine.flush_interval: must be at most 10s"),
        ("engine: {delivery: once}", "`once` is not one of `exactly_once`, `at_least_once`"),
        (
            "engine: {delivery: at_least_once}\nkafka: {properties: {session.timeout.ms: '4000'}}",
            "engine.delivery: at_least_once needs a kafka.properties.session.timeout.ms",
        ),
        ("kafka: {group: a b}", "kafka.group: must be made of letters"),
        ("kafka: [a]", "kafka: a section is wanted"),
        ("notify: {default: [x]}", "notify: `default` names an unknown receiver `x`"),
        ("notify: {timezone: Mars}", "notify: timezone: `Mars` is not an IANA zone"),
        ("notify: {url: tidegate.example}", "notify.url: must be an http or https URL"),
        (
            "notify: {receivers: {a: {sms: {provider: aliyun, body: x, to: ['1']}}}}",
            "notify: receiver `a`: `sms.account` is missing; the provider `aliyun` needs it",
        ),
        ("notify: {receivers: {a: {}}}", "notify: receiver `a` must have exactly one of"),
        ("- a", "tidegate.yaml:1: a configuration is a map of sections"),
        ("a: [", "not valid YAML"),
        ("a: 1\n---\nb: 1", "a configuration is one document"),
        ("input: {fields: {usr: /u}}", "input.fields: `usr`"),
    ];
    for (text, expected) in rows {
        let found = faults(text, &[]).join("\n");
        assert!(found.contains(expected), "{text}: {found}");
    }
}

#[test]
fn the_environment_lies_over_the_file_and_flags_over_both() {
    let file = "kafka: { brokers: file, group: file, properties: { a.b: '1' } }
notify: { receivers: { oncall-mail: { slack: { url: https://a }, rate: 3 } } }
input: { kinds: { EARN: issue } }";
    let mut place = place(
        file,
        &[
            ("TIDEGATE_KAFKA__BROKERS", "a:1,b:2"),
            ("TIDEGATE_KAFKA__GROUP", "env"),
            ("TIDEGATE_KAFKA__PROPERTIES__SASL_PASSWORD", "{x: *y"),
            ("TIDEGATE_KAFKA__PROPERTIES__A__B", "2"),
            ("TIDEGATE_ENGINE__WORKERS", "7"),
            ("TIDEGATE_NOTIFY__DEFAULT", "[oncall-mail, 'oncall-mail']"),
            ("TIDEGATE_NOTIFY__RECEIVERS__ONCALL_MAIL__RATE", "9"),
            ("TIDEGATE_INPUT__KINDS__BURN", "redeem"),
            ("TIDEGATE_RULES", "other"),
            ("TIDEGATE_KAFKA", "1"),
            ("TIDEGATE_SMTP", "1"),
            ("TIDEGATE_LOG", "debug"),
            ("OTHER__THING", "1"),
        ],
    );
    let flag = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    place.sources.flags = vec![
        flag("kafka.group", "flag"),
        flag("kafka.properties.c.d", "'3'"),
        flag("http.listen", "[::1]:80"),
    ];
    let config = Config::load(&place.sources).unwrap();
    assert_eq!(config.kafka.brokers, "a:1,b:2");
    assert_eq!(config.kafka.group, "flag");
    let properties: Vec<(&str, &str)> =
        config.kafka.properties.iter().map(|(key, value)| (&**key, &**value)).collect();
    assert_eq!(properties, [("a.b", "2"), ("c.d", "3"), ("sasl.password", "{x: *y")]);
    assert_eq!(config.engine.workers, 7);
    assert_eq!(config.notify.default, ["oncall-mail", "oncall-mail"]);
    assert_eq!(config.notify.receivers["oncall-mail"].rate, Some(9));
    assert_eq!(config.input.kinds["BURN"], "redeem");
    assert_eq!(config.http.listen.to_string(), "[::1]:80");
    // Not of the file, so not relative to it.
    assert_eq!(config.rules, Path::new("other"));
}

#[test]
fn unknown_variables_are_faults_with_a_hint() {
    let rows = [
        ("TIDEGATE_KAFKA__BROKER", "kafka.broker: unknown key (did you mean `brokers`?)"),
        ("TIDEGATE_KAFKE__GROUP", "kafke: unknown key (did you mean `kafka`?)"),
        ("TIDEGATE_RULES__X", "rules: one value is wanted, not a section"),
        (
            "TIDEGATE_KAFKA_BROKERS",
            "names no key: `__` parts levels (did you mean `TIDEGATE_KAFKA__BROKERS`?)",
        ),
        ("TIDEGATE_ENGINE__WORKERS", "engine.workers: `x` is not a number that fits here"),
        ("TIDEGATE_NOTIFY__DEFAULT", "notify.default: a list is wanted: `[…]`"),
    ];
    for (name, expected) in rows {
        assert_eq!(faults("", &[(name, "x")]), [format!("{name}: {expected}")], "{name}");
    }
}

#[test]
fn references_are_resolved_or_told() {
    let resolved = |value: &str, variables: &[(&str, &str)]| {
        let place = place(&format!("kafka: {{ properties: {{ a: \"{value}\" }} }}"), variables);
        place.write("secret", "from file\r\n");
        let sources = &place.sources;
        Config::read(sources)
            .map(|config| config.kafka.properties["a"].clone())
            .map_err(|error| error.to_string().rsplit_once("properties.a: ").unwrap().1.to_owned())
    };
    let rows: [(&str, Result<&str, &str>); 13] = [
        ("${A}", Ok("a b")),
        ("x${A}y${B_2}", Ok("xa by?&")),
        ("https://h/?q=${B_2}&r=${A}", Ok("https://h/?q=%3F%26&r=a%20b")),
        ("${URL}", Ok("https://u:p@h")),
        ("$${A} costs $1", Ok("${A} costs $1")),
        ("file:secret", Ok("from file")),
        ("file:${FILE}", Ok("from file")),
        ("profile:secret", Ok("profile:secret")),
        ("${NONE}", Err("the variable `NONE` is not set")),
        ("${A", Err("`${` without its `}`")),
        ("${1}", Err("`${1}` is not the name of a variable")),
        ("${}", Err("`${}` is not the name of a variable")),
        ("file:none", Err("cannot read the file `none`")),
    ];
    let variables = [("A", "a b"), ("B_2", "?&"), ("URL", "https://u:p@h"), ("FILE", "secret")];
    for (value, expected) in rows {
        match (resolved(value, &variables), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{value}"),
            (Err(found), Err(expected)) => assert!(found.starts_with(expected), "{value}: {found}"),
            (found, _) => panic!("{value}: {found:?}"),
        }
    }
    // Every type can come by reference.
    let config = load("engine: { workers: '${N}' }", &[("N", "3")]).unwrap();
    assert_eq!(config.engine.workers, 3);
    // A store is no secret.
    assert_eq!(
        shown(&load("state: {snapshots: file:/a}", &[]).unwrap(), "state.snapshots"),
        "file:/a"
    );
}

#[test]
fn no_secret_is_shown() {
    let text = "
kafka:
  brokers: x
  group: ${HIDE}-group
  properties:
    sasl.password: HUNTER2
    ssl.key.password: HUNTER2
    sasl.oauthbearer.client.secret: HUNTER2
    ssl.key.pem: HUNTER2
    plain: file:secret
    url: https://user:HUNTER2@host/path?token=HUNTER2
notify:
  receivers:
    mail: { email: { smtp: 'smtp://user:HUNTER2@mail.example', from: a@b.c, to: ['${HIDE}@b.c'] } }
    mail-2: { email: { smtp: 'smtp://user:${HIDE}@mail.example', from: a@b.c, to: [a@b.c] } }
    sms: { sms: { url: 'https://u:HUNTER2@sms.example/?k=HUNTER2', account: '${HIDE}', token: HUNTER2, from: '1', to: ['2'] } }
    hook: { webhook: { url: 'https://hook.example/x?sig=HUNTER2', secret: file:secret } }
    slack: { slack: { url: 'https://hooks.example/HUNTER2/${HIDE}' } }
  default: [mail]
input: { fields: { user: '/${HIDE}' } }
state: { snapshots: 's3://KEY:HUNTER2@bucket/prefix?secret=HUNTER2' }
";
    let place = place(text, &[("HIDE", "HUNTER2")]);
    place.write("secret", "HUNTER2\n");
    let config = Config::load(&place.sources).unwrap();
    assert_eq!(config.kafka.group, "HUNTER2-group");
    let sections = format!("{:?}{:?}{:?}", config.kafka, config.input, config.state);
    let all = format!(
        "{}{config:?}{config:#?}{sections}{:?}{:?}",
        config.print(),
        config.notify,
        place.sources
    );
    assert!(!all.contains("HUNTER2"), "{all}");
    let rows = [
        ("kafka.brokers", "x"),
        ("kafka.group", "***-group"),
        ("kafka.properties.sasl.password", ""),
        ("kafka.properties.url", "https://user:***@host/path?***"),
        ("notify.receivers.hook.webhook.url", "https://hook.example/x?***"),
        ("notify.receivers.hook.webhook.secret", "***"),
        ("notify.receivers.mail.email.smtp", "smtp://user:***@mail.example"),
        ("notify.receivers.mail-2.email.smtp", "smtp://user:***@mail.example"),
        ("notify.receivers.slack.slack.url", "***"),
        ("notify.receivers.mail.email.to.0", "***@b.c"),
        ("notify.default.0", "mail"),
        ("state.snapshots", "s3://KEY:***@bucket/prefix?***"),
    ];
    for (path, expected) in rows {
        assert_eq!(shown(&config, path), expected, "{path}");
    }
    let served = load("http: { token: HUNTER2-HUNTER2-HUNTER2 }", &[]).unwrap();
    assert_eq!(shown(&served, "http.token"), "***");
    assert!(!format!("{}{served:?}{:?}", served.print(), served.http).contains("HUNTER2"));
    // Nor by the faults of values that do not fit.
    let fault = faults(
        "engine: { workers: '${HIDE}', flush_interval: '${HIDE}' }
input: { start: '${HIDE}' }
topics: { events: 'bad ${HIDE}' }
privacy: '${HIDE}'
notify: { receivers: { a: { webhook: 'https://u:HUNTER2@h' } }, give_up: '${HIDE}' }",
        &[("HIDE", "HUNTER2")],
    );
    assert!(fault.len() >= 6 && !fault.join("\n").contains("HUNTER2"), "{fault:#?}");
}

#[test]
fn no_secret_of_a_receiver_is_shown() {
    let text = "
notify:
  receivers:
    ali: { sms: { provider: aliyun, account: '${HIDE}', token: HUNTER2, from: x, template: T, to: ['2'] } }
    free: { sms: { provider: template, url: 'https://h/?k=HUNTER2', headers: { X-A: HUNTER2 }, body: 'k=${HIDE}', to: ['2'] } }
    ding: { dingtalk: { url: 'https://h/HUNTER2', secret: HUNTER2 } }
    fei: { feishu: { url: 'https://h/HUNTER2', secret: file:secret } }
    we: { wecom: { url: 'https://h/HUNTER2' } }
    am: { alertmanager: { url: 'https://u:HUNTER2@h', resend: 30s } }
";
    let place = place(text, &[("HIDE", "HUNTER2")]);
    place.write("secret", "HUNTER2\n");
    let config = Config::read(&place.sources).unwrap();
    let all = format!("{}{:?}", config.print(), config.notify);
    assert!(!all.contains("HUNTER2"), "{all}");
    for (path, expected) in [
        ("notify.receivers.ding.dingtalk.url", "***"),
        ("notify.receivers.free.sms.headers.X-A", "***"),
        ("notify.receivers.free.sms.body", "k=***"),
        ("notify.receivers.am.alertmanager.url", "https://u:***@h"),
        ("notify.receivers.am.alertmanager.resend", "30s"),
    ] {
        assert_eq!(shown(&config, path), expected, "{path}");
    }
}

#[test]
fn pages_that_others_can_reach_need_a_token() {
    let rows = [
        ("listen: 127.0.0.1:1", "", ""),
        ("listen: 127.9.9.9:1", "", ""),
        ("listen: '[::1]:1'", "", ""),
        ("listen: '[::ffff:127.0.0.1]:1'", "", ""),
        ("listen: 0.0.0.0:1", "", "http.listen"),
        ("listen: '[::]:1'", "", "http.listen"),
        ("listen: 10.0.0.1:1", "", "http.listen"),
        ("listen: 10.0.0.1:1", "0123456789abcdef", ""),
        ("listen: 10.0.0.1:1", "0123456789abcde", "http.token"),
        ("listen: 127.0.0.1:1", "with spaces in between", "http.token"),
        ("listen: 127.0.0.1:1", "0123456789abcdéf", "http.token"),
    ];
    for (listen, token, fault) in rows {
        let token = if token.is_empty() { String::new() } else { format!(", token: '{token}'") };
        let text = format!("http: {{ {listen}{token} }}");
        match load(&text, &[]) {
            Ok(_) => assert_eq!(fault, "", "{text}"),
            Err(error) => {
                let told = error.to_string();
                assert!(!fault.is_empty() && told.contains(fault), "{text}: {told}");
                assert!(told.contains("openssl rand -hex 32"), "{text}: {told}");
            }
        }
    }
    // Not here either.
    assert!(load("http: { token: '${TOKEN}' }", &[("TOKEN", "")]).is_err());
    // A variable that is empty is no way to switch it off.
    let text = "http: { listen: 0.0.0.0:1, token: '${TOKEN}' }";
    assert!(load(text, &[("TOKEN", "")]).is_err());
    assert!(load(text, &[]).is_err());
    assert!(load(text, &[("TOKEN", "0123456789abcdef")]).is_ok());
}

#[test]
fn addresses_lose_passwords_and_queries() {
    let rows = [
        ("plain text?x", "plain text?x"),
        ("https://host/path", "https://host/path"),
        ("https://host:1/a?b=c", "https://host:1/a?***"),
        ("https://host/a#b", "https://host/a#***"),
        ("smtp://u:p@h:1", "smtp://u:***@h:1"),
        ("https://token@h/x", "https://***@h/x"),
        ("smtp://u:p/w@h", "smtp://u:***@h"),
        ("smtp://u:p@w@h", "smtp://u:***@h"),
        ("smtp://u:p?w@h", "smtp://***"),
        ("https://h/x?to=a@b", "https://h/x?***"),
    ];
    for (text, expected) in rows {
        assert_eq!(without_credentials(text), expected);
    }
}

#[test]
fn what_is_printed_can_be_read_again() {
    let config = load(EXAMPLE, &SECRETS).unwrap();
    let printed = config.print();
    let again = load(&printed, &[]).unwrap();
    assert_eq!(again.redacted(), config.redacted(), "{printed}");
    assert_eq!(shown(&config, "notify.give_up"), "1d");
    assert_eq!(shown(&config, "notify.routes.0.escalate_after"), "15m");
    assert_eq!(shown(&config, "engine.dedup"), "10m");
}

/// Every key that a configuration can have; names of the user's own are `NAME`.
fn keys() -> Vec<String> {
    let mut keys = sections::keys();
    keys.retain(|key| !key.starts_with("notify."));
    let receivers = [
        ("email", &["smtp", "tls", "ca", "from", "to"][..]),
        (
            "sms",
            &[
                "provider", "url", "account", "token", "from", "to", "template", "params",
                "method", "headers", "body", "success",
            ][..],
        ),
        ("webhook", &["url", "secret"][..]),
        ("slack", &["url"][..]),
        ("dingtalk", &["url", "secret"][..]),
        ("feishu", &["url", "secret"][..]),
        ("wecom", &["url"][..]),
        ("alertmanager", &["url", "labels", "resolve_after", "resend"][..]),
        ("outbox", &["folder"][..]),
    ];
    for (way, settings) in receivers {
        keys.extend(settings.iter().map(|key| format!("notify.receivers.NAME.{way}.{key}")));
    }
    let all = ["reveal", "rate", "language", "templates"];
    keys.extend(all.map(|key| format!("notify.receivers.NAME.{key}")));
    let route = ["to", "group_wait", "group_interval", "repeat_interval", "escalate_after"];
    keys.extend(route.map(|key| format!("notify.routes[].{key}")));
    keys.extend(["severity", "rule", "key"].map(|key| format!("notify.routes[].match.{key}")));
    let notify = ["default", "give_up", "language", "templates", "url", "timezone"];
    keys.extend(notify.map(|key| format!("notify.{key}")));
    keys
}

#[test]
fn the_reference_names_every_key() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let reference = std::fs::read_to_string(file).unwrap();
    let missing: Vec<String> =
        keys().into_iter().filter(|key| !reference.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "docs/configuration.md does not tell of {missing:#?}");
}

#[test]
fn canaries_go_out_where_somebody_is_told_unless_one_says_otherwise() {
    use super::CanaryPath::{Events, Off, Partials};
    let broker = "kafka: { brokers: x }\n";
    let hook = "receivers: { hook: { webhook: { url: 'http://h' } } }";
    for (text, expected) in [
        (String::new(), Off),
        (format!("notify: {{ {hook} }}"), Partials),
        ("notify: { heartbeat: { url: 'http://h/x' } }".to_owned(), Partials),
        (format!("watch: {{ canary: off }}\nnotify: {{ {hook} }}"), Off),
        ("watch: { canary: events }".to_owned(), Events),
    ] {
        let config = load(&format!("{broker}{text}"), &[]).unwrap();
        assert_eq!(config.canary_path(), expected, "{text}");
    }
}

#[test]
fn what_watches_the_watcher_is_checked_and_its_address_is_a_secret() {
    let text = "
kafka: { brokers: x }
watch: { canary_interval: 10s, canary_lost_after: 10s, lag: 0, quarantine: 1.5 }
notify: { heartbeat: { every: 20s } }
";
    let found = faults(text, &[]).join("\n");
    for part in [
        "watch.canary_lost_after: must be at least a second more than watch.canary_interval",
        "watch.lag: must be at least 1",
        "watch.quarantine: must be more than 0 and at most 1",
        "heartbeat tells nobody: give `url` or `to`",
    ] {
        assert!(found.contains(part), "{part} is not in\n{found}");
    }
    let found = faults("kafka: { brokers: x }\nwatch: { canary: birds }", &[]);
    let expected =
        "tidegate.yaml:2: watch.canary: `birds` is not one of `auto`, `events`, `partials`, `off`";
    assert_eq!(found, [expected]);
    let text = "
kafka: { brokers: x }
notify: { heartbeat: { url: 'https://hc.example/ping/5b0c', every: 20s } }
";
    let printed = load(text, &[]).unwrap().print();
    assert!(!printed.contains("5b0c"), "{printed}");
    assert!(printed.contains("every: 20s") && printed.contains("method: GET"), "{printed}");
    assert!(printed.contains("canary_interval: 30s"), "{printed}");
}
