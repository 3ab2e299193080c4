//! Publishes the rule set of this instance's files where they are news (R17).
//!
//! A set that was never published is news. One that was, and has been replaced since, is old: a
//! host whose files were left behind must not take back what another has put in force. While the
//! instance runs, though, files that change are somebody's will, whatever they say.

use tokio::sync::watch;

use crate::engine::{Act, PublishedRules};
use crate::stream::kafka::{
    KafkaSettings, PublishError, SetRecord, new_change, publish, published,
};
use crate::stream::{Clock, SystemClock};

use super::{PAUSE, REMIND_US};

/// What is due about the files of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// They are in force.
    Nothing,
    Publish,
    /// The first set of all.
    Begin,
    /// They were in force once and are not to come back by themselves.
    Tell,
}

fn due(history: &[SetRecord], set: &str, was_edited: bool) -> Due {
    match history.last() {
        None => Due::Begin,
        Some(last) if last.set == set => Due::Nothing,
        Some(_) if !was_edited && history.iter().any(|old| old.set == set) => Due::Tell,
        Some(_) => Due::Publish,
    }
}

/// Publishes the files of an instance once, if that is due.
///
/// # Errors
/// When the brokers do not have it for sure; to be tried again.
pub(super) async fn settle(
    settings: &KafkaSettings,
    instance: &str,
    rules: &PublishedRules,
    was_edited: bool,
) -> Result<(), PublishError> {
    let history = published(settings).await?;
    let due = due(&history, &rules.set, was_edited);
    let ruleset = &rules.ruleset;
    match (due, history.last()) {
        (Due::Nothing, _) => return Ok(()),
        (Due::Tell, Some(last)) => {
            let (in_force, actor) = (&last.ruleset, &last.actor);
            tracing::warn!(
                ruleset,
                in_force,
                actor,
                "the rule files of this host are those of an older set, which does not come back by \
                 itself; to put it in force use `tidegate rules publish`"
            );
            return Ok(());
        }
        _ => {}
    }
    let why = if was_edited { "its rule files were edited" } else { "its rule files are new" };
    let mut rules = rules.clone();
    rules.initial = due == Due::Begin;
    let change = new_change(Act::Rules(rules), format!("instance {instance}"), why.to_owned());
    let offset = publish(settings, &change).await?;
    tracing::info!(ruleset, offset, "published the rule files of this host: {why}");
    Ok(())
}

/// Publishes edits in the background, the newest only, for as long as it takes.
#[derive(Debug)]
pub(super) struct Publisher {
    edited: watch::Sender<Option<PublishedRules>>,
}

impl Publisher {
    pub(super) fn new(settings: KafkaSettings, instance: String) -> Publisher {
        let (edited, news) = watch::channel(None);
        tokio::spawn(serve(settings, instance, news));
        Publisher { edited }
    }

    pub(super) fn publish(&self, rules: PublishedRules) {
        self.edited.send_replace(Some(rules));
    }
}

/// Ends with its [`Publisher`].
async fn serve(
    settings: KafkaSettings,
    instance: String,
    mut news: watch::Receiver<Option<PublishedRules>>,
) {
    let mut told_us = i64::MIN;
    while news.changed().await.is_ok() {
        loop {
            let Some(rules) = news.borrow_and_update().clone() else { break };
            let Err(error) = settle(&settings, &instance, &rules, true).await else { break };
            let now_us = SystemClock.now_us();
            if now_us.saturating_sub(told_us) >= REMIND_US {
                told_us = now_us;
                let ruleset = rules.ruleset;
                tracing::error!(ruleset, %error, "edited rules are not in force yet; trying on");
            }
            tokio::time::sleep(PAUSE).await;
            if news.has_changed().is_err() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
