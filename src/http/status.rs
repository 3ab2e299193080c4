//! The status object as it leaves: users, devices and addresses of its decisions masked (N5).

use serde_json::Value;

use crate::engine::Decision;
use crate::notify::{mask, masked};

/// What is shown of `status`.
pub(super) fn presented(mut status: Value) -> Value {
    if status.get("reveal").and_then(Value::as_bool) == Some(true) {
        return status;
    }
    let recent = status.get_mut("recent").and_then(Value::as_array_mut);
    for decision in recent.into_iter().flatten() {
        *decision = covered(std::mem::take(decision));
    }
    status
}

fn covered(decision: Value) -> Value {
    let read = serde_json::from_value::<Decision>(decision.clone());
    if let Ok(decision) = read
        && let Ok(shown) = serde_json::to_value(masked(&decision))
    {
        return shown;
    }
    // Not a decision as we know them (an audit record of a later version, say): its texts may
    // hold a key in any place, so they stay away.
    let mut decision = decision;
    if let Some(fields) = decision.as_object_mut() {
        fields.retain(|name, _| !matches!(name.as_str(), "summary" | "actions" | "trigger"));
        let key = fields.get_mut("key").and_then(Value::as_object_mut);
        for (_, value) in key.into_iter().flatten() {
            let plain = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            *value = Value::String(mask(&plain));
        }
    }
    decision
}
