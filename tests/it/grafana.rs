//! The Grafana dashboard and the Prometheus alerts: known metrics only, and promtool agrees.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::{Value, json};

/// Counters and gauges of `/metrics`.
const PLAIN: [&str; 54] = [
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_threads",
    "process_virtual_memory_bytes",
    "tidegate_canaries_total",
    "tidegate_canary_timestamp_seconds",
    "tidegate_cap_forecast_seconds",
    "tidegate_closed_window_events_total",
    "tidegate_commands_total",
    "tidegate_consumer_lag",
    "tidegate_control_unavailable",
    "tidegate_control_unreadable_total",
    "tidegate_daily_reports_total",
    "tidegate_decisions_total",
    "tidegate_events_total",
    "tidegate_freezes_ended_total",
    "tidegate_heartbeats_total",
    "tidegate_history_missing",
    "tidegate_history_missing_seconds",
    "tidegate_key_mismatch_total",
    "tidegate_keys_given_up_total",
    "tidegate_notices_held",
    "tidegate_notices_open",
    "tidegate_notices_paused",
    "tidegate_notices_unreadable_total",
    "tidegate_notifications_total",
    "tidegate_partials_late_total",
    "tidegate_partials_unreadable_total",
    "tidegate_quarantined_total",
    "tidegate_ready",
    "tidegate_records_consumed_total",
    "tidegate_restoring",
    "tidegate_rules_info",
    "tidegate_rules_reload_success",
    "tidegate_rules_warming",
    "tidegate_snapshot_bytes",
    "tidegate_snapshot_timestamp_seconds",
    "tidegate_snapshots_total",
    "tidegate_start_time_seconds",
    "tidegate_state_bytes",
    "tidegate_state_keys",
    "tidegate_state_keys_limit",
    "tidegate_sums_saturated_total",
    "tidegate_suppressed_total",
    "tidegate_transactions_total",
    "tidegate_values_dropped_total",
    "tidegate_warming_ratio",
    "tidegate_watch_alerts",
    "tidegate_watermark_jumps_total",
    "tidegate_watermark_seconds",
    "tidegate_worker_restarts_total",
];

/// Histograms of `/metrics`, which show as `_bucket`, `_sum` and `_count`.
const HISTOGRAMS: [&str; 9] = [
    "tidegate_canary_seconds",
    "tidegate_detection_seconds",
    "tidegate_event_to_command_seconds",
    "tidegate_notification_seconds",
    "tidegate_restore_seconds",
    "tidegate_snapshot_pause_seconds",
    "tidegate_snapshot_seconds",
    "tidegate_transaction_seconds",
    "tidegate_worker_pause_seconds",
];

#[derive(Debug, Deserialize)]
struct Alerts {
    groups: Vec<Group>,
}

#[derive(Debug, Deserialize)]
struct Group {
    rules: Vec<Alert>,
}

#[derive(Debug, Deserialize)]
struct Alert {
    #[serde(rename = "alert")]
    name: String,
    expr: String,
    labels: std::collections::BTreeMap<String, String>,
    annotations: std::collections::BTreeMap<String, String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("grafana")
}

fn dashboard() -> Value {
    let text = std::fs::read_to_string(folder().join("dashboard.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn alerts() -> Vec<Alert> {
    let text = std::fs::read_to_string(folder().join("alerts.yml")).unwrap();
    let alerts: Alerts = serde_saphyr::from_str(&text).unwrap();
    alerts.groups.into_iter().flat_map(|group| group.rules).collect()
}

/// All panels, those in collapsed rows included.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let outer = dashboard["panels"].as_array().unwrap().iter();
    outer.flat_map(|panel| std::iter::once(panel).chain(folded(panel)))
}

/// The panels that a row holds while it is collapsed; none of an open row or another panel.
fn folded(panel: &Value) -> &[Value] {
    panel["panels"].as_array().map_or(&[], Vec::as_slice)
}

/// The names of all series that `/metrics` must have.
pub(crate) fn known() -> Vec<String> {
    let plain = PLAIN.into_iter().map(str::to_owned);
    plain.chain(HISTOGRAMS.into_iter().map(|name| format!("{name}_bucket"))).collect()
}

/// Every `PromQL` expression of dashboard and alerts, Grafana's variables filled in: what shows
/// it and the expression.
pub(crate) fn queries() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let dashboard = dashboard();
    for panel in panels(&dashboard) {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let expr = target["expr"].as_str().unwrap();
            let expr = expr.replace("$__rate_interval", "5m");
            let expr = expr.replace("$job", ".*").replace("$instance", ".*");
            all.push((panel["title"].as_str().unwrap().to_owned(), expr));
        }
    }
    all.extend(alerts().into_iter().map(|alert| (alert.name, alert.expr)));
    all
}

/// The names of our metrics in an expression.
fn metrics(expr: &str) -> BTreeSet<&str> {
    let words = expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words.filter(|word| word.starts_with("tidegate_") || word.starts_with("process_")).collect()
}

fn is_known(metric: &str) -> bool {
    let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| metric.strip_suffix(end));
    PLAIN.contains(&metric) || histogram.is_some_and(|base| HISTOGRAMS.contains(&base))
}

#[test]
fn dashboard_and_alerts_ask_for_known_metrics_and_for_all_of_ours() {
    let queries = queries();
    let mut asked = BTreeSet::new();
    for (name, expr) in &queries {
        let metrics = metrics(expr);
        let unknown: Vec<_> = metrics.iter().filter(|metric| !is_known(metric)).collect();
        assert!(unknown.is_empty(), "{name}: {unknown:?} in {expr}");
        assert!(!metrics.is_empty() || expr.contains("up{"), "{name}: {expr}");
        assert!(!expr.contains('$'), "{name}: a variable is left in {expr}");
        asked.extend(metrics.iter().map(|metric| (*metric).to_owned()));
    }
    let ours = PLAIN.iter().filter(|metric| metric.starts_with("tidegate_"));
    let missing: Vec<_> = ours.filter(|metric| !asked.contains(**metric)).collect();
    assert!(missing.is_empty(), "nothing shows {missing:?}");
    let shown = |base: &&&str| asked.contains(&format!("{base}_bucket"));
    let missing: Vec<_> = HISTOGRAMS.iter().filter(|base| !shown(base)).collect();
    assert!(missing.is_empty(), "nothing shows {missing:?}");
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|v| v["name"] == "datasource" && v["type"] == "datasource"));
    let mut ids = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_i64().unwrap()), "{title}: its id twice");
        if panel["type"] != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
            assert!(!panel["description"].as_str().unwrap().is_empty(), "{title}");
        }
    }
    let mut cells = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        take_place(panel, &mut cells);
        let mut inner = BTreeSet::new();
        for panel in folded(panel) {
            take_place(panel, &mut inner);
        }
    }
}

/// Takes the cells on which a panel lies; no other may lie there. What a collapsed row holds has
/// room of its own: opened, it moves what is below.
fn take_place(panel: &Value, cells: &mut BTreeSet<(i64, i64)>) {
    let place = |side: &str| panel["gridPos"][side].as_i64().unwrap();
    for x in place("x")..place("x") + place("w") {
        for y in place("y")..place("y") + place("h") {
            assert!(x < 24 && cells.insert((x, y)), "{}: overlaps another", panel["title"]);
        }
    }
}

#[test]
fn every_alert_says_what_it_means_and_where_to_read_on() {
    let operations = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
    let operations = std::fs::read_to_string(operations).ok();
    for Alert { name, labels, annotations, .. } in alerts() {
        assert!(["warning", "critical"].contains(&labels["severity"].as_str()), "{name}");
        assert!(!annotations["summary"].is_empty(), "{name}");
        assert!(annotations["description"].ends_with('.'), "{name}");
        let anchor = annotations["runbook"].strip_prefix("docs/operations.md#").unwrap();
        // The page may come after the alerts; once it is there it must have each heading.
        if let Some(page) = &operations {
            let slug = |line: &str| {
                let title = line.trim_start_matches('#').trim().to_lowercase();
                title.replace(' ', "-").replace([',', '.', '`'], "")
            };
            let found =
                page.lines().filter(|line| line.starts_with('#')).any(|l| slug(l) == anchor);
            assert!(found, "{name}: docs/operations.md has no heading #{anchor}");
        }
    }
}

/// Runs promtool in a folder, where there is one.
fn promtool(arguments: &[&str], folder: &Path) {
    let out = match Command::new("promtool").args(arguments).current_dir(folder).output() {
        Ok(out) => out,
        Err(error) => {
            let needed = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!needed, "CI needs promtool (Debian package prometheus): {error}");
            crate::broker::skipped("promtool is not installed");
            return;
        }
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(out.status.success(), "{}{}", text(&out.stdout), text(&out.stderr));
}

#[test]
fn promtool_takes_the_alerts_and_their_tests_pass() {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]] {
        promtool(&arguments, &folder());
    }
}

/// The queries of a panel, as [`queries`] has them.
fn queries_of(title: &str) -> Vec<String> {
    let own = queries().into_iter().filter(|(panel, _)| panel == title);
    own.map(|(_, query)| query).collect()
}

#[test]
fn the_first_decision_of_a_rule_shows_as_a_firing() {
    let series = |rule: &str, level: &str, mode: &str, values: &str| {
        let labels = format!("rule=\"{rule}\",level=\"{level}\",mode=\"{mode}\"");
        let labels = format!("job=\"tidegate\",instance=\"a:1\",{labels}");
        json!({ "series": format!("tidegate_decisions_total{{{labels}}}"), "values": values })
    };
    let input = [
        // Each begins at 0, a rule that is new later than others.
        series("cap", "0", "live", "0x30 1+1x30"),
        series("cap", "2", "live", "0x57 1x10"),
        series("new", "0", "live", "_x40 0x17 1x10"),
        series("never", "0", "live", "0x90"),
        series("trial", "0", "shadow", "0x57 2x10"),
        series("tidegate.budget", "0", "live", "0x57 1x10"),
    ];
    let sample = |labels: &str, value: u32| json!({ "labels": labels, "value": value });
    let expect = |expr: &String, samples: &[Value]| json!({ "expr": expr, "eval_time": "60m", "exp_samples": samples });
    let [fired] = &queries_of("Fired in the last hour")[..] else { panic!("one query") };
    let [live, shadow] = &queries_of("Decisions by rule")[..] else { panic!("two queries") };
    let tests = [
        expect(
            fired,
            &[
                sample(r#"{rule="cap",level="0"}"#, 30),
                sample(r#"{rule="cap",level="2"}"#, 1),
                sample(r#"{rule="new",level="0"}"#, 1),
            ],
        ),
        // Of the last five minutes: five of a level that fires each minute, and one of the other.
        expect(live, &[sample(r#"{rule="cap"}"#, 6), sample(r#"{rule="new"}"#, 1)]),
        expect(shadow, &[sample(r#"{rule="trial"}"#, 2)]),
    ];
    let file = json!({
        "evaluation_interval": "1m",
        "tests": [{ "interval": "1m", "input_series": input, "promql_expr_test": tests }],
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("panels.test.yml"), file.to_string()).unwrap();
    promtool(&["test", "rules", "panels.test.yml"], folder.path());
}

#[test]
fn every_alert_has_a_test_that_fires_it() {
    let tests = std::fs::read_to_string(folder().join("alerts.test.yml")).unwrap();
    for Alert { name, .. } in alerts() {
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "nothing fires {name}");
    }
}
