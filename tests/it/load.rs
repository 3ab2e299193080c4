//! A steady load of events, from a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use crate::broker::{Broker, PATIENCE};
use crate::run::event;

/// Events are sent so often.
const BEAT: Duration = Duration::from_millis(10);

/// A producer that sends events at a steady rate, each once, until it is told to stop.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: JoinHandle<Vec<(String, String)>>,
}

impl Load {
    /// So many events a second, of so many users.
    pub(crate) fn start(broker: &Broker, topic: &str, rate: u64, users: u64) -> Load {
        let mut config = broker.client();
        config.set("enable.idempotence", "true").set("acks", "all").set("linger.ms", "5");
        config.set("delivery.report.only.error", "true");
        let producer: BaseProducer = config.create().unwrap();
        let (stop, sent): (Arc<AtomicBool>, Arc<AtomicU64>) = Default::default();
        let (topic, told, count) = (topic.to_owned(), Arc::clone(&stop), Arc::clone(&sent));
        let work = move || {
            let mut rng = ChaCha8Rng::seed_from_u64(13);
            let (began, mut events) = (Instant::now(), Vec::new());
            while !told.load(Ordering::Relaxed) {
                let due = began.elapsed().as_millis() * u128::from(rate) / 1_000;
                while (events.len() as u128) < due {
                    let n = events.len() as u64;
                    let event =
                        event(n, &format!("u-{}", rng.random_range(0..users)), 31 * n % 200);
                    let record = BaseRecord::to(&topic).key(&event.0).payload(&event.1);
                    producer.send(record).map_err(|(error, _)| error).unwrap();
                    events.push(event);
                }
                count.store(events.len() as u64, Ordering::Relaxed);
                producer.poll(Duration::ZERO);
                std::thread::sleep(BEAT);
            }
            producer.flush(PATIENCE).unwrap();
            events
        };
        Load { stop, sent, thread: std::thread::spawn(work) }
    }

    /// Events sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Ends it; all it has sent.
    pub(crate) fn stop(self) -> Vec<(String, String)> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}
