//! How far a group has come, as offsets with a note carry it.
//!
//! The note of an offset says `told N` where what came of records from N on is still to be told to
//! the owners of shared keys. Offsets without it, those that people set by their tools among them,
//! have nothing left to tell.

use rdkafka::{Offset, TopicPartitionList};

use crate::stream::kafka::native;
use crate::stream::{Failure, Place, Progress, Source};

const TOLD: &str = "told ";

/// Offsets as the client takes them.
pub(super) fn list<'a>(
    topic: impl Fn(Source) -> &'a str,
    progress: impl IntoIterator<Item = (Place, Progress)>,
) -> Result<TopicPartitionList, Failure> {
    let mut list = TopicPartitionList::new();
    for (place, Progress { next, told }) in progress {
        let mut at = list.add_partition(topic(place.source), place.partition);
        at.set_offset(Offset::Offset(next)).map_err(|error| Failure::Fatal(error.to_string()))?;
        if told < next {
            at.set_metadata(format!("{TOLD}{told}"));
        }
    }
    Ok(list)
}

/// What a list with an answer of the broker says of a partition.
///
/// # Errors
/// Retriable where the broker says nothing of it.
pub(super) fn found(
    list: &TopicPartitionList,
    topic: &str,
    partition: i32,
) -> Result<Option<Progress>, Failure> {
    let at = list
        .find_partition(topic, partition)
        .ok_or_else(|| Failure::Retriable("the broker left out a partition".to_owned()))?;
    at.error().map_err(|error| Failure::Retriable(error.to_string()))?;
    let Offset::Offset(next) = at.offset() else { return Ok(None) };
    // The client's own way to read it panics where it is no text.
    let note = native::metadata(list.ptr(), topic, partition);
    Ok(Some(Progress { next, told: told(&note).map_or(next, |told| told.min(next)) }))
}

fn told(note: &[u8]) -> Option<i64> {
    let told = str::from_utf8(note).ok()?.strip_prefix(TOLD)?;
    told.parse().ok().filter(|told| *told >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through_a_list(progress: Progress) -> Progress {
        let place = Place { source: Source::Events, partition: 3 };
        let list = list(|_| "points.events", [(place, progress)]).unwrap();
        found(&list, "points.events", 3).unwrap().unwrap()
    }

    #[test]
    fn what_is_still_to_be_told_goes_with_the_offset() {
        for progress in [Progress { next: 120, told: 100 }, Progress { next: 7, told: 0 }] {
            assert_eq!(through_a_list(progress), progress);
        }
        assert_eq!(through_a_list(Progress::at(120)), Progress::at(120));
    }

    #[test]
    fn notes_of_others_say_nothing() {
        for note in ["", "told", "told x", "told -1", "offset reset by hand", "TOLD 5", "told 5 "] {
            assert_eq!(told(note.as_bytes()), None, "{note}");
        }
        assert_eq!(told(&[0xff, 0xfe]), None);
        assert_eq!(told(b"told 5"), Some(5));
    }
}
