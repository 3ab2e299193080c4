//! SASL and TLS to a real Kafka with both on (`TIDEGATE_KAFKA=1`; needs openssl): what the
//! guide's example says works, what is wrong is told in words, and no secret is told at all.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;
use tidegate::stream::kafka::Reader;

use crate::broker::{self, Broker, wait};
use crate::process::Instance;
use crate::run::{Setup, event};

/// With characters that YAML, a shell or an address might trip over. Kafka's own tool takes no
/// comma.
const PASSWORD: &str = "hunter2=p@ss w0rd%&+#";
const WRONG: &str = "not-hunter2=p@ss w0rd";
const REFUSED: &str = "no way into the broker";

/// A folder of certificates, and the one broker of these tests that knows the user `tidegate`.
struct Gate {
    folder: TempDir,
    broker: Broker,
}

fn openssl(folder: &Path, arguments: &str) {
    let mut openssl = Command::new("openssl");
    openssl.args(arguments.split(' ')).current_dir(folder);
    let output = openssl.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A root, a certificate for the broker that it has signed, and a root that has signed nothing.
fn certify(folder: &Path) {
    let new = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj";
    for root in ["ca", "other-ca"] {
        openssl(folder, &format!("{new} /CN={root} -keyout {root}.key -out {root}.pem"));
    }
    openssl(
        folder,
        &format!(
            "{new} /CN=broker -keyout broker.key -out broker.pem -CA ca.pem -CAkey ca.key \
             -addext subjectAltName=IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE"
        ),
    );
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).unwrap();
    let store = read("broker.key") + &read("broker.pem");
    std::fs::write(folder.join("keystore.pem"), store).unwrap();
}

/// One for both tests, since a broker takes long to start.
fn gate() -> Option<Gate> {
    if !broker::wanted() {
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let store = folder.path().join("keystore.pem").display().to_string();
    let listeners = "PLAINTEXT://127.0.0.1:{port},SASL_SSL://127.0.0.1:{secure},\
                     CONTROLLER://127.0.0.1:{controller}";
    let protocols = "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT";
    let login = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let properties = [
        // The plain one is for the test's own hands.
        ("listeners", listeners),
        ("listener.security.protocol.map", protocols),
        ("sasl.enabled.mechanisms", "SCRAM-SHA-512"),
        ("listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config", login),
        ("ssl.keystore.type", "PEM"),
        ("ssl.keystore.location", &store),
    ];
    let user = format!("SCRAM-SHA-512=[name=tidegate,password=\"{PASSWORD}\"]");
    let broker = broker::formatted(&properties, &["--add-scram", &user])?;
    Some(Gate { folder, broker })
}

impl Gate {
    /// A configuration as the guide gives it, with the test's own addresses and topics.
    fn setup(&self, name: &str, ca: &str, password: &str) -> Setup {
        let setup = Setup::new(self.broker.secure_address(), name, "");
        let ca = self.folder.path().join(ca).display().to_string();
        let mut kafka = example();
        for (theirs, ours) in [
            ("kafka-1.example:9093,kafka-2.example:9093", self.broker.secure_address()),
            ("/etc/tidegate/kafka-ca.pem", &ca),
            ("\"${KAFKA_PASSWORD}\"", password),
        ] {
            assert!(kafka.contains(theirs), "{theirs}");
            kafka = kafka.replace(theirs, ours);
        }
        let config = std::fs::read_to_string(setup.path().join("tidegate.yaml")).unwrap();
        let topics = config.lines().find(|line| line.starts_with("topics: ")).unwrap();
        let topic = setup.topic("");
        let group = topic.trim_end_matches('.');
        // What the client itself logs must not tell either.
        let more = format!("    debug: 'security,broker,conf'\n  group: {group}\n{topics}\n");
        setup.write("tidegate.yaml", &(kafka + &more));
        setup
    }
}

/// The first example under "Securing the pipe" of the guide.
fn example() -> String {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let guide = std::fs::read_to_string(guide).unwrap();
    let (_, section) = guide.split_once("\n## Securing the pipe\n").unwrap();
    let (_, example) = section.split_once("```yaml\n").unwrap();
    example.split_once("```").unwrap().0.to_owned()
}

/// With everything logged, by the Kafka client too.
fn start(setup: &Setup, variable: &str) -> Instance {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.env("KAFKA_PASSWORD", variable).env("TIDEGATE_LOG", "trace");
    Instance::spawn(command, setup.path())
}

fn tidegate(setup: &Setup, arguments: &[&str], variable: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).env("KAFKA_PASSWORD", variable).current_dir(setup.path());
    command.output().unwrap()
}

/// Neither the password nor its plain part, which stays as it is when quoted or encoded.
fn assert_hidden(place: &str, text: &str, password: &str) {
    assert!(!text.is_empty(), "{place} says something");
    for part in [password, "hunter2"] {
        assert!(!text.contains(part), "{place} tells the password: {text}");
    }
}

/// Every place where an instance or a command could tell its password.
fn assert_all_hidden(setup: &Setup, instance: &Instance, password: &str) {
    for page in ["/", "/metrics", "/api/v1/status", "/readyz", "/healthz"] {
        assert_hidden(page, &instance.get(page).1, password);
    }
    assert_hidden("the log", &instance.log(), password);
    let printed = tidegate(setup, &["run", "--print-config"], password);
    assert!(printed.status.success());
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert_hidden("--print-config", &printed, password);
    assert!(printed.contains("sasl.password: \"***\""), "{printed}");
    assert!(printed.contains("sasl.username: tidegate"), "{printed}");
}

#[test]
fn over_sasl_and_tls_events_come_in_and_commands_go_out() {
    let Some(gate) = gate() else { return };
    let broker = &gate.broker;
    let setup = gate.setup("secure", "ca.pem", "\"${KAFKA_PASSWORD}\"");
    let made = tidegate(&setup, &["topics", "create"], PASSWORD);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(String::from_utf8_lossy(&made.stdout).contains(&setup.topic("events")));
    let instance = start(&setup, PASSWORD);
    wait("it is ready", || instance.is_ready());
    let events: Vec<(String, String)> = (0..20).map(|n| event(n, "u-1", 100)).collect();
    broker.produce(&setup.topic("events"), &events);
    let freezes = broker.read_until(&setup.topic("commands"), broker::PATIENCE, |commands| {
        commands.iter().any(|command| command.value.contains("\"freeze\""))
    });
    assert!(freezes.iter().all(|freeze| freeze.key.as_deref() == Some("u-1")));
    wait("all events are committed", || setup.caught_up(broker));
    assert_all_hidden(&setup, &instance, PASSWORD);
    assert!(instance.log().contains("librdkafka"), "the client has logged as well");
    assert!(instance.stop().0.success());
    refused(&gate);
}

/// Of the same broker, since one takes long to start.
fn refused(gate: &Gate) {
    // The secret by file this time, as editors leave it.
    let password = gate.setup("wrong-password", "ca.pem", "file:password");
    password.write("password", &format!("{WRONG}\n"));
    let ca = gate.setup("wrong-ca", "other-ca.pem", "file:password");
    ca.write("password", &format!("{PASSWORD}\n"));
    let rows = [
        (&password, WRONG, "invalid credentials with SASL mechanism SCRAM-SHA-512"),
        (&ca, PASSWORD, "certificate could not be verified"),
    ];
    let instances = rows.map(|(setup, secret, _)| start(setup, secret));
    for ((setup, secret, cause), instance) in rows.iter().zip(instances) {
        let told = instance.line(REFUSED);
        assert!(told.contains(cause) && told.contains("ERROR"), "{told}");
        let (status, reason) = instance.get("/readyz");
        assert_eq!(status, 503);
        assert!(reason.contains(REFUSED) && reason.contains(cause), "{reason}");
        assert_eq!(instance.get("/healthz").0, 200, "the process lives on");
        assert_all_hidden(setup, &instance, secret);
        let made = tidegate(setup, &["topics", "create"], secret);
        let said = String::from_utf8(made.stderr).unwrap();
        assert_eq!(made.status.code(), Some(2));
        assert!(said.contains(REFUSED) && said.contains(cause), "{said}");
        assert_hidden("topics create", &said, secret);
        assert!(!instance.has_ended());
        let (status, took) = instance.stop();
        assert!(status.success());
        assert!(took < Duration::from_secs(10), "C7: {took:?}");
    }
}

#[test]
fn a_reader_tells_no_value_that_it_cannot_use() {
    // No broker is needed.
    let of = |name: &str| BTreeMap::from([(name.to_owned(), "hunter2".to_owned())]);
    for name in ["sasl.passwrod", "security.protocol"] {
        let error = Reader::open("127.0.0.1:9", &of(name), "t", &[(0, 0)]).unwrap_err();
        assert!(error.contains(name) && !error.contains("hunter2"), "{error}");
    }
}

#[test]
fn pages_that_others_could_reach_are_not_served_without_a_token() {
    // No broker is needed.
    let setup = Setup::new("127.0.0.1:9", "open", "");
    let open = tidegate(&setup, &["run", "--listen", "0.0.0.0:0"], "");
    assert_eq!(open.status.code(), Some(2));
    let said = String::from_utf8(open.stderr).unwrap();
    assert!(said.contains("http.listen") && said.contains("set `http.token`"), "{said}");

    let setup = Setup::new("127.0.0.1:9", "token", "http: { token: '${KAFKA_PASSWORD}' }");
    let token = "hunter2-0123456789abcdef";
    let instance = start(&setup, token);
    for path in ["/", "/metrics", "/api/v1/status"] {
        let url = format!("http://{}{path}", instance.address);
        let (status, text) = instance.get(path);
        assert_eq!(status, 401);
        assert_hidden(path, &text, token);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (status, text) = runtime.block_on(async {
            let request = reqwest::Client::new().get(url).bearer_auth(token);
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        });
        assert_eq!(status, 200, "{text}");
        assert_hidden(path, &text, token);
    }
    assert_eq!([instance.get("/healthz").0, instance.get("/readyz").0], [200, 503]);
    assert_hidden("the log", &instance.log(), token);
    let printed = tidegate(&setup, &["run", "--print-config"], token);
    assert_hidden("--print-config", &String::from_utf8(printed.stdout).unwrap(), token);
    assert!(instance.stop().0.success());
}
