//! The routes over a real socket, with a real client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::{IntCounter, Registry};
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{Admission, App, Readiness, serve};

struct Served {
    base: String,
    ready: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

async fn served(status: Value) -> Served {
    served_to(status, None).await
}

async fn served_to(status: Value, token: Option<&str>) -> Served {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let registry = Registry::new();
    let counter = IntCounter::new("tidegate_things_total", "things").unwrap();
    registry.register(Box::new(counter.clone())).unwrap();
    counter.inc_by(7);
    let ready = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&ready);
    let app = App {
        registry,
        ready: Arc::new(move || {
            let ready = flag.load(Ordering::SeqCst);
            let reason = if ready { "ready" } else { "restoring partition 3" };
            Readiness { ready, reason: reason.to_owned() }
        }),
        status: Arc::new(move || status.clone()),
        why: Arc::new(|request| {
            Box::pin(async move { Ok(serde_json::to_value(request).unwrap_or_default()) })
        }),
        impact: Arc::new(|request| {
            Box::pin(async move { Ok(serde_json::to_value(request).unwrap_or_default()) })
        }),
        daily: Arc::new(|request| {
            Box::pin(async move { Ok(serde_json::to_value(request).unwrap_or_default()) })
        }),
        notices: Arc::new(|request| {
            Box::pin(
                async move { Ok(json!({ "asked": format!("{request:?}"), "actor": "<ann>" })) },
            )
        }),
        admission: token.map(Admission::new),
    };
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(serve(listener, app, async { drop(stopped.await) }));
    Served { base, ready, stop, server }
}

impl Served {
    async fn get(&self, path: &str) -> Response {
        Client::new().get(format!("{}{path}", self.base)).send().await.unwrap()
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn answers_each_route() {
    let served = served(json!({ "ready": true })).await;
    let rows = [
        ("/healthz", 200, "text/plain", "ok"),
        ("/readyz", 503, "text/plain", "restoring partition 3"),
        ("/metrics", 200, "text/plain; version=0.0.4", "tidegate_things_total 7\n"),
        ("/api/v1/status", 200, "application/json", "{\"ready\":true}"),
        ("/", 200, "text/html", "<title>tidegate</title>"),
        ("/api/v1/nothing", 404, "application/json", "{\"error\":\"no such resource\"}"),
        ("/api/", 404, "application/json", "{\"error\":\"no such resource\"}"),
        ("/nothing", 404, "text/plain", "no such resource"),
    ];
    for (path, status, kind, body) in rows {
        let response = served.get(path).await;
        assert_eq!(response.status().as_u16(), status, "{path}");
        assert!(header(&response, "content-type").starts_with(kind), "{path}");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff", "{path}");
        assert_eq!(header(&response, "cache-control"), "no-store", "{path}");
        let policy = header(&response, "content-security-policy");
        assert!(policy.starts_with("default-src 'none'"), "{path}");
        assert!(!policy.contains("unsafe"), "{path}");
        let text = response.text().await.unwrap();
        assert!(text.contains(body), "{path}: {text}");
    }
    served.ready.store(true, Ordering::SeqCst);
    assert_eq!(served.get("/readyz").await.status().as_u16(), 200);
    let wrong = Client::new().post(format!("{}/api/v1/status", served.base)).send().await.unwrap();
    assert_eq!(wrong.status().as_u16(), 405);
    assert_eq!(wrong.text().await.unwrap(), "{\"error\":\"no such method here\"}");
}

#[tokio::test]
async fn the_policy_admits_the_script_and_style_of_the_page_only() {
    use base64::Engine;
    use sha2::{Digest, Sha256};

    let served = served(json!({})).await;
    let response = served.get("/").await;
    let policy = header(&response, "content-security-policy").to_owned();
    let page = response.text().await.unwrap();
    for element in ["script", "style"] {
        let parts: Vec<&str> = page.split(&format!("<{element}>")).collect();
        assert_eq!(parts.len(), 2, "one {element}");
        let inside = parts[1].split(&format!("</{element}>")).next().unwrap();
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(inside));
        assert!(policy.contains(&format!("{element}-src 'sha256-{hash}'")), "{policy}");
    }
    // Nothing that the policy would block, nothing that makes markup of a text.
    for never in [
        " style=\"",
        " onclick",
        "innerHTML",
        "insertAdjacentHTML",
        "document.write",
        "<script src",
    ] {
        assert!(!page.contains(never), "{never}");
    }
}

fn decision(user: &str) -> Value {
    json!({
        "id": "5b0c", "ts": 1_763_779_200_123_i64, "rule": "cap", "level": 1, "severity": "critical",
        "mode": "live", "key": { "user": user }, "measure": "sum(points)", "value": 5120, "bound": 5000,
        "summary": format!("user {user}: sum(points) 5120 > 5000"), "ruleset": "9c1f7a2e"
    })
}

#[tokio::test]
async fn users_are_masked_unless_the_status_reveals_them() {
    let odd = json!({ "key": { "user": "u-1001", "n": 12 }, "summary": "of u-1001", "rule": "x" });
    let status = json!({ "recent": [decision("u-1001"), decision("u-1***"), odd] });
    let mut open = status.clone();
    open["reveal"] = json!(true);
    for (status, user, masked) in [(status, "u-1***", true), (open, "u-1001", false)] {
        let served = served(status).await;
        let text = served.get("/api/v1/status").await.text().await.unwrap();
        assert_eq!(!text.contains("u-1001"), masked, "{text}");
        let shown: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(shown["recent"][0]["key"]["user"], user);
        let summary = format!("user {user}: sum(points) 5120 > 5000");
        assert_eq!(shown["recent"][0]["summary"], json!(summary));
        assert_eq!(shown["recent"][1]["key"]["user"], "u-1***");
        assert_eq!(shown["recent"][2]["rule"], "x");
    }
}

#[tokio::test]
async fn stops_with_an_idle_connection_open() {
    let served = served(json!({})).await;
    let address = served.base.trim_start_matches("http://");
    let mut idle = TcpStream::connect(address).await.unwrap();
    // Half a request: only the grace ends it.
    tokio::io::AsyncWriteExt::write_all(&mut idle, b"GET / HTTP/1.1\r\n").await.unwrap();
    assert_eq!(served.get("/healthz").await.status().as_u16(), 200);
    served.stop.send(()).unwrap();
    served.server.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn all_but_the_probes_ask_for_the_token() {
    const TOKEN: &str = "0123456789abcdef-._~+/=";
    let served = served_to(json!({ "ready": true }), Some(TOKEN)).await;
    let basic = |pair: &str| {
        use base64::Engine;
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    let wrong = [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        TOKEN.to_owned(),
        format!("Bearer {TOKEN}0"),
        format!("Bearer {}", TOKEN.trim_end_matches('=')),
        format!("Bearer {}", TOKEN.to_uppercase()),
        format!("Token {TOKEN}"),
        "Basic ???".to_owned(),
        basic(TOKEN),
        basic("tidegate:"),
        basic(&format!("{TOKEN}:")),
    ];
    let right = [
        format!("Bearer {TOKEN}"),
        format!("bearer  {TOKEN}"),
        basic(&format!("anybody:{TOKEN}")),
        basic(&format!(":{TOKEN}")),
    ];
    let ask = async |method: &str, path: &str, given: &str| {
        let url = format!("{}{path}", served.base);
        let request = Client::new().request(method.parse().unwrap(), url);
        let request =
            if given.is_empty() { request } else { request.header("authorization", given) };
        request.send().await.unwrap()
    };
    for path in ["/", "/metrics", "/api/v1/status", "/nothing", "/api/v1/nothing", "/healthz/"] {
        for given in &wrong {
            let refused = ask("GET", path, given).await;
            assert_eq!(refused.status().as_u16(), 401, "{path} {given}");
            let asked: Vec<_> = refused.headers().get_all("www-authenticate").iter().collect();
            assert_eq!(asked, ["Bearer realm=\"tidegate\"", "Basic realm=\"tidegate\""]);
            assert_eq!(header(&refused, "cache-control"), "no-store");
            let text = refused.text().await.unwrap();
            assert!(text.contains("http.token") && !text.contains(TOKEN), "{text}");
            assert_eq!(text.starts_with("{\"error\""), path.starts_with("/api"), "{text}");
        }
        for given in &right {
            let status = ask("GET", path, given).await.status().as_u16();
            let expected = if path.contains("nothing") || path == "/healthz/" { 404 } else { 200 };
            assert_eq!(status, expected, "{path} {given}");
        }
    }
    // A browser sends Basic along on behalf of other sites.
    assert_eq!(ask("POST", "/api/v1/status", &right[2]).await.status().as_u16(), 401);
    assert_eq!(ask("POST", "/api/v1/status", &right[0]).await.status().as_u16(), 405);
    assert_eq!(ask("POST", "/api/v1/status", "").await.status().as_u16(), 401);
    for (path, status) in [("/healthz", 200), ("/readyz", 503)] {
        for given in ["", "Bearer wrong", &right[0]] {
            assert_eq!(ask("GET", path, given).await.status().as_u16(), status, "{path} {given}");
        }
    }
}

#[tokio::test]
async fn a_question_comes_by_parameters_or_as_an_object() {
    let served = served(json!({})).await;
    let answer =
        served.get("/api/v1/why?user=u%201&device=d&rule=cap&event=e-1&attrs.tier=gold").await;
    assert_eq!(answer.status(), 200);
    let asked: Value = answer.json().await.unwrap();
    let fields = json!({ "attrs.tier": "gold", "device": "d", "user": "u 1" });
    assert_eq!(asked["question"], json!({ "fields": fields, "rule": "cap" }));
    assert_eq!((&asked["event"], &asked["local"]), (&json!("e-1"), &json!(false)));

    let bad = served.get("/api/v1/why?usr=u-1").await;
    assert_eq!(bad.status(), 400);
    let told: Value = bad.json().await.unwrap();
    assert!(told["error"].as_str().unwrap().starts_with("no parameter `usr`"), "{told}");
    assert_eq!(served.get("/api/v1/why").await.status(), 400);

    let post = |body: Value| Client::new().post(format!("{}/api/v1/why", served.base)).json(&body);
    let question = json!({ "question": { "fields": { "user": "u-1" } }, "local": true });
    let answer: Value = post(question.clone()).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["question"]["fields"], question["question"]["fields"]);
    assert_eq!(post(json!({ "question": 1 })).send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_browser_that_asks_why_gets_a_page() {
    let served = served(json!({})).await;
    let url = format!("{}/api/v1/why?rule=cap&event=e-1", served.base);
    let shown = Client::new().get(&url).header("accept", "text/html,*/*;q=0.8").send().await;
    let shown = shown.unwrap();
    assert_eq!((shown.status().as_u16(), header(&shown, "vary")), (200, "accept"));
    assert!(header(&shown, "content-type").starts_with("text/html"));
    let told = served.get("/api/v1/why?rule=cap&event=e-1").await;
    assert!(header(&told, "content-type").starts_with("application/json"));
}

#[tokio::test]
async fn the_page_says_why_and_runs_nothing_that_an_event_says() {
    let answer = json!({
        "ruleset": "9c1f", "watermark": 1_763_779_200_123_i64, "missing": ["instance host-b"],
        "event": { "record": "{\"user\":\"<script>\"}", "outcome": "accepted",
            "decisions": [{ "rule": "cap", "level": 1, "summary": "5120 > 5000" }] },
        "rules": [{
            "rule": "cap", "mode": "live", "key": { "user": "<b>" }, "counted": true,
            "verdict": "level 1 has fired",
            "conditions": [{ "condition": "all of", "holds": true, "within": [
                { "condition": "source is signin", "holds": false, "value": "quiz" },
                { "condition": "in a list", "holds": null }] }],
            "measure": "sum(points)", "value": 5120,
            "window": { "start": 1_763_740_800_000_i64, "end": 1_763_827_200_000_i64,
                "label": "day 2025-11-22 Asia/Shanghai" },
            "levels": [{ "level": 1, "severity": "critical", "above": 5000, "breached": true,
                "fired": true, "cooldown_until": 1_763_827_200_000_i64 }],
            "budgets": [],
        }],
        "holds": [{ "target": { "user": "u-1" }, "hold": "5b0c", "scope": "issue",
            "until": null, "rule": "cap" }],
    });
    let page = super::notices::html(axum::http::StatusCode::OK, super::why::PAGE, &answer).unwrap();
    let page = axum::body::to_bytes(page.into_body(), 100_000).await.unwrap();
    let page = String::from_utf8(page.to_vec()).unwrap();
    let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in [
        "events up to 2025-11-22",
        "fired cap level 1: 5120",
        "<b>level 1 has fired</b>",
        "yes: all of",
        "no: source is signin",
        "(is quiz)",
        "?: in a list",
        "sum(points) = 5120 in day 2025-11-22 Asia&#x2f;Shanghai",
        "critical &gt; 5000: breached, has fired, silent until",
        "user u-1 : issue for ever, by cap",
        "Not known: instance host-b",
        "user &lt;b&gt;",
    ] {
        assert!(page.contains(part), "`{part}` is not in {page}");
    }
    assert!(!page.contains("<script>") && !page.contains("user <b>"), "{page}");
}

#[tokio::test]
async fn a_link_shows_a_button_and_only_the_button_acknowledges() {
    const TOKEN: &str = "0123456789abcdef-._~+/=";
    let served = served_to(json!({}), Some(TOKEN)).await;
    let query = "group=ab&through=5&until=9&signature=%22%3E%3Cscript%3E";
    // Neither asks for a token: the link is signed.
    let shown = served.get(&format!("/acknowledge?{query}")).await;
    assert_eq!(shown.status(), 200);
    assert!(header(&shown, "content-security-policy").contains("form-action 'self'"));
    let page = shown.text().await.unwrap();
    assert!(page.contains("<form method=\"post\"") && page.contains("value=\"5\""), "{page}");
    assert!(!page.contains("asked") && !page.contains("<script>"), "{page}");
    let form = format!("{query}&actor=+Ann+");
    let url = format!("{}/acknowledge", served.base);
    let kind = "application/x-www-form-urlencoded";
    let posted = Client::new().post(url).header("content-type", kind).body(form).send().await;
    let posted = posted.unwrap();
    assert_eq!(posted.status(), 200);
    let page = posted.text().await.unwrap();
    assert!(page.contains("Acknowledged") && page.contains("by &lt;ann&gt;"), "{page}");
    for path in ["/notices?at=0:1-5", "/api/v1/notices?at=0:1-5", "/api/v1/silences"] {
        assert_eq!(served.get(path).await.status(), 401, "{path}");
    }
}

#[tokio::test]
async fn notices_are_listed_by_their_places_and_groups() {
    let served = served(json!({})).await;
    let answer = served.get("/api/v1/notices?at=0:1-5,2:7-7&group=ab&group=cd&limit=10").await;
    let asked: Value = answer.json().await.unwrap();
    let expected =
        "List(ListRequest { places: {0: (1, 5), 2: (7, 7)}, groups: [\"ab\", \"cd\"], limit: 10 })";
    assert_eq!(asked["asked"], expected);
    for bad in
        ["", "at=0", "at=0:5", "at=0:1-x", "at=0:1-2&limit=0", "at=0:1-2&limit=99999", "of=1"]
    {
        assert_eq!(served.get(&format!("/api/v1/notices?{bad}")).await.status(), 400, "{bad}");
    }
    let post = async |path: &str, body: Value| {
        let request = Client::new().post(format!("{}/api/v1/{path}", served.base)).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    let silence =
        json!({"match": {"rule": ["cap"]}, "for": "2h", "actor": "ann", "reason": "known"});
    assert_eq!(post("silences", silence).await, 200);
    assert_eq!(post("silences", json!({"match": {"colour": []}, "for": "2h"})).await, 400);
    assert_eq!(post("silences/ab/end", json!({"actor": "ann", "reason": "over"})).await, 200);
    assert_eq!(post("acknowledge", json!({"group": "ab", "actor": "ann"})).await, 200);
    assert_eq!(post("acknowledge", json!({"group": "ab"})).await, 400);
}
