//! What a receiver asks for.

use std::time::Duration;

use super::asked_for;

#[test]
fn a_receiver_asks_for_seconds_or_names_an_instant() {
    let now = "1994-11-06T08:49:00Z".parse().unwrap();
    let rows = [
        ("120", Some(120)),
        (" 0 ", Some(0)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
        // It is past.
        ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
        ("-1", None),
        ("soon", None),
        ("", None),
    ];
    for (value, seconds) in rows {
        assert_eq!(asked_for(value, now), seconds.map(Duration::from_secs), "{value}");
    }
}
