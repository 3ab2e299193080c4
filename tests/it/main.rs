//! The integration tests, one binary; a line on each module.
#![expect(clippy::unwrap_used, reason = "a test helper that cannot go on should stop the test")]

mod broker;
mod cluster;
mod control;
mod demo;
mod docs;
mod episodes;
mod examples;
mod faults;
mod fleet;
mod flood;
mod fuzz;
mod golden;
mod grafana;
mod kafka;
mod load;
mod model;
mod model_ratio;
mod model_silence;
mod model_zscore;
mod naive;
mod notify;
mod notify_run;
mod process;
mod reigns;
mod restore;
mod rules;
mod run;
mod scrape;
mod secure;
mod shipped;
mod sim;
mod site;
mod snapshot;
mod tidy;
mod why;
