//! Receivers against counterparts that check what they get by the providers' own documents: the
//! signature is computed anew from what arrived, and what does not hold is refused in the
//! provider's own way. Alertmanager is the real one (Debian package `prometheus-alertmanager`).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router as Http;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use tidegate::notify::{Notice, Outcome};

use crate::notify::{decision, next, notice, quick, start};

/// What a counterpart was asked.
#[derive(Debug, Clone)]
struct Asked {
    method: String,
    uri: Uri,
    headers: HeaderMap,
    body: String,
}

impl Asked {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn query(&self) -> BTreeMap<String, String> {
        let query = self.uri.query().unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }
}

type Answer = (u16, Value);

/// A provider: answers by `judge`, unless an answer was laid down for the next request.
#[derive(Clone)]
struct Provider {
    asked: Arc<Mutex<Vec<Asked>>>,
    laid_down: Arc<Mutex<VecDeque<Answer>>>,
    at: SocketAddr,
}

impl Provider {
    async fn start(
        laid_down: &[Answer],
        judge: impl Fn(&Asked) -> Answer + Clone + Send + Sync + 'static,
    ) -> Provider {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let provider = Provider {
            asked: Arc::default(),
            laid_down: Arc::new(Mutex::new(laid_down.iter().cloned().collect())),
            at: listener.local_addr().unwrap(),
        };
        let own = provider.clone();
        let app = Http::new().fallback(
            async move |method: axum::http::Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                let body = String::from_utf8(body.to_vec()).unwrap();
                let asked = Asked { method: method.to_string(), uri, headers, body };
                let laid_down = own.laid_down.lock().unwrap().pop_front();
                let (status, answer) = laid_down.unwrap_or_else(|| judge(&asked));
                own.asked.lock().unwrap().push(asked);
                (StatusCode::from_u16(status).unwrap(), answer.to_string())
            },
        );
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        provider
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }
}

/// One notice to one receiver, until it is settled.
async fn told(receiver: Value, notice: Notice) -> (Outcome, u32) {
    let (delivery, mut reports, _) = start(&json!({ "r": receiver }), quick());
    delivery.hand(Notice { receiver: "r".to_owned(), ..notice });
    let report = next(&mut reports).await;
    (report.outcome, report.attempts)
}

fn many(count: usize) -> Notice {
    let mut notice = notice("r", &["d1"]);
    notice.decisions = (0..count).map(|n| decision(&format!("d{n}"))).collect();
    for decision in &mut notice.decisions {
        decision.actions = vec!["freeze issue until 2025-11-22T16:00:00Z".to_owned()];
    }
    notice.tickets = (1..).take(count).collect();
    notice
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

fn hmac_sha256(key: &str, text: &str) -> String {
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// DingTalk's documented check: the timestamp within an hour, the signature over it.
fn dingtalk(asked: &Asked) -> Answer {
    let query = asked.query();
    let timestamp = query.get("timestamp").cloned().unwrap_or_default();
    let near = timestamp.parse::<u64>().is_ok_and(|ms| (ms / 1000).abs_diff(now_s()) < 3600);
    let signed = hmac_sha256("SEC1", &format!("{timestamp}\nSEC1"));
    if query.get("access_token").map(String::as_str) != Some("tok") {
        return (200, json!({ "errcode": 300_001, "errmsg": "token is not exist" }));
    }
    if !near || query.get("sign") != Some(&signed) {
        return (200, json!({ "errcode": 310_000, "errmsg": "sign not match" }));
    }
    let body = asked.json();
    let whole = body["msgtype"] == "markdown"
        && body["markdown"]["title"].is_string()
        && body["markdown"]["text"].is_string();
    let code = if whole && asked.body.len() <= 20_000 { 0 } else { 40_035 };
    (200, json!({ "errcode": code, "errmsg": "ok" }))
}

#[tokio::test]
async fn dingtalk_takes_a_signed_message_after_it_was_throttled() {
    let busy = json!({ "errcode": 130_101, "errmsg": "send too fast, exceed 20 times per minute" });
    let provider = Provider::start(&[(200, busy)], dingtalk).await;
    let url = provider.url("/robot/send?access_token=tok");
    let robot = json!({ "dingtalk": { "url": url, "secret": "SEC1" } });
    assert_eq!(told(robot, notice("r", &["d1"])).await, (Outcome::Delivered, 2));
    let body = provider.asked()[1].json();
    assert_eq!(body["markdown"]["title"], "[critical] cap: user u-1***");
    let text = body["markdown"]["text"].as_str().unwrap();
    assert!(text.contains("**user u-1＊＊＊** sum(points) 5,120 ＞ 5,000"), "{text}");
}

#[tokio::test]
async fn dingtalk_says_in_a_body_of_200_that_it_refuses() {
    let unsafe_content = json!({ "errcode": 430_101, "errmsg": "contains unsafe content" });
    let provider = Provider::start(&[(200, unsafe_content)], dingtalk).await;
    let url = provider.url("/robot/send?access_token=tok");
    let robot = json!({ "dingtalk": { "url": url, "secret": "SEC1" } });
    let (outcome, attempts) = told(robot, notice("r", &["d1"])).await;
    assert!(matches!(outcome, Outcome::Dead(reason) if reason.contains("430101")));
    assert_eq!(attempts, 1);
    // A wrong secret may be put right.
    let robot = json!({ "dingtalk": { "url": url, "secret": "SEC2" } });
    let (delivery, mut reports, metrics) = start(&json!({ "r": robot }), quick());
    delivery.hand(notice("r", &["d1"]));
    while metrics.value("r", "failed") < 3 {
        tokio::task::yield_now().await;
    }
    drop(delivery);
    assert!(reports.recv().await.is_none());
}

/// Feishu's documented check: the HMAC of nothing under the timestamp in seconds and the secret.
fn feishu(asked: &Asked) -> Answer {
    let body = asked.json();
    let timestamp = body["timestamp"].as_str().unwrap_or_default();
    let near = timestamp.parse::<u64>().is_ok_and(|at| at.abs_diff(now_s()) < 3600);
    if !near || body["sign"] != hmac_sha256(&format!("{timestamp}\nsec"), "") {
        let msg = "sign match fail or timestamp is not within one hour from current time";
        return (200, json!({ "code": 19_021, "data": {}, "msg": msg }));
    }
    let element = &body["card"]["elements"][0]["text"];
    let whole = body["msg_type"] == "interactive"
        && body["card"]["header"]["title"]["tag"] == "plain_text"
        && element["tag"] == "lark_md";
    if !whole || asked.body.len() > 20_480 {
        return (400, json!({ "code": 9_499, "msg": "Bad Request", "data": {} }));
    }
    (
        200,
        json!({ "StatusCode": 0, "StatusMessage": "success", "code": 0, "data": {}, "msg": "success" }),
    )
}

#[tokio::test]
async fn feishu_takes_a_signed_card_after_it_was_throttled() {
    let busy = json!({ "code": 11_232, "msg": "frequency limited psm", "data": {} });
    let provider = Provider::start(&[(400, busy)], feishu).await;
    let robot =
        json!({ "feishu": { "url": provider.url("/open-apis/bot/v2/hook/x"), "secret": "sec" } });
    // Status 400 alone would condemn it; the code says that it may pass.
    assert_eq!(told(robot, many(50)).await, (Outcome::Delivered, 2));
    let body = provider.asked()[1].json();
    assert_eq!(body["card"]["header"]["template"], "red");
    let text = body["card"]["elements"][0]["text"]["content"].as_str().unwrap();
    assert!(text.contains("**user u&#45;1&#42;&#42;&#42;**"), "{text}");
    let malformed = json!({ "code": 9_499, "msg": "Bad Request" });
    let provider = Provider::start(&[(400, malformed)], feishu).await;
    let robot = json!({ "feishu": { "url": provider.url("/x"), "secret": "sec" } });
    let (outcome, attempts) = told(robot, notice("r", &["d1"])).await;
    assert!(matches!(outcome, Outcome::Dead(_)) && attempts == 1, "{outcome:?}");
}

fn wecom(asked: &Asked) -> Answer {
    let content = asked.json()["markdown"]["content"].as_str().unwrap_or_default().to_owned();
    if content.len() > 4_096 {
        let errmsg = "markdown.content exceed max length 4096. invalid Request Parameter";
        return (200, json!({ "errcode": 40_058, "errmsg": errmsg }));
    }
    (200, json!({ "errcode": 0, "errmsg": "ok" }))
}

#[tokio::test]
async fn wecom_gets_what_fits_and_the_count_of_the_rest() {
    let busy = json!({ "errcode": 45_009, "errmsg": "api freq out of limit" });
    let provider = Provider::start(&[(200, busy)], wecom).await;
    let robot = json!({ "wecom": { "url": provider.url("/cgi-bin/webhook/send?key=k") } });
    assert_eq!(told(robot, Notice { rest: 1_384, ..many(50) }).await, (Outcome::Delivered, 2));
    let body = provider.asked()[1].json();
    let content = body["markdown"]["content"].as_str().unwrap();
    let listed = content.matches("**user u-1").count();
    assert!((10..50).contains(&listed), "{listed}: {content}");
    assert!(content.contains(&format!("and {} more", digits(1_434 - listed))), "{content}");
}

fn digits(count: usize) -> String {
    format!("{},{:03}", count / 1000, count % 1000)
}

#[tokio::test]
async fn slack_gets_blocks_within_its_bounds_and_nothing_that_pings() {
    let provider = Provider::start(&[], |asked| {
        let blocks = asked.json()["blocks"].clone();
        let fits =
            |block: &Value, max| block["text"]["text"].as_str().unwrap().chars().count() <= max;
        let whole = blocks[0]["type"] == "header"
            && blocks[0]["text"]["type"] == "plain_text"
            && fits(&blocks[0], 150)
            && blocks[1]["type"] == "section"
            && fits(&blocks[1], 3_000);
        if whole { (200, "ok".into()) } else { (400, "invalid_blocks".into()) }
    })
    .await;
    let mut notice = many(50);
    notice.decisions[0].key["user"] = "<!channel> *all*".into();
    notice.rule = "r".repeat(200);
    let slack = json!({ "slack": { "url": provider.url("/services/T/B/x") }, "reveal": true });
    assert_eq!(told(slack, notice).await, (Outcome::Delivered, 1));
    let body = &provider.asked()[0].body;
    assert!(!body.contains("<!channel>"), "{body}");
    assert!(body.contains("&lt;!channel&gt; ＊all＊"), "{body}");
}

/// RFC 3986 without any of our code.
fn encoded(text: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| if keep(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Aliyun's documented check of an RPC request: all parameters but the signature in order of
/// name, encoded, encoded once more, under the secret with an `&`.
fn aliyun(asked: &Asked) -> Answer {
    let pairs = url::form_urlencoded::parse(asked.body.as_bytes()).into_owned();
    let mut parameters: BTreeMap<String, String> = pairs.collect();
    let signature = parameters.remove("Signature").unwrap_or_default();
    let query: Vec<String> = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    let text = format!("{}&%2F&{}", asked.method, encoded(&query.join("&")));
    let mut mac = Hmac::<sha1::Sha1>::new_from_slice(b"keysecret&").unwrap();
    mac.update(text.as_bytes());
    let refused = |status, code: &str, message: &str| {
        (status, json!({ "Code": code, "Message": message, "RequestId": "F655A8D5" }))
    };
    if signature != STANDARD.encode(mac.finalize().into_bytes()) {
        return refused(400, "SignatureDoesNotMatch", "Specified signature is not matched");
    }
    let is = |name: &str, value: &str| parameters.get(name).is_some_and(|given| given == value);
    let now = jiff::Timestamp::now();
    let near = parameters["Timestamp"]
        .parse::<jiff::Timestamp>()
        .is_ok_and(|at| (now.as_second() - at.as_second()).abs() < 900);
    if !near || !is("Action", "SendSms") || !is("Version", "2017-05-25") {
        return refused(400, "InvalidParameter", "no such action");
    }
    if !parameters["PhoneNumbers"].bytes().all(|byte| byte.is_ascii_digit()) {
        return refused(200, "isv.MOBILE_NUMBER_ILLEGAL", "号码格式错误");
    }
    let params: Value = serde_json::from_str(&parameters["TemplateParam"]).unwrap();
    let fits = |value: &Value| value.as_str().is_some_and(|text| text.chars().count() <= 35);
    if !params.as_object().unwrap().values().all(fits) {
        return refused(200, "isv.PARAM_LENGTH_LIMIT", "参数超出长度限制");
    }
    (200, json!({ "Code": "OK", "Message": "OK", "BizId": "1", "RequestId": "F655A8D5" }))
}

fn aliyun_sms(provider: &Provider, to: &[&str]) -> Value {
    json!({ "sms": { "provider": "aliyun", "url": provider.url("/"), "account": "keyid",
        "token": "keysecret", "from": "测试", "template": "SMS_1", "to": to }, "language": "zh" })
}

#[tokio::test]
async fn aliyun_takes_what_is_signed_and_is_asked_again_when_it_throttles() {
    let busy =
        json!({ "Code": "isv.BUSINESS_LIMIT_CONTROL", "Message": "触发分钟级流控Permits:1" });
    let provider = Provider::start(&[(200, busy)], aliyun).await;
    let sms = aliyun_sms(&provider, &["13800000001", "13800000002"]);
    assert_eq!(told(sms, notice("r", &["d1"])).await, (Outcome::Delivered, 2));
    let asked = provider.asked();
    let sent: Vec<BTreeMap<String, String>> = asked
        .iter()
        .map(|asked| url::form_urlencoded::parse(asked.body.as_bytes()).into_owned().collect())
        .collect();
    let to: Vec<&str> = sent.iter().map(|form| form["PhoneNumbers"].as_str()).collect();
    assert_eq!(to, ["13800000001", "13800000001", "13800000002"]);
    assert!(sent.iter().all(|form| form["SignName"] == "测试" && form["TemplateCode"] == "SMS_1"));
    let params: Value = serde_json::from_str(&sent[0]["TemplateParam"]).unwrap();
    assert_eq!(params["who"], "用户 u-1***");
    assert_eq!(params["value"], "积分合计 5,120 > 5,000");
    let nonces: std::collections::BTreeSet<&str> =
        sent.iter().map(|form| form["SignatureNonce"].as_str()).collect();
    assert_eq!(nonces.len(), 3);
}

#[tokio::test]
async fn a_bad_number_is_not_tried_again_and_takes_no_other_with_it() {
    let provider = Provider::start(&[], aliyun).await;
    let sms = aliyun_sms(&provider, &["bad", "13800000002"]);
    let (outcome, attempts) = told(sms, notice("r", &["d1"])).await;
    assert!(
        matches!(&outcome, Outcome::Dead(reason) if reason.contains("isv.MOBILE_NUMBER_ILLEGAL")),
        "{outcome:?}"
    );
    assert_eq!((attempts, provider.asked().len()), (1, 2));
}

#[tokio::test]
async fn a_wrong_secret_of_aliyun_may_be_put_right() {
    let provider = Provider::start(&[], aliyun).await;
    let mut sms = aliyun_sms(&provider, &["13800000001"]);
    sms["sms"]["token"] = "wrong".into();
    let (delivery, _reports, metrics) = start(&json!({ "r": sms }), quick());
    delivery.hand(notice("r", &["d1"]));
    while metrics.value("r", "failed") < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(metrics.value("r", "dead"), 0);
}

#[tokio::test]
async fn any_other_interface_is_reached_by_templates() {
    let provider =
        Provider::start(&[(200, json!({ "result": 7 }))], |_| (200, json!({ "result": 0 }))).await;
    let sms = json!({ "sms": {
        "provider": "template", "method": "PUT", "url": provider.url("/send/{{ to }}?rule={{ rule }}"),
        "token": "t\"k", "from": "risk", "to": ["+86 138"],
        "headers": { "X-Key": "{{ token }}", "X-Rule": "{{ rule }}", "X-Id": "{{ notice_id }}" },
        "body": r#"{"from":"{{ from }}","token":"{{ token }}","text":"{{ text }}"}"#,
        "success": "json.result == 0",
    } });
    let mut notice = notice("r", &["d1"]);
    notice.rule = "a\"b\r\nX-Evil: 1 &c".to_owned();
    assert_eq!(told(sms, notice).await, (Outcome::Delivered, 2));
    let asked = provider.asked();
    let last = asked.last().unwrap();
    assert_eq!(last.method, "PUT");
    assert_eq!(last.uri.path(), "/send/%2B86%20138");
    assert_eq!(last.query()["rule"], "a\"b X-Evil: 1 &c");
    assert_eq!(last.headers["content-type"], "application/json");
    assert_eq!(last.headers["x-rule"], "a\"b X-Evil: 1 &c");
    assert!(!last.headers.contains_key("x-evil"));
    // Tried again it is the same.
    assert_eq!(last.headers["x-id"].len(), 32);
    assert_eq!(last.headers["x-id"], asked[0].headers["x-id"]);
    assert_eq!(last.json()["token"], "t\"k");
    assert!(last.json()["text"].as_str().unwrap().starts_with("[critical] a\"b X-Evil"));
}

#[tokio::test]
async fn a_form_of_templates_is_percent_encoded() {
    let provider = Provider::start(&[], |_| (200, Value::Null)).await;
    let sms = json!({ "sms": { "provider": "template", "url": provider.url("/"), "to": ["1&to=2"],
        "body": "to={{ to }}&text={{ text }}" } });
    assert_eq!(told(sms, notice("r", &["d1"])).await, (Outcome::Delivered, 1));
    let asked = &provider.asked()[0];
    assert_eq!(asked.headers["content-type"], "application/x-www-form-urlencoded");
    let form: Vec<(String, String)> =
        url::form_urlencoded::parse(asked.body.as_bytes()).into_owned().collect();
    assert_eq!(form.len(), 2);
    assert_eq!(form[0].1, "1&to=2");
}

pub(crate) mod alertmanager {
    use std::net::TcpListener;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::broker::skipped;
    use crate::notify::Server;

    /// A real one; ends with this.
    pub(crate) struct Alertmanager {
        _server: Server,
        pub(crate) url: String,
    }

    const CONFIG: &str = "route: { receiver: none, group_wait: 1s }\nreceivers: [{ name: none }]\n";

    /// `None`, and a loud word, where there is none.
    pub(crate) fn there_is_one() -> Option<()> {
        if Command::new("prometheus-alertmanager").arg("--version").output().is_err() {
            let ci = std::env::var("CI").as_deref() == Ok("true");
            assert!(!ci, "in CI there must be prometheus-alertmanager");
            skipped("there is no prometheus-alertmanager");
            return None;
        }
        Some(())
    }

    impl Alertmanager {
        pub(crate) async fn start(folder: &Path, port: u16) -> Alertmanager {
            std::fs::write(folder.join("alertmanager.yml"), CONFIG).unwrap();
            let mut command = Command::new("prometheus-alertmanager");
            command.args(["--config.file=alertmanager.yml", "--storage.path=data"]);
            command.args(["--cluster.listen-address=", "--log.level=error"]);
            command.arg(format!("--web.listen-address=127.0.0.1:{port}")).current_dir(folder);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let server = Server(command.spawn().unwrap());
            let am = Alertmanager { _server: server, url: format!("http://127.0.0.1:{port}") };
            am.wait("it is ready", async || {
                let ready = reqwest::get(format!("{}/-/ready", am.url)).await;
                ready.is_ok_and(|answer| answer.status().is_success())
            })
            .await;
            am
        }

        #[expect(clippy::panic, reason = "a test helper that cannot go on should stop the test")]
        async fn wait(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
            for _ in 0..600 {
                if holds().await {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            panic!("{what}: never");
        }

        pub(crate) async fn alerts(&self) -> Vec<Value> {
            let answer = reqwest::get(format!("{}/api/v2/alerts", self.url)).await.unwrap();
            serde_json::from_str(&answer.text().await.unwrap()).unwrap()
        }
    }

    pub(crate) fn port() -> u16 {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn ms(alert: &Value, name: &str) -> i64 {
        let at = alert[name].as_str().unwrap().parse::<jiff::Timestamp>();
        at.unwrap().as_millisecond()
    }

    #[tokio::test]
    async fn the_real_one_shows_each_decision_until_its_window_ends() {
        if there_is_one().is_none() {
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let am = Alertmanager::start(folder.path(), port()).await;
        let receivers = json!({ "am": { "alertmanager": { "url": format!("{}/", am.url),
            "labels": { "team": "risk" }, "resolve_after": "2m" } } });
        let (delivery, mut reports, _) = start(&receivers, quick());
        let now = i64::try_from(now_s()).unwrap() * 1000;
        let window = json!({ "start": now - 3_600_000, "end": now + 3_600_000,
            "label": "day 2025-11-22 Asia/Shanghai" });
        // Two users that look the same when they are masked.
        let mut first = notice("am", &["d1"]);
        first.decisions[0].window = serde_json::from_value(window).unwrap();
        let mut second = notice("am", &["d2"]);
        second.decisions[0].key["user"] = "u-1002".into();
        for notice in [first.clone(), second, first] {
            delivery.hand(notice);
            assert_eq!(next(&mut reports).await.outcome, Outcome::Delivered);
        }
        let mut alerts = am.alerts().await;
        alerts.sort_by_key(|alert| alert["labels"]["decision"].to_string());
        assert_eq!(alerts.len(), 2, "{alerts:?}");
        let labels = json!({ "alertname": "cap", "severity": "critical", "level": "0",
            "user": "u-1***", "decision": "d1", "team": "risk" });
        for (name, value) in labels.as_object().unwrap() {
            assert_eq!(alerts[0]["labels"][name], *value, "{name}");
        }
        let summary = "user u-1***, sum(points) 5,120 > 5,000";
        assert_eq!(alerts[0]["annotations"]["summary"], summary);
        assert_eq!(alerts[0]["status"]["state"], "active");
        assert_eq!(ms(&alerts[0], "endsAt"), now + 3_600_000);
        let rest = ms(&alerts[1], "endsAt") - now;
        assert!((115_000..=130_000).contains(&rest), "{rest}");
        assert_eq!(ms(&alerts[0], "startsAt"), 1_763_779_200_123);
    }

    #[tokio::test]
    async fn what_stands_is_there_again_after_the_real_one_was_restarted() {
        if there_is_one().is_none() {
            return;
        }
        let (folder, port) = (tempfile::tempdir().unwrap(), port());
        let am = Alertmanager::start(folder.path(), port).await;
        let receivers = json!({ "am": { "alertmanager": { "url": am.url, "resend": "100ms" } } });
        let (delivery, mut reports, _) = start(&receivers, quick());
        delivery.hand(notice("am", &["d1"]));
        assert_eq!(next(&mut reports).await.outcome, Outcome::Delivered);
        assert_eq!(am.alerts().await.len(), 1);
        drop(am);
        let am = Alertmanager::start(folder.path(), port).await;
        am.wait("the alert is back", async || am.alerts().await.len() == 1).await;
        drop(delivery);
    }

    #[tokio::test]
    async fn a_label_that_is_none_is_a_fault_of_the_settings() {
        let settings: tidegate::notify::NotifySettings = serde_json::from_value(json!({
            "receivers": { "am": { "alertmanager": { "url": "http://h", "labels": { "a-b": "c" } } } }
        }))
        .unwrap();
        let metrics = tidegate::notify::NotifyMetrics::new(&prometheus::Registry::new()).unwrap();
        let started = tidegate::notify::Delivery::start(&settings, false, quick(), &metrics);
        let fault = started.map(drop).unwrap_err().to_string();
        assert!(fault.contains("`a-b` is not the name of a label"), "{fault}");
    }
}
