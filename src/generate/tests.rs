//! The stream is a function of its options, in order, and readable as events.

use super::*;
use crate::event::{Decoder, EventTime};

fn stream(seed: u64) -> (Vec<u8>, Vec<Label>) {
    let options = Options { users: 50, rate: 5, seconds: 60, start: 1_763_740_800_000, seed };
    let mut out = Vec::new();
    let labels = run(&options, &mut out).unwrap();
    (out, labels)
}

#[test]
fn same_seed_gives_the_same_bytes_and_another_seed_others() {
    assert_eq!(stream(7), stream(7));
    assert_ne!(stream(7).0, stream(8).0);
}

#[test]
fn every_line_is_an_event_in_order_and_labels_count_them() {
    let (bytes, labels) = stream(7);
    let decoder = Decoder::default();
    let mut last = EventTime::MIN;
    let mut lines = 0;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let event = decoder.decode(line, 65_536).unwrap();
        assert!(event.ts >= last);
        last = event.ts;
        lines += 1;
    }
    assert_eq!(lines, 300 + labels.iter().map(|label| label.events).sum::<u64>());
}
