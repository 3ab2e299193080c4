//! Takes the pieces of a snapshot from a worker and stores them beside it, on a thread of its
//! own: the worker waits for no store.

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::snapshot::shelf::{Manifest, Segment, Shelf, Subject};

/// Pieces that may wait: with them a snapshot under way takes a few times their size of memory.
const WAITING_MAX: usize = 4;

/// What became of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    Written(Box<Manifest>),
    /// The store did not take it; the reason.
    Failed(Subject, String),
}

/// Stores snapshots, one after the other.
#[derive(Debug)]
pub struct Keeper {
    shelf: Shelf,
    hands: Hands,
    /// Of the snapshot under way.
    number: u64,
}

#[derive(Debug)]
enum Hands {
    /// In place, for a simulation.
    Here(Box<Job>, Vec<Outcome>),
    There {
        orders: Option<SyncSender<Order>>,
        done: Receiver<Outcome>,
        thread: Option<JoinHandle<()>>,
    },
}

#[derive(Debug)]
enum Order {
    /// Records of a snapshot, by its number: with another number another one begins.
    Piece(u64, Subject, Vec<u8>),
    /// That was all.
    Publish(u64, Box<Manifest>),
}

/// A snapshot as far as it is stored.
#[derive(Debug)]
struct Job {
    shelf: Shelf,
    number: u64,
    segments: Vec<Segment>,
    failure: Option<String>,
}

impl Keeper {
    /// A keeper with a thread of its own.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(shelf: Shelf) -> std::io::Result<Keeper> {
        let (orders, taken) = sync_channel(WAITING_MAX);
        let (tell, done) = std::sync::mpsc::channel();
        let mut job = Job::new(&shelf);
        let work = move || {
            for order in taken {
                if let Some(outcome) = job.take(order)
                    && tell.send(outcome).is_err()
                {
                    break;
                }
            }
        };
        let thread = std::thread::Builder::new().name("snapshots".to_owned()).spawn(work)?;
        let hands = Hands::There { orders: Some(orders), done, thread: Some(thread) };
        Ok(Keeper { shelf, hands, number: 0 })
    }

    /// One that stores in place, in the caller's thread.
    pub fn inline(shelf: Shelf) -> Keeper {
        let job = Box::new(Job::new(&shelf));
        Keeper { shelf, hands: Hands::Here(job, Vec::new()), number: 0 }
    }

    pub fn shelf(&self) -> &Shelf {
        &self.shelf
    }

    /// Takes a piece of the snapshot of `subject`; gives it back while too many wait.
    ///
    /// # Errors
    /// The piece, to be handed in again later.
    pub fn piece(&mut self, subject: &Subject, records: Vec<u8>) -> Result<(), Vec<u8>> {
        match self.order(Order::Piece(self.number, subject.clone(), records)) {
            Some(Order::Piece(_, _, records)) => Err(records),
            _ => Ok(()),
        }
    }

    /// Takes the end of the snapshot under way; false while too much waits.
    pub fn publish(&mut self, manifest: &Manifest) -> bool {
        let taken = self.order(Order::Publish(self.number, Box::new(manifest.clone()))).is_none();
        self.number += u64::from(taken);
        taken
    }

    /// The snapshot under way comes to nothing. What is stored of it is removed some time.
    pub fn give_up(&mut self) {
        self.number += 1;
    }

    /// What has become of snapshots since the last call.
    pub fn outcomes(&mut self) -> Vec<Outcome> {
        match &mut self.hands {
            Hands::Here(_, outcomes) => std::mem::take(outcomes),
            Hands::There { done, .. } => done.try_iter().collect(),
        }
    }

    /// Waits for the next outcome, but not beyond an instant.
    pub fn wait(&mut self, until: Instant) -> Option<Outcome> {
        match &mut self.hands {
            Hands::Here(_, outcomes) => outcomes.pop(),
            Hands::There { done, .. } => {
                let left = until.saturating_duration_since(Instant::now());
                done.recv_timeout(left).ok()
            }
        }
    }

    /// An order that finds no room comes back.
    fn order(&mut self, order: Order) -> Option<Order> {
        match &mut self.hands {
            Hands::Here(job, outcomes) => {
                outcomes.extend(job.take(order));
                None
            }
            Hands::There { orders, .. } => match orders.as_ref()?.try_send(order) {
                Ok(()) | Err(TrySendError::Disconnected(_)) => None,
                Err(TrySendError::Full(order)) => Some(order),
            },
        }
    }
}

/// A thread that is in a request to a store is not waited for.
const LEAVE: Duration = Duration::from_secs(1);

impl Drop for Keeper {
    fn drop(&mut self) {
        if let Hands::There { orders, thread, .. } = &mut self.hands {
            drop(orders.take());
            let until = Instant::now() + LEAVE;
            while thread.as_ref().is_some_and(|thread| !thread.is_finished())
                && Instant::now() < until
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            if let Some(thread) = thread.take_if(|thread| thread.is_finished())
                && thread.join().is_err()
            {
                tracing::error!("the keeper of snapshots panicked");
            }
        }
    }
}

impl Job {
    fn new(shelf: &Shelf) -> Job {
        Job { shelf: shelf.clone(), number: 0, segments: Vec::new(), failure: None }
    }

    fn turn_to(&mut self, number: u64) {
        if number != self.number {
            self.number = number;
            self.segments.clear();
            self.failure = None;
        }
    }

    fn take(&mut self, order: Order) -> Option<Outcome> {
        match order {
            Order::Piece(number, subject, records) => {
                self.turn_to(number);
                if self.failure.is_none() {
                    match self.shelf.write(&subject, &records) {
                        Ok(segment) => self.segments.push(segment),
                        Err(error) => self.failure = Some(error.to_string()),
                    }
                }
                None
            }
            Order::Publish(number, mut manifest) => {
                self.turn_to(number);
                manifest.segments = std::mem::take(&mut self.segments);
                if let Some(reason) = self.failure.take() {
                    return Some(Outcome::Failed(manifest.subject, reason));
                }
                match self.shelf.publish(&manifest) {
                    Ok(()) => Some(Outcome::Written(manifest)),
                    Err(error) => Some(Outcome::Failed(manifest.subject, error.to_string())),
                }
            }
        }
    }
}
