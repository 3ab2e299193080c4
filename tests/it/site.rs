//! A second site that has copies of the brokers' disks and of the snapshots (`TIDEGATE_KAFKA=1`).

use std::time::Instant;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::broker::{self, tell, wait};
use crate::process::Instance;
use crate::run::{Setup, assert_once, event, wait_for_all};

#[test]
fn a_second_site_goes_on_from_copies_and_every_effect_is_written_once() {
    let Some(first) = broker::private(&[]) else { return };
    let more = "engine: { workers: 1 }\nstate: { snapshots: 'file:snapshots', interval: 1s }";
    let setup = Setup::new(first.address(), "site", more);
    let mut rng = ChaCha8Rng::seed_from_u64(17);
    let events: Vec<(String, String)> = (0..60_000)
        .map(|n| event(n, &format!("u-{}", rng.random_range(0..3_000)), 31 * n % 200))
        .collect();
    let instance = Instance::start(setup.path());
    // Before the topics are made, events of a user may land in another order.
    wait("it is ready", || instance.is_ready());
    first.produce(&setup.topic("events"), &events[..20_000]);
    let written = || instance.metric("tidegate_snapshots_total", "\"written\"");
    wait("each partition has a snapshot", || setup.caught_up(&first) && written() >= 8);
    // In the middle of its work, some of it behind the last snapshots.
    first.produce(&setup.topic("events"), &events[20_000..40_000]);
    wait("it has come so far", || {
        first.committed(setup.group(), &setup.topic("events")).values().sum::<i64>() >= 30_000
    });
    instance.kill();
    first.stop();

    let second = first.copy();
    let moved = setup.moved(&first, &second);
    let began = Instant::now();
    let instance = Instance::start(moved.path());
    wait("it is ready", || instance.is_ready());
    tell(&format!("ready in the second site after {:?}", began.elapsed()));
    assert!(instance.metric("tidegate_snapshots_total", "\"restored\"") > 0);
    second.produce(&moved.topic("events"), &events[40_000..]);
    wait_for_all(&second, &moved);
    assert!(instance.stop().0.success());
    assert_once(&second, &moved, &events);
}
