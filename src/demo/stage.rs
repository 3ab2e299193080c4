//! What a demo needs around the detector: a folder, rules, receivers and the configuration that
//! names them.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::config::{CanaryPath, Config};
use crate::engine::Matcher;
use crate::notify::{
    EmailSettings, NotifySettings, ReceiverSettings, RouteSettings, Secret, SmsSettings, TlsMode,
    WebhookSettings,
};
use crate::rule::Severity;

use super::outbox::Outbox;
use super::{smtp, web};

/// The rules that are shipped, so that the demo needs no folder to be run from.
pub(super) const SHIPPED: [(&str, &str); 6] = [
    ("caps.yaml", include_str!("../../rules/caps.yaml")),
    ("single.yaml", include_str!("../../rules/single.yaml")),
    ("system.yaml", include_str!("../../rules/system.yaml")),
    ("unusual.yaml", include_str!("../../rules/unusual.yaml")),
    ("velocity.yaml", include_str!("../../rules/velocity.yaml")),
    ("lists/blacklist.csv", include_str!("../../rules/lists/blacklist.csv")),
];

/// People are told soon and often: a demo is short.
const GROUP_WAIT_MS: i64 = 1000;
const GROUP_INTERVAL_MS: i64 = 3000;
/// Notices a minute for people; a demo packs an afternoon into a minute.
const RATE: u32 = 600;

/// Receivers in this process; they end when this is dropped.
#[derive(Debug)]
pub(super) struct Receivers {
    pub(super) outbox: Arc<Outbox>,
    smtp: SocketAddr,
    web: SocketAddr,
    _tasks: JoinSet<()>,
}

impl Receivers {
    pub(super) async fn open(folder: &Path) -> Result<Receivers> {
        let outbox = Outbox::open(folder)
            .with_context(|| format!("cannot make the outbox {}", folder.display()))?;
        let outbox = Arc::new(outbox);
        let listen = async || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let (smtp_listener, web_listener) = (listen().await?, listen().await?);
        let (smtp, web) = (smtp_listener.local_addr()?, web_listener.local_addr()?);
        let mut tasks = JoinSet::new();
        tasks.spawn(smtp::serve(smtp_listener, outbox.clone()));
        tasks.spawn(web::serve(web_listener, outbox.clone()));
        Ok(Receivers { outbox, smtp, web, _tasks: tasks })
    }

    fn settings(&self) -> NotifySettings {
        let (smtp, web) = (self.smtp, self.web);
        let email = EmailSettings {
            smtp: Secret::new(format!("smtp://{smtp}")),
            tls: TlsMode::None,
            ca: None,
            from: "tidegate@demo.example".into(),
            to: vec!["oncall@demo.example".into()],
        };
        let sms = SmsSettings {
            url: format!("http://{web}"),
            account: web::ACCOUNT.into(),
            token: Secret::new(web::TOKEN),
            from: "+15550100".into(),
            to: vec!["+15550101".into()],
            ..SmsSettings::default()
        };
        let webhook = WebhookSettings {
            url: format!("http://{web}{}", web::HOOK),
            secret: Some(Secret::new(web::SECRET)),
        };
        let people = ReceiverSettings { rate: Some(RATE), ..ReceiverSettings::default() };
        let (mail, message, hook) = ("oncall-mail", "oncall-sms", "bridge");
        let receivers = BTreeMap::from([
            (mail.to_owned(), ReceiverSettings { email: Some(email), ..people.clone() }),
            (message.to_owned(), ReceiverSettings { sms: Some(sms), ..people }),
            (
                hook.to_owned(),
                ReceiverSettings { webhook: Some(webhook), ..ReceiverSettings::default() },
            ),
        ]);
        let route = |severity: Vec<Severity>, to: &[&str]| RouteSettings {
            matches: Matcher { severity, ..Matcher::default() },
            to: to.iter().map(|name| (*name).to_owned()).collect(),
            group_wait: Some(GROUP_WAIT_MS),
            group_interval: Some(GROUP_INTERVAL_MS),
            ..RouteSettings::default()
        };
        NotifySettings {
            receivers,
            routes: vec![
                route(vec![Severity::Critical], &[mail, message, hook]),
                route(Vec::new(), &[mail, hook]),
            ],
            ..NotifySettings::default()
        }
    }

    /// The configuration of the detector: neither a file nor the environment has a say.
    pub(super) fn config(&self, brokers: &str, rules: PathBuf, listen: SocketAddr) -> Config {
        let mut config = Config::default();
        config.kafka.brokers = brokers.into();
        config.kafka.instance = "demo".into();
        // A busy machine must not cost the membership: the stand-in stands no rebalance.
        let session = ("session.timeout.ms".to_owned(), "45000".to_owned());
        config.kafka.properties = BTreeMap::from([session]);
        config.engine.workers = 1;
        config.rules = rules;
        config.state.snapshots = "off".into();
        config.http.listen = listen;
        config.notify = self.settings();
        // A demo is over before there would be anything to say; its lag is its own doing.
        config.watch.canary = CanaryPath::Off;
        config.watch.notices = false;
        config
    }
}

/// A folder of this run alone.
pub(super) fn fresh_folder() -> Result<PathBuf> {
    let (temp, process) = (std::env::temp_dir(), std::process::id());
    let mut number = 0;
    loop {
        let folder = temp.join(format!("tidegate-demo-{process}-{number}"));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot make {}", folder.display()));
            }
        }
    }
}

/// Writes the shipped rules where people can look at them, and change them while the demo runs.
pub(super) fn unpack_rules(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder.join("lists"))?;
    for (name, text) in SHIPPED {
        let place = folder.join(name);
        std::fs::write(&place, text)
            .with_context(|| format!("cannot write {}", place.display()))?;
    }
    Ok(())
}

/// The address asked for; without one 8080, or a free port where that is taken.
pub(super) async fn listen(address: Option<SocketAddr>) -> Result<TcpListener> {
    if let Some(address) = address {
        let listener = TcpListener::bind(address).await;
        return listener.with_context(|| format!("cannot listen on {address}"));
    }
    match TcpListener::bind((Ipv4Addr::LOCALHOST, 8080)).await {
        Ok(listener) => Ok(listener),
        Err(_) => Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?),
    }
}
