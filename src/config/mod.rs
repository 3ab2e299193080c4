//! Settings: file, environment and flags in, one checked [`Config`] or all faults out (C8, K).
//!
//! Opens nothing but the configuration file and the files that it refers to. Of the rooms that
//! act it knows [`crate::notify::NotifySettings`] and its kind of secret, plain data; none of them
//! is needed to read a configuration.

mod check;
mod fault;
mod fold;
mod layer;
mod print;
mod read;
mod receivers;
mod refer;
mod sections;
mod span;
#[cfg(test)]
mod tests;
mod tree;

pub use fault::{ConfigError, Fault};
pub use fold::{FoldConfig, read_fold};
pub use layer::{DEFAULT_FILE, Sources};
pub use receivers::read_receivers;
pub(crate) use refer::percent;
pub use sections::{
    CanaryPath, Config, Delivery, EngineConfig, HttpConfig, InputConfig, KafkaConfig,
    PrivacyConfig, Start, StateConfig, TopicsConfig, WatchConfig,
};

use self::print::Shown;
use self::refer::{Resolver, beside, store_beside};
use self::tree::Node;

impl Config {
    /// Reads all layers, for `run`: like [`Config::read`], and `kafka.brokers` must be there.
    ///
    /// # Errors
    /// All faults at once.
    pub fn load(sources: &Sources) -> Result<Config, ConfigError> {
        let (root, faults) = sources.tree(&sections::keys())?;
        Config::of_tree(root, sources, true, faults)
    }

    /// Reads all layers, for what needs no Kafka.
    ///
    /// # Errors
    /// All faults at once.
    pub fn read(sources: &Sources) -> Result<Config, ConfigError> {
        let (root, faults) = sources.tree(&sections::keys())?;
        Config::of_tree(root, sources, false, faults)
    }

    fn of_tree(
        mut root: Node,
        sources: &Sources,
        connects: bool,
        mut faults: Vec<Fault>,
    ) -> Result<Config, ConfigError> {
        let folder = sources.folder();
        let mut resolver = Resolver { sources, folder: folder.clone(), faults: Vec::new() };
        resolver.resolve(&mut root, &mut Vec::new());
        faults.append(&mut resolver.faults);
        let shown = Shown::of(&root);
        let given = |path: &[&str]| root.below(path).is_some_and(|node| !node.is_null());
        let (rules, dedup) = (given(&["rules"]), given(&["engine", "dedup"]));
        let snapshots = given(&["state", "snapshots"]);
        let Some(mut config) = read::read::<Config>(root.clone(), &mut faults) else {
            return Err(ConfigError::Faulty(faults));
        };
        config.shown = shown;
        // Defaults that hang on where the file is, or on another key.
        if !rules {
            config.rules = beside(&folder, &config.rules.display().to_string()).into();
        }
        if !snapshots {
            config.state.snapshots = store_beside(&folder, &config.state.snapshots);
        }
        if !dedup {
            let least = config.engine.allowed_lateness;
            config.engine.dedup = config.engine.dedup.map(|dedup| dedup.max(least));
        }
        if config.notify.url.is_none() {
            config.notify.url.clone_from(&config.http.advertise);
        }
        // What follows from a fault already told is no news.
        let mut checked = check::faults(&config, connects);
        checked.retain(|fault| faults.iter().all(|known| known.section() != fault.section()));
        for mut fault in checked {
            let path: Vec<&str> = fault.key.split('.').collect();
            let node = root.below(&path);
            fault.place = node.map(|node| node.origin.to_string()).unwrap_or_default();
            faults.push(fault);
        }
        if faults.is_empty() { Ok(config) } else { Err(ConfigError::Faulty(faults)) }
    }
}
