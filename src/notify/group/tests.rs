//! A setting that cannot be used is told without its value.

use std::collections::BTreeMap;

use super::member;
use crate::notify::letters::Letters;

#[tokio::test]
async fn a_property_that_kafka_does_not_take_is_told_without_its_value() {
    let runtime = tokio::runtime::Handle::current();
    for key in ["sasl.passwrod", "security.protocol"] {
        let properties = BTreeMap::from([(key.to_owned(), "hunter2".to_owned())]);
        let brokers = "127.0.0.1:9";
        let of_member = member(brokers, &properties, ("group", "instance")).err().unwrap();
        let of_letters = Letters::start(brokers, &properties, "dead", &runtime).err().unwrap();
        for error in [of_member, of_letters] {
            let said = format!("{error} {error:?}");
            assert!(said.contains(key) && !said.contains("hunter2"), "{said}");
        }
    }
}
