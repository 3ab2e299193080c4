//! The dashboard and the alerts against the real `/metrics` of a running instance, scraped by a
//! real Prometheus (`TIDEGATE_KAFKA=1`; Debian package `prometheus`).

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::broker::{self, wait};
use crate::grafana;
use crate::process::Instance;
use crate::run::{Setup, event};

/// A Prometheus that scrapes one target every second; ends with this.
struct Prometheus {
    child: Child,
    address: String,
}

impl Prometheus {
    fn start(folder: &Path, target: &str) -> Prometheus {
        let alerts = Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana/alerts.yml");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: ['{}']\n\
             scrape_configs: [{{ job_name: tidegate, static_configs: [{{ targets: ['{target}'] }}] }}]\n",
            alerts.display()
        );
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new("prometheus");
        command.args(["--config.file=prometheus.yml", "--storage.tsdb.path=tsdb"]);
        command.arg(format!("--web.listen-address={address}")).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Prometheus { child: command.spawn().unwrap(), address }
    }

    /// `data` of an answer of its API; `None` while it does not answer.
    fn ask(&self, path: &str, query: &[(&str, &str)]) -> Option<Value> {
        let mut url = url::Url::parse(&format!("http://{}{path}", self.address)).unwrap();
        url.query_pairs_mut().extend_pairs(query);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = runtime.block_on(async { reqwest::get(url).await.ok()?.text().await.ok() })?;
        let answer: Value = serde_json::from_str(&answer).ok()?;
        assert_eq!(answer["status"], "success", "{path} {query:?}: {answer}");
        Some(answer["data"].clone())
    }

    fn has_data(&self, query: &str) -> bool {
        let data = self.ask("/api/v1/query", &[("query", query)]);
        data.is_some_and(|data| data["result"].as_array().is_some_and(|rows| !rows.is_empty()))
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn every_query_runs_against_the_real_metrics_and_every_metric_is_there() {
    let Some(broker) = broker::shared() else { return };
    if Command::new("prometheus").arg("--version").output().is_err() {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "in CI there must be prometheus");
        broker::skipped("there is no prometheus");
        return;
    }
    let more = "state: { interval: 1s }\n\
                notify: { receivers: { out: { outbox: { folder: out } } }, default: [out], \
                heartbeat: { url: 'http://127.0.0.1:9/', every: 1s } }";
    let setup = Setup::new(broker.address(), "scrape", more);
    let instance = Instance::start(setup.path());
    wait("it is ready", || instance.is_ready());
    let mut events: Vec<(String, String)> = (0..8).map(|n| event(n, "u-1", 200)).collect();
    events.push(("u-1".to_owned(), "{".to_owned()));
    broker.produce(&setup.topic("events"), &events);
    wait("somebody is told", || {
        instance.metric("tidegate_notifications_total", "\"delivered\"") >= 1
    });

    // Where people can be told, canaries go by the topic of partial aggregates unless one says so.
    wait("canaries come through", || {
        instance.metric("tidegate_canaries_total", "\"returned\"") >= 4
    });
    assert_eq!(instance.metric("tidegate_events_total", "\"canary\""), 0);
    assert_eq!(instance.metric("tidegate_partials_unreadable_total", ""), 0);
    wait("a snapshot is written", || {
        instance.metric("tidegate_snapshots_total", "\"written\"") >= 1
    });
    let prometheus = Prometheus::start(setup.path(), &instance.address);
    wait("it has scraped", || prometheus.has_data("tidegate_quarantined_total"));
    let names = prometheus.ask("/api/v1/label/__name__/values", &[]).unwrap();
    let names: BTreeSet<&str> =
        names.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let missing: Vec<String> =
        grafana::known().into_iter().filter(|name| !names.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "not in /metrics: {missing:?}");
    for (title, query) in grafana::queries() {
        let data = prometheus.ask("/api/v1/query", &[("query", &query)]);
        assert!(data.is_some(), "{title}: {query}");
    }
    wait("all alerts have been evaluated without a fault", || {
        let rules = prometheus.ask("/api/v1/rules", &[]).unwrap_or_default();
        let groups = rules["groups"].as_array().cloned().unwrap_or_default();
        let rules: Vec<&Value> =
            groups.iter().filter_map(|group| group["rules"].as_array()).flatten().collect();
        !rules.is_empty() && rules.iter().all(|rule| rule["health"] == "ok")
    });
    assert!(instance.stop().0.success());
}
