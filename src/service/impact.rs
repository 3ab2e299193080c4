//! Whom another rule set would hit at once: asks the counters of all instances.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::engine::Plan;
use crate::engine::impact::{RuleImpact, changes, merge};
use crate::http::{ImpactRequest, WhyError};
use crate::service::why::{Whys, gaps};
use crate::stream::lock;

/// A worker looks at all of its counters within so long; some seconds for millions of them.
const ANSWER: Duration = Duration::from_secs(30);

/// What one instance knows.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Part {
    impacts: Vec<Vec<RuleImpact>>,
    partitions: Vec<i32>,
    restoring: Vec<i32>,
}

impl Whys {
    pub(super) async fn impact(self: Arc<Whys>, request: ImpactRequest) -> Result<Value, WhyError> {
        let Some((partitions, asks)) = lock(&self.fleet).clone() else {
            return Err(WhyError::Unready("no worker has started yet".to_owned()));
        };
        let live = self.plans.get();
        let plan = request.rules.plan(live.settings.clone()).map_err(|faults| {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            WhyError::Bad(faults.join("\n"))
        })?;
        let plan = Arc::new(plan);
        let waiting: Vec<_> = asks.iter().map(|asks| asks.put_rules(plan.clone())).collect();
        let mut part = Part::default();
        for surveyed in waiting {
            if let Ok(Ok(surveyed)) = tokio::time::timeout(ANSWER, surveyed).await {
                part.impacts.extend(surveyed.impacts);
                part.partitions.extend(surveyed.partitions);
                part.restoring.extend(surveyed.restoring);
            }
        }
        if request.local {
            return serde_json::to_value(part).map_err(|error| WhyError::Failed(error.to_string()));
        }
        let mut missing = Vec::new();
        let mut parts = vec![part];
        if parts.iter().flat_map(|part| &part.partitions).count() < partitions as usize {
            let local = serde_json::to_value(ImpactRequest { local: true, ..request });
            let local = local.unwrap_or_default();
            parts.extend(self.others::<Part>("/api/v1/impact", local, &mut missing).await);
        }
        let told = parts.iter().map(|part| (&part.partitions, &part.restoring));
        gaps(partitions, told, &mut missing);
        let found: Vec<Vec<RuleImpact>> = parts.into_iter().flat_map(|part| part.impacts).collect();
        Ok(whole(&live, &plan, found, &missing))
    }
}

fn whole(live: &Plan, plan: &Plan, found: Vec<Vec<RuleImpact>>, missing: &[String]) -> Value {
    // What is different is known without any counter.
    let known = changes(live, plan).into_iter().map(|(impact, _)| impact).collect();
    let rules = merge([vec![known], found].concat());
    json!({
        "from": live.rule_set().version, "to": plan.rule_set().version,
        "keeps_counters": plan.counts_as(live), "rules": rules, "missing": missing,
    })
}
