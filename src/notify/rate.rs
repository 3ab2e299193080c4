//! How many notices a minute a receiver is sent: what its provider bears, or what was asked for.

use std::num::NonZeroU32;

use governor::Quota;

use super::receivers::{ReceiverSettings, Via};

/// Robots throttle for minutes whoever exceeds their bound in any one minute, so a burst and
/// what is let through behind it must keep within the bound together.
const ROBOT_BURST: u32 = 5;

/// `None` is without bound.
pub(super) fn quota(receiver: &ReceiverSettings) -> Option<Quota> {
    // Twenty a minute are what DingTalk and WeCom take. Feishu takes a hundred, five a second;
    // Slack one a second. A mail or an SMS has no such bound: thirty and ten a minute are what
    // a person can read, and pay for.
    let (bears, burst) = match receiver.via() {
        Some(Via::Email(_) | Via::Outbox(_)) => (Some(30), None),
        Some(Via::Sms(_)) => (Some(10), None),
        Some(Via::Dingtalk(_) | Via::Wecom(_)) => (Some(20), Some(ROBOT_BURST)),
        Some(Via::Slack(_)) => (Some(30), Some(ROBOT_BURST)),
        Some(Via::Feishu(_)) => (Some(60), Some(ROBOT_BURST)),
        Some(Via::Webhook(_) | Via::Alertmanager(_)) | None => (None, None),
    };
    let rate = receiver.rate.or(bears)?;
    let Some(burst) = burst else { return NonZeroU32::new(rate).map(Quota::per_minute) };
    let burst = burst.min(rate / 4).max(1);
    let behind = NonZeroU32::new(rate.saturating_sub(burst).max(1))?;
    Some(Quota::per_minute(behind).allow_burst(NonZeroU32::new(burst)?))
}

#[cfg(test)]
mod tests;
