//! What an instance says of itself outlives it: told once through restarts, and its end as well; with a
//! real Kafka (`TIDEGATE_KAFKA=1`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::engine::{Decision, Resolved};
use tidegate::event::EventTime;
use tidegate::notify::{OwnNews, OwnRun};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::broker::{self, Broker};
use crate::notify::Endpoint;
use crate::notify_run::{Running, Stage, until};

/// An instance that says what the test wants it to.
struct Instance {
    running: Running,
    news: UnboundedSender<OwnNews>,
    stood: UnboundedReceiver<Vec<Decision>>,
}

impl Instance {
    /// And the decisions that stood when the last one of the name ended.
    async fn start(stage: &Stage<'_>, notify: &Value) -> (Instance, Vec<String>) {
        let (news, heard) = unbounded_channel();
        let (stood, knows) = unbounded_channel();
        let own = OwnRun { news: heard, stood, alive: Arc::new(|| Ok(())) };
        let running = stage.start_with("host-a", notify, Some(own));
        let mut instance = Instance { running, news, stood: knows };
        let stood = instance.stood.recv().await.unwrap();
        (instance, stood.into_iter().map(|decision| decision.id).collect())
    }

    fn says(&self, decision: &Decision, is_presumed: bool) {
        self.news.send(OwnNews { decision: decision.clone(), is_presumed }).unwrap();
    }
}

fn lost(id: &str) -> Decision {
    let ts = EventTime(1_763_779_200_000);
    let decision = Decision::of_instance("tidegate.canary_lost", "host-a", "x", ts);
    let (id, summary) = (id.to_owned(), "instance host-a: no canary".to_owned());
    Decision { id, summary, value: Some(120.into()), alert: Some(Vec::new()), ..decision }
}

fn over(of: &Decision) -> Decision {
    let resolved =
        Resolved { rule: of.rule.clone(), decision: of.id.clone(), since: of.ts, peak: 120.into() };
    let (rule, id) = ("tidegate.resolved".to_owned(), format!("end of {}", of.id));
    Decision { rule, id, summary: "resolved".to_owned(), resolved: Some(resolved), ..of.clone() }
}

/// What a webhook was told, and how often.
fn told(endpoint: &Endpoint) -> BTreeMap<String, usize> {
    let mut told = BTreeMap::new();
    for (_, headers, _) in endpoint.seen() {
        *told.entry(headers["idempotency-key"].to_str().unwrap().to_owned()).or_default() += 1;
    }
    told
}

fn once(ids: &[&str]) -> BTreeMap<String, usize> {
    ids.iter().map(|id| ((*id).to_owned(), 1)).collect()
}

/// The last words of the topic of what stands.
fn words(broker: &Broker, stage: &Stage<'_>) -> BTreeMap<String, String> {
    let records = broker.read_all(&stage.standing).into_iter();
    let mut words: BTreeMap<String, String> =
        records.map(|record| (record.key.unwrap(), record.value)).collect();
    words.retain(|_, value| !value.is_empty());
    words
}

fn settings(hook: SocketAddr, late: SocketAddr, chat: SocketAddr) -> Value {
    json!({
        "receivers": { "hook": { "webhook": { "url": format!("http://{hook}/") } },
                       "late": { "webhook": { "url": format!("http://{late}/") } },
                       "chat": { "slack": { "url": format!("http://{chat}/") } } },
        "routes": [{ "to": ["hook", "late", "chat"], "group_wait": "100ms", "group_interval": "100ms" }],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_says_of_itself_is_told_once_through_restarts() {
    let Some(broker) = broker::shared() else { return };
    let stage = Stage::new(broker, 1);
    let (hook, hook_at) = Endpoint::start(&[]).await;
    let (late, late_at) = Endpoint::start(&[]).await;
    let (chat, chat_at) = Endpoint::start(&[]).await;
    let notify = settings(hook_at, late_at, chat_at);
    late.set_down(true);
    let (instance, stood) = Instance::start(&stage, &notify).await;
    assert_eq!(stood, Vec::<String>::new());
    let first = lost("first");
    instance.says(&first, false);
    until("two are told", || hook.seen().len() == 1 && chat.seen().len() == 1).await;
    until("and it is written down", || {
        words(broker, &stage).values().any(|text| text.contains("chat") && text.contains("hook"))
    })
    .await;
    instance.running.end().await;

    // It is not known yet whether it still stands: only who has not heard of it is told.
    late.set_down(false);
    let (instance, stood) = Instance::start(&stage, &notify).await;
    assert_eq!(stood, ["first"]);
    instance.says(&first, true);
    until("the late one is told", || late.seen().len() == 1).await;
    // It comes up again, and again.
    instance.says(&first, false);
    instance.says(&first, true);
    let second = lost("second");
    instance.says(&second, false);
    until("the second one is told", || chat.seen().len() == 2).await;
    assert_eq!(
        (told(&hook), told(&late)),
        (once(&["first", "second"]), once(&["first", "second"]))
    );
    // Its end is told, but not to one.
    late.set_down(true);
    instance.says(&over(&first), false);
    until("the end is told", || hook.seen().len() == 3 && chat.seen().len() == 3).await;
    until("and it is written down", || {
        words(broker, &stage)
            .values()
            .any(|text| text.contains(r#""heard":["chat","hook","~chat","~hook"]"#))
    })
    .await;
    instance.running.end().await;

    late.set_down(false);
    let (instance, stood) = Instance::start(&stage, &notify).await;
    assert_eq!(stood, ["second"]);
    until("the late one hears of the end", || late.seen().len() == 3).await;
    // The second one has ended with the process.
    instance.says(&over(&second), false);
    let all = once(&["first", "second", "end of first", "end of second"]);
    until("its end is told", || told(&hook) == all && told(&late) == all).await;
    until("to people, too", || chat.seen().len() == 4).await;
    until("nothing of it is left", || words(broker, &stage).is_empty()).await;
    instance.running.end().await;
    let (instance, stood) = Instance::start(&stage, &notify).await;
    assert_eq!(stood, Vec::<String>::new());
    instance.running.end().await;
    assert_eq!((told(&hook), told(&late), chat.seen().len()), (all.clone(), all, 4));
}
