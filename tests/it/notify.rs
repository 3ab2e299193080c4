//! Delivery against real endpoints: HTTP servers on the loopback, and an SMTP server with
//! STARTTLS and authentication (`TIDEGATE_SMTP=1`; needs python3 with pip, and openssl).

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use axum::Router as Http;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use serde_json::json;
use tidegate::engine::Decision;
use tidegate::notify::{
    Delivery, Notice, NotifyMetrics, NotifySettings, Outcome, Report, Retry, signature,
};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::broker::skipped;

type Seen = (String, HeaderMap, Vec<u8>);

/// An HTTP server that remembers what it was sent.
#[derive(Clone, Default)]
pub(crate) struct Endpoint {
    seen: Arc<Mutex<Vec<Seen>>>,
    /// Answers to come; 200 when used up.
    answers: Arc<Mutex<VecDeque<u16>>>,
    /// While true all answers are 503, and nothing counts as seen.
    down: Arc<AtomicBool>,
}

impl Endpoint {
    pub(crate) async fn start(answers: &[u16]) -> (Endpoint, SocketAddr) {
        let endpoint = Endpoint {
            answers: Arc::new(Mutex::new(answers.iter().copied().collect())),
            ..Endpoint::default()
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Http::new().fallback(answer).with_state(endpoint.clone());
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        (endpoint, address)
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }
}

async fn answer(
    State(endpoint): State<Endpoint>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    if endpoint.down.load(Ordering::SeqCst) {
        return (StatusCode::SERVICE_UNAVAILABLE, "");
    }
    endpoint.seen.lock().unwrap().push((uri.path().to_owned(), headers, body.to_vec()));
    let next = endpoint.answers.lock().unwrap().pop_front();
    let status = StatusCode::from_u16(next.unwrap_or(200)).unwrap();
    (status, if status.is_success() { "ok" } else { "no more of it" })
}

pub(crate) fn decision(id: &str) -> Decision {
    serde_json::from_value(json!({
        "id": id, "ts": 1_763_779_200_123_i64, "rule": "cap", "level": 0, "severity": "critical",
        "mode": "live", "key": {"user": "u-1001"}, "measure": "sum(points)", "value": 5120,
        "bound": 5000, "summary": "user u-1001: sum(points) 5120 > 5000", "ruleset": "x",
        "alert": [],
    }))
    .unwrap()
}

pub(crate) fn notice(receiver: &str, ids: &[&str]) -> Notice {
    Notice {
        receiver: receiver.to_owned(),
        rule: "cap".to_owned(),
        decisions: ids.iter().map(|id| decision(id)).collect(),
        rest: 0,
        tickets: (1..).take(ids.len()).collect(),
        ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        offered_at: now_ms(),
        ..Notice::default()
    }
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_millis()
        .try_into()
        .unwrap()
}

pub(crate) fn quick() -> Retry {
    Retry {
        wait_min: Duration::from_millis(5),
        wait_max: Duration::from_millis(20),
        give_up: Duration::from_secs(20),
        timeout: Duration::from_secs(5),
    }
}

pub(crate) fn start(
    receivers: &serde_json::Value,
    retry: Retry,
) -> (Delivery, UnboundedReceiver<Report>, NotifyMetrics) {
    let settings: NotifySettings =
        serde_json::from_value(json!({ "receivers": receivers })).unwrap();
    assert_eq!(settings.faults(), []);
    let metrics = NotifyMetrics::new(&prometheus::Registry::new()).unwrap();
    let (delivery, reports) = Delivery::start(&settings, false, retry, &metrics).unwrap();
    (delivery, reports, metrics)
}

pub(crate) async fn next(reports: &mut UnboundedReceiver<Report>) -> Report {
    tokio::time::timeout(Duration::from_secs(30), reports.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_webhook_is_signed_masked_and_tried_until_it_succeeds() {
    let (endpoint, at) = Endpoint::start(&[500, 503, 401]).await;
    let receivers =
        json!({ "hook": { "webhook": { "url": format!("http://{at}/x"), "secret": "s" } } });
    let (delivery, mut reports, metrics) = start(&receivers, quick());
    delivery.hand(notice("hook", &["d1"]));
    assert_eq!(next(&mut reports).await.outcome, Outcome::Delivered);
    let seen = endpoint.seen();
    assert_eq!(seen.len(), 4);
    for (path, headers, body) in &seen {
        assert_eq!(path, "/x");
        assert_eq!(headers["idempotency-key"], "d1");
        assert_eq!(headers["tidegate-signature"], signature(b"s", body).as_str());
        let text = String::from_utf8(body.clone()).unwrap();
        assert!(text.contains("u-1***") && !text.contains("u-1001"), "{text}");
    }
    assert_eq!((metrics.value("hook", "failed"), metrics.value("hook", "delivered")), (3, 1));
}

#[tokio::test]
async fn an_sms_is_posted_once_to_each_although_the_second_failed_at_first() {
    let (endpoint, at) = Endpoint::start(&[201, 500]).await;
    let receivers = json!({ "sms": { "sms": { "url": format!("http://{at}/"), "account": "AC1",
        "token": "t", "from": "+15550100", "to": ["+15550101", "+15550102"] } } });
    let (delivery, mut reports, _) = start(&receivers, quick());
    delivery.hand(notice("sms", &["d1"]));
    assert_eq!(next(&mut reports).await.outcome, Outcome::Delivered);
    let mut to = Vec::new();
    for (path, headers, body) in endpoint.seen() {
        assert_eq!(path, "/2010-04-01/Accounts/AC1/Messages.json");
        assert_eq!(headers["authorization"], "Basic QUMxOnQ=");
        let form: std::collections::BTreeMap<_, _> =
            url::form_urlencoded::parse(&body).into_owned().collect();
        assert_eq!(form["From"], "+15550100");
        assert_eq!(form["Body"], "[critical] cap: user u-1*** sum(points) 5,120 > 5,000");
        to.push(form["To"].clone());
    }
    assert_eq!(to, ["+15550101", "+15550102", "+15550102"]);
}

#[tokio::test]
async fn a_dead_receiver_delays_no_other_and_ends_as_a_dead_letter() {
    // Bound and never accepting: connections hang rather than fail.
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (endpoint, at) = Endpoint::start(&[]).await;
    let receivers = json!({
        "deaf": { "webhook": { "url": format!("http://{}/", deaf.local_addr().unwrap()) } },
        "live": { "webhook": { "url": format!("http://{at}/") } },
    });
    let retry =
        Retry { give_up: Duration::from_secs(2), timeout: Duration::from_millis(900), ..quick() };
    let (delivery, mut reports, _) = start(&receivers, retry);
    let hopeless = notice("deaf", &["d0"]);
    delivery.hand(hopeless.clone());
    for n in 0..50 {
        delivery.hand(notice("live", &[&format!("d{n}")]));
    }
    for _ in 0..50 {
        let report = next(&mut reports).await;
        assert_eq!((report.notice.receiver.as_str(), report.outcome), ("live", Outcome::Delivered));
    }
    assert_eq!(endpoint.seen().len(), 50);
    let dead = next(&mut reports).await;
    assert_eq!((dead.notice, dead.attempts > 0), (hopeless, true));
    assert!(matches!(dead.outcome, Outcome::Dead(_)), "{:?}", dead.outcome);
}

#[tokio::test]
async fn what_exceeds_the_rate_arrives_as_one_digest() {
    let (endpoint, at) = Endpoint::start(&[]).await;
    // 60 a minute allow a burst of 60; the next place comes after one second.
    let receivers = json!({ "chat": { "slack": { "url": format!("http://{at}/") }, "rate": 60 } });
    let (delivery, mut reports, metrics) = start(&receivers, quick());
    for n in 0..160 {
        delivery.hand(notice("chat", &[&format!("d{n}")]));
    }
    let mut tickets = 0;
    let mut sent = 0;
    while tickets < 160 {
        let report = next(&mut reports).await;
        assert_eq!(report.outcome, Outcome::Delivered);
        tickets += report.notice.tickets.len();
        sent += 1;
    }
    assert_eq!(tickets, 160);
    assert!(sent < 65, "{sent} messages");
    assert_eq!(endpoint.seen().len(), sent);
    assert_eq!(metrics.value("chat", "digested"), 160 - u64::try_from(sent).unwrap());
}

#[tokio::test]
async fn one_that_is_refused_for_now_holds_up_none_behind_it() {
    let (endpoint, at) = Endpoint::start(&[503]).await;
    let receivers = json!({ "hook": { "webhook": { "url": format!("http://{at}/") } } });
    let retry = Retry { wait_min: Duration::from_millis(200), ..quick() };
    let (delivery, mut reports, _) = start(&receivers, retry);
    for id in ["d1", "d2", "d3"] {
        delivery.hand(notice("hook", &[id]));
    }
    let mut order = Vec::new();
    for _ in 0..3 {
        let report = next(&mut reports).await;
        order.push((report.notice.decisions[0].id.clone(), report.attempts));
    }
    assert_eq!(order, [("d2", 1), ("d3", 1), ("d1", 2)].map(|(id, n)| (id.to_owned(), n)));
    assert_eq!(endpoint.seen().len(), 4);
}

#[tokio::test]
async fn a_condemned_request_is_dead_at_once_and_others_of_a_digest_of_numbers_are_sent() {
    let (endpoint, at) = Endpoint::start(&[400, 201]).await;
    let receivers = json!({ "sms": { "sms": { "url": format!("http://{at}/"), "account": "AC1",
        "token": "t", "from": "+15550100", "to": ["bad", "+15550102"] } } });
    let (delivery, mut reports, _) = start(&receivers, quick());
    delivery.hand(notice("sms", &["d1"]));
    let report = next(&mut reports).await;
    assert!(matches!(report.outcome, Outcome::Dead(reason) if reason.contains("400")));
    assert_eq!((report.attempts, endpoint.seen().len()), (1, 2));
}

#[tokio::test]
async fn a_receiver_that_asks_for_time_is_left_alone_for_so_long() {
    let asked: Arc<Mutex<Vec<Instant>>> = Arc::default();
    let seen = Arc::clone(&asked);
    let app = Http::new().fallback(async move || {
        let mut seen = seen.lock().unwrap();
        seen.push(Instant::now());
        let first = seen.len() == 1;
        let status = if first { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
        (status, [("retry-after", "1")])
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    let receivers = json!({ "hook": { "webhook": { "url": format!("http://{at}/") } } });
    let (delivery, mut reports, _) = start(&receivers, quick());
    delivery.hand(notice("hook", &["d1"]));
    delivery.hand(notice("hook", &["d2"]));
    for _ in 0..2 {
        assert_eq!(next(&mut reports).await.outcome, Outcome::Delivered);
    }
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 3);
    // The other one waits, too: it is the receiver that asks.
    assert!(asked[1].duration_since(asked[0]) >= Duration::from_millis(990));
}

#[tokio::test]
async fn a_halt_lets_what_is_under_way_arrive_and_begins_nothing() {
    let (endpoint, at) = Endpoint::start(&[]).await;
    let (down, down_at) = Endpoint::start(&[]).await;
    down.set_down(true);
    let receivers = json!({
        "good": { "webhook": { "url": format!("http://{at}/") } },
        "down": { "webhook": { "url": format!("http://{down_at}/") } },
    });
    let hour = Duration::from_hours(1);
    let retry = Retry { wait_min: hour, wait_max: hour, give_up: 24 * hour, ..quick() };
    let (delivery, mut reports, metrics) = start(&receivers, retry);
    delivery.hand(notice("good", &["d1"]));
    delivery.hand(notice("down", &["d1"]));
    assert_eq!(next(&mut reports).await.outcome, Outcome::Delivered);
    while metrics.value("down", "failed") == 0 {
        tokio::task::yield_now().await;
    }
    delivery.halt(Duration::from_secs(30)).await;
    assert_eq!(reports.recv().await, None);
    assert_eq!(endpoint.seen().len(), 1);
}

#[tokio::test]
async fn an_outbox_holds_the_mail_and_the_short_message() {
    let folder = tempfile::tempdir().unwrap();
    let receivers = json!({ "demo": { "outbox": { "folder": folder.path().join("out") } } });
    let (delivery, mut reports, _) = start(&receivers, quick());
    delivery.hand(notice("demo", &["d1"]));
    assert_eq!(next(&mut reports).await.outcome, Outcome::Delivered);
    let read = |name: &str| std::fs::read_to_string(folder.path().join("out").join(name)).unwrap();
    let mail = read("demo-d1.eml");
    assert!(mail.contains("Subject: [critical] cap: user u-1***"));
    // The same whenever it is sent.
    assert!(mail.contains("Message-ID: <"), "{mail}");
    assert!(read("demo-d1.json").contains("u-1***"));
}

/// Ends the process it holds, by its own handle.
pub(crate) struct Server(pub(crate) Child);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().map(drop).unwrap_or_default();
    }
}

const SMTP_SERVER: &str = r#"
import asyncio, ssl, sys, os
from aiosmtpd.smtp import SMTP, AuthResult
folder, mode = sys.argv[1:]
class Handler:
    async def handle_DATA(self, server, session, envelope):
        if mode == "starttls" and session.ssl is None: return "530 not encrypted"
        with open(folder + "/mail.part", "wb") as f: f.write(envelope.content)
        os.rename(folder + "/mail.part", folder + "/mail.eml")
        return "250 OK"
def auth(server, session, envelope, mechanism, data):
    good = data.login == b"user@x" and data.password == b"p+ss&w=rd"
    return AuthResult(success=good, handled=False if not good else True)
async def main():
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
    loop = asyncio.get_running_loop()
    shared = dict(auth_required=True, authenticator=auth)
    if mode == "tls":
        make = lambda: SMTP(Handler(), auth_require_tls=False, **shared)
        server = await loop.create_server(make, "127.0.0.1", 0, ssl=tls)
    else:
        make = lambda: SMTP(Handler(), tls_context=tls, require_starttls=True, **shared)
        server = await loop.create_server(make, "127.0.0.1", 0)
    with open(folder + "/port.part", "w") as f: f.write(str(server.sockets[0].getsockname()[1]))
    os.rename(folder + "/port.part", folder + "/port")
    await server.serve_forever()
asyncio.run(main())
"#;

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A root of our own (`ca.pem`) and a server certificate it has signed.
fn certify(at: &dyn Fn(&str) -> String) {
    let new = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj";
    let (root_key, root) = (at("ca.key"), at("ca.pem"));
    let mut arguments: Vec<&str> = new.split(' ').collect();
    arguments.extend(["/CN=test root", "-keyout", &root_key, "-out", &root]);
    run("openssl", &arguments);
    let (key, cert) = (at("key.pem"), at("cert.pem"));
    let mut arguments: Vec<&str> = new.split(' ').collect();
    arguments.extend(["/CN=localhost", "-keyout", &key, "-out", &cert]);
    arguments.extend(["-CA", &root, "-CAkey", &root_key]);
    arguments.extend(["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]);
    arguments.extend(["-addext", "basicConstraints=critical,CA:FALSE"]);
    run("openssl", &arguments);
}

fn python() -> String {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/smtp-venv");
    let python = venv.join("bin/python3").display().to_string();
    let ready = venv.join("ready");
    // Tests run side by side.
    let lock = std::fs::File::create(venv.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    if !ready.exists() {
        run("python3", &["-m", "venv", &venv.display().to_string()]);
        run(&python, &["-m", "pip", "install", "--quiet", "aiosmtpd==1.4.6"]);
        std::fs::write(ready, "").unwrap();
    }
    python
}

#[expect(clippy::panic, reason = "a test helper that cannot go on should stop the test")]
async fn wait_for(path: &Path) -> String {
    for _ in 0..2_400 {
        if let Ok(text) = std::fs::read_to_string(path) {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{} never came", path.display());
}

/// A mail server with encryption and authentication, and what it received.
pub(crate) struct Smtp {
    folder: tempfile::TempDir,
    port: String,
    _server: Server,
}

impl Smtp {
    /// `None`, and a loud word, where it is not wanted.
    pub(crate) async fn start(mode: &str) -> Option<Smtp> {
        if std::env::var("TIDEGATE_SMTP").is_err() {
            skipped("it sends mail; set TIDEGATE_SMTP=1 to run it");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        certify(&at);
        std::fs::write(at("server.py"), SMTP_SERVER).unwrap();
        let child = Command::new(python())
            .args([&at("server.py"), &folder.path().display().to_string(), mode])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let server = Server(child);
        let port = wait_for(&folder.path().join("port")).await;
        Some(Smtp { folder, port, _server: server })
    }

    pub(crate) fn receiver(&self, mode: &str, password: &str, trusted: bool) -> serde_json::Value {
        let ca = trusted.then(|| self.folder.path().join("ca.pem"));
        json!({ "email": { "smtp": format!("smtp://user%40x:{password}@127.0.0.1:{}", self.port),
            "tls": mode, "ca": ca, "from": "Risk <risk@example.com>",
            "to": ["oncall@example.com"] } })
    }

    /// The mail that came last.
    pub(crate) async fn mail(&self) -> String {
        wait_for(&self.folder.path().join("mail.eml")).await
    }
}

pub(crate) const SMTP_PASSWORD: &str = "p+ss%26w=rd";

async fn a_mail_goes_out(mode: &str) {
    let Some(smtp) = Smtp::start(mode).await else { return };
    let retry = Retry { give_up: Duration::from_millis(300), ..quick() };
    let receivers = json!({ "good": smtp.receiver(mode, SMTP_PASSWORD, true),
        "wrong": smtp.receiver(mode, "no", true),
        "untrusting": smtp.receiver(mode, SMTP_PASSWORD, false) });
    let (delivery, mut reports, _) = start(&receivers, retry);
    for (name, why) in [("wrong", "535"), ("untrusting", "certificate")] {
        delivery.hand(notice(name, &["d1"]));
        let outcome = next(&mut reports).await.outcome;
        let dead = matches!(&outcome, Outcome::Dead(reason) if reason.contains(why));
        assert!(dead, "{name}: {outcome:?}");
    }
    assert!(!smtp.folder.path().join("mail.eml").exists());
    delivery.hand(notice("good", &["d1"]));
    assert_eq!(next(&mut reports).await.outcome, Outcome::Delivered);
    let text = smtp.mail().await;
    assert!(text.contains("Subject: [critical] cap: user u-1***"), "{text}");
    assert!(text.contains("text/plain") && text.contains("text/html"), "{text}");
    assert!(!text.contains("u-1001"), "{text}");
}

#[tokio::test]
async fn a_mail_goes_out_over_starttls_with_authentication() {
    a_mail_goes_out("starttls").await;
}

#[tokio::test]
async fn a_mail_goes_out_over_tls_from_the_first_byte_with_authentication() {
    a_mail_goes_out("tls").await;
}
