//! Who else works in the group, and where they can be asked.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::groups::GroupInfo;

use crate::stream::kafka::client::{KafkaSettings, unusable};

/// One question to the brokers.
const ASK: Duration = Duration::from_secs(5);

/// A worker of the group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// `<instance>-<n>`.
    pub slot: String,
    /// Where its instance serves its pages; `None` where its client has a name of its own.
    pub address: Option<String>,
    /// The address from which it reaches the broker.
    pub host: String,
}

/// The members of the group as the broker knows them. A worker's address stands in the name of its
/// client: the broker keeps that with the membership, so it is never older than that.
///
/// # Errors
/// When no broker answers, in words.
pub fn members(settings: &KafkaSettings) -> Result<Vec<Member>, String> {
    let config = settings.client("tidegate-members");
    let consumer: BaseConsumer = config.create().map_err(|error| unusable(&error))?;
    let groups = consumer.client().fetch_group_list(Some(&settings.group), ASK);
    let groups = groups.map_err(|error| unusable(&error))?;
    let all = groups.groups().iter().flat_map(GroupInfo::members);
    Ok(all.map(|member| member_of(member.client_id(), member.client_host())).collect())
}

/// The name of a worker's client.
pub(super) fn client_name(slot: &str, address: &str) -> String {
    format!("{slot}@{address}")
}

fn member_of(client: &str, host: &str) -> Member {
    let (slot, address) = match client.rsplit_once('@') {
        Some((slot, address)) => (slot, Some(address.to_owned())),
        None => (client, None),
    };
    Member { slot: slot.to_owned(), address, host: host.trim_start_matches('/').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::{Member, client_name, member_of};

    #[test]
    fn a_member_is_told_by_the_name_of_its_client() {
        let member = member_of(&client_name("host-a-0", "10.0.0.3:8080"), "/10.0.0.3");
        let expected = Member {
            slot: "host-a-0".to_owned(),
            address: Some("10.0.0.3:8080".to_owned()),
            host: "10.0.0.3".to_owned(),
        };
        assert_eq!(member, expected);
        assert_eq!(member_of("named-by-hand", "/10.0.0.4").address, None);
    }
}
