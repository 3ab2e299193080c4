//! Which partitions are asked, and what counts as a restore.

use super::{Own, owned, restored_to};
use crate::stream::{PartitionView, Phase, WorkerView};

fn worker(state: Phase, partitions: &[(i32, bool)]) -> WorkerView {
    let view = |(partition, restored): &(i32, bool)| PartitionView {
        topic: "events".to_owned(),
        partition: *partition,
        next: 10 * i64::from(*partition),
        committed: 0,
        lag: None,
        watermark: None,
        keys: 0,
        bytes: 0,
        restored: *restored,
        warming: None,
    };
    WorkerView {
        slot: "a-0".to_owned(),
        state,
        partitions: partitions.iter().map(view).collect(),
        ..WorkerView::default()
    }
}

fn asked(views: &[WorkerView]) -> Option<(Vec<i32>, bool)> {
    owned(views.iter(), "events").map(|Own { partitions, is_all }| (partitions, is_all))
}

#[test]
fn all_are_asked_whose_state_is_there() {
    let works = worker(Phase::Running, &[(3, true), (1, true)]);
    assert_eq!(asked(std::slice::from_ref(&works)), Some((vec![1, 3], true)));
    assert!(owned([&works].into_iter(), "partials").unwrap().partitions.is_empty());
    let restores = worker(Phase::Restoring, &[(0, true), (2, false)]);
    assert_eq!(asked(&[works.clone(), restores.clone()]), Some((vec![0, 1, 3], false)));
    let loads = WorkerView { loading: Some(4), ..works.clone() };
    assert_eq!(asked(&[loads.clone(), restores.clone()]), Some((vec![0], false)));
    for state in [Phase::Joining, Phase::Stuck, Phase::Stopped] {
        assert_eq!(asked(&[restores.clone(), worker(state, &[])]), None, "it may be lost");
    }
    assert_eq!(restored_to(&works), []);
    let at = restored_to(&loads);
    assert_eq!(at, [("a-0".to_owned(), 4)]);
    assert_eq!(restored_to(&restores).len(), 2);
    let stuck = WorkerView { loading: Some(4), ..worker(Phase::Stuck, &[]) };
    assert_eq!(restored_to(&stuck), []);
    let begins = WorkerView { loading: Some(0), ..worker(Phase::Restoring, &[]) };
    assert_eq!(restored_to(&begins), [("a-0".to_owned(), 0)]);
}
