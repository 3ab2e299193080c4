//! Acknowledging as on-call does it, against a real Kafka: the link of a notice, its button, and a
//! process that is killed before the next step would have come.

use reqwest::Client;
use serde_json::{Value, json};

use crate::broker;
use crate::notify::Endpoint;
use crate::notify_run::until;
use crate::process::Instance;
use crate::run::{Setup, event};

fn texts(endpoint: &Endpoint) -> Vec<String> {
    endpoint.seen().iter().map(|(_, _, body)| String::from_utf8(body.clone()).unwrap()).collect()
}

fn speaks_of(endpoint: &Endpoint, what: &str) -> bool {
    texts(endpoint).iter().any(|text| text.contains(what))
}

/// Path and query of the link that acknowledges, in the one notice that speaks of a user.
fn link(chat: &Endpoint, user: &str) -> String {
    let text = texts(chat).into_iter().find(|text| text.contains(user)).unwrap();
    let text: Value = serde_json::from_str(&text).unwrap();
    let text = text["blocks"].to_string().replace("&amp;", "&");
    let (_, link) = text.split_once("https://risk.example/acknowledge?").unwrap();
    link.split(['|', '>', '"', '\\']).next().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_of_a_notice_stops_its_next_step_through_a_kill() {
    let Some(broker) = broker::shared() else { return };
    let (chat, chat_at) = Endpoint::start(&[]).await;
    let (boss, boss_at) = Endpoint::start(&[]).await;
    let notify = json!({
        "receivers": {
            "chat": { "slack": { "url": format!("http://{chat_at}/") }, "reveal": true },
            "boss": { "slack": { "url": format!("http://{boss_at}/") }, "reveal": true },
        },
        "routes": [{ "match": { "rule": ["cap"] }, "to": ["chat"], "group_by": ["rule", "user"],
            "group_wait": "100ms", "escalate": [{ "after": "8s", "to": ["boss"] }] }],
        "url": "https://risk.example", "secret": "s3cret",
    });
    let more =
        format!("http: {{ listen: '127.0.0.1:0' }}\nengine: {{ workers: 1 }}\nnotify: {notify}");
    let setup = Setup::new(broker.address(), "ack", &more);
    let instance = Instance::start(setup.path());
    until("it is a member", || tokio::task::block_in_place(|| instance.is_ready())).await;
    broker.produce(&setup.topic("events"), &[event(1, "u-1001", 400), event(2, "u-2002", 400)]);
    until("both are told", || speaks_of(&chat, "u-1001") && speaks_of(&chat, "u-2002")).await;
    let query = link(&chat, "u-1001");
    let url = format!("http://{}/acknowledge", instance.address);
    // Whoever only looks at the link changes nothing.
    let shown = Client::new().get(format!("{url}?{query}")).send().await.unwrap();
    assert!(shown.text().await.unwrap().contains("<button>"));
    let press = async |form: String| {
        let kind = "application/x-www-form-urlencoded";
        let request = Client::new().post(&url).header("content-type", kind).body(form);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(press(query.replace("signature=", "signature=00")).await, 403);
    assert_eq!(press(format!("{query}&actor=ann")).await, 200);
    until("who was woken hears of it", || speaks_of(&chat, "acknowledged by ann")).await;
    instance.kill();
    let instance = Instance::start(setup.path());
    broker.produce(&setup.topic("events"), &[event(3, "u-3003", 400)]);
    // What nobody has acknowledged goes on, and the last of it after that would have.
    until("the next step is told", || speaks_of(&boss, "u-2002") && speaks_of(&boss, "u-3003"))
        .await;
    assert!(!speaks_of(&boss, "u-1001"), "{:?}", texts(&boss));
    let tells = texts(&chat).iter().filter(|text| text.contains("u-1001")).count();
    assert_eq!(tells, 1, "{:?}", texts(&chat));
    // The group is called as the contract says.
    let group = format!("{}.notify", setup.group());
    assert!(!broker.committed(&group, &setup.topic("decisions")).is_empty());
    assert!(instance.stop().0.success());
}
