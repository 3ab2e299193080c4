//! A Kafka in memory with the faults of a real one: atomic commits, holes in offsets, group
//! generations, fencing by epoch, and a way to fail at any call.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use tidegate::stream::{
    Aside, Batch, Bounds, Clock, Failure, Header, Headers, Log, Lookup, Place, Polled, Produce,
    Progress, Rebalance, Record, Side, SideRecord, Sink, Source, Visit,
};

use super::direct::Sent;
use super::flight::Flight;

/// A larger output is refused, as by `max.message.bytes`.
pub(super) const SIZE_MAX: usize = 4_000;

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) timestamp_ms: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: Vec<Header>,
}

/// Headers as they were produced.
#[derive(Debug)]
struct Kept<'a>(&'a [Header]);

impl Headers for Kept<'_> {
    fn read(&self) -> Vec<Header> {
        self.0.to_vec()
    }
}

/// What goes on evenly, and how far the workers' machines are off from it.
#[derive(Debug, Clone)]
pub(super) struct SimClock(pub(super) Rc<Cell<i64>>, pub(super) Rc<Cell<i64>>);

impl Clock for SimClock {
    fn now_us(&self) -> i64 {
        self.0.get()
    }

    fn wall_us(&self) -> i64 {
        self.0.get() + self.1.get()
    }
}

/// How likely each fault is at one call, in thousandths.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    pub(super) crash: u32,
    pub(super) abort: u32,
    pub(super) ask: u32,
    pub(super) slow: u32,
}

#[derive(Debug, Default)]
struct Member {
    epoch: u64,
    /// A generation's member; none after it was thrown out.
    generation: Option<u64>,
    places: Vec<Place>,
    events: Vec<Rebalance>,
    /// Has given its partitions back in the rebalance that runs.
    joined: bool,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each a fault of its own")]
pub(super) struct Broker {
    pub(super) partitions: i32,
    /// `None` is a marker: an offset that no reader sees.
    pub(super) inputs: BTreeMap<Place, Vec<Option<Entry>>>,
    pub(super) outputs: BTreeMap<Sink, Vec<Produce>>,
    /// The control topic, as it was written: keys and values.
    pub(super) control: Vec<(String, Vec<u8>)>,
    /// Offsets of the control topic that compaction has taken.
    pub(super) compacted: BTreeSet<i64>,
    /// Topics that do not answer.
    pub(super) away: BTreeSet<Side>,
    pub(super) committed: BTreeMap<Place, i64>,
    /// What came of records before this offset the owners of shared keys have been told.
    pub(super) told: BTreeMap<Place, i64>,
    /// How many partitions were given out with something left to tell.
    pub(super) left_to_tell: u64,
    members: BTreeMap<String, Member>,
    generation: u64,
    rebalancing: bool,
    pub(super) commits: u64,
    pub(super) crashes: u64,
    pub(super) aborts: u64,
    pub(super) rebalances: u64,
    /// Records of the events topic handed out so far.
    pub(super) read: Cell<u64>,
    /// Records of it handed out once more.
    pub(super) read_again: Cell<u64>,
    /// How likely it is, in thousandths, that a loss of partitions is not heard of yet.
    pub(super) late_news: u32,
    /// Commits succeed and come to nothing.
    pub(super) is_frozen: bool,
    /// No commit succeeds.
    pub(super) refuses: bool,
    /// No transaction comes to its end unless that is waited for.
    pub(super) holds_transactions: bool,
    /// Transactions that were begun.
    pub(super) begun: u64,
    /// Every client fails for good.
    pub(super) is_dead: bool,
    /// Nothing of what was read before comes once more.
    pub(super) holds_earlier: bool,
    /// The same of one partition of the events.
    pub(super) held_partition: Option<i32>,
    /// Records before this offset have been deleted.
    pub(super) low: BTreeMap<Place, i64>,
    /// Outputs may come outside of transactions.
    pub(super) may_send: bool,
    /// None of them arrives.
    pub(super) holds_acks: bool,
    pub(super) sent_at_once: u64,
    /// Those of clients that are gone.
    pub(super) strays: VecDeque<VecDeque<Produce>>,
}

impl Broker {
    pub(super) fn new(partitions: i32) -> Broker {
        let place = |source, partition| Place { source, partition };
        let all =
            (0..partitions).flat_map(|p| [place(Source::Events, p), place(Source::Partials, p)]);
        Broker {
            partitions,
            inputs: all.map(|place| (place, Vec::new())).collect(),
            outputs: BTreeMap::new(),
            control: Vec::new(),
            compacted: BTreeSet::new(),
            away: BTreeSet::new(),
            committed: BTreeMap::new(),
            told: BTreeMap::new(),
            left_to_tell: 0,
            members: BTreeMap::new(),
            generation: 0,
            rebalancing: false,
            commits: 0,
            crashes: 0,
            aborts: 0,
            rebalances: 0,
            read: Cell::new(0),
            read_again: Cell::new(0),
            late_news: 0,
            is_frozen: false,
            refuses: false,
            holds_transactions: false,
            begun: 0,
            is_dead: false,
            holds_earlier: false,
            held_partition: None,
            low: BTreeMap::new(),
            may_send: false,
            holds_acks: false,
            sent_at_once: 0,
            strays: VecDeque::new(),
        }
    }

    /// Takes from the control topic what a later record of the same key has replaced.
    pub(super) fn compact(&mut self) {
        for (at, (key, _)) in self.control.iter().enumerate() {
            if self.control[at + 1..].iter().any(|(later, _)| later == key) {
                self.compacted.insert(i64::try_from(at).unwrap());
            }
        }
    }

    fn side(&self, side: Side, from: i64) -> Vec<SideRecord> {
        let values: Vec<&[u8]> = match side {
            Side::Control => self.control.iter().map(|(_, value)| value.as_slice()).collect(),
            Side::Journal => {
                let records = self.outputs.get(&Sink::Journal).into_iter().flatten();
                records.map(|record| record.value.as_deref().unwrap()).collect()
            }
        };
        let all = (0..).zip(values).filter(|(offset, _)| {
            *offset >= from && !(side == Side::Control && self.compacted.contains(offset))
        });
        all.map(|(offset, value)| SideRecord { offset, value: Some(value.to_vec()) }).collect()
    }

    pub(super) fn append(&mut self, place: Place, entry: Entry) {
        self.inputs.get_mut(&place).unwrap().push(Some(entry));
    }

    /// Everything that can be read is committed, markers at the end aside, and told.
    pub(super) fn is_drained(&self) -> bool {
        let is_told = |(place, told): (&Place, &i64)| self.committed.get(place) == Some(told);
        self.told.iter().all(is_told)
            && self.inputs.iter().all(|(place, log)| {
                let end = log.iter().rposition(Option::is_some).map_or(0, |at| at + 1);
                end == 0
                    || self
                        .committed
                        .get(place)
                        .is_some_and(|at| *at >= i64::try_from(end).unwrap())
            })
    }

    fn join(&mut self, slot: &str) -> u64 {
        let known = self.members.get(slot).is_some_and(|member| member.generation.is_some());
        let generation = self.generation;
        let member = self.members.entry(slot.to_owned()).or_default();
        member.epoch += 1;
        let epoch = member.epoch;
        member.events.clear();
        if known && !self.rebalancing {
            // A static member that comes back has its partitions without a rebalance.
            member.generation = Some(generation);
            member.events.push(Rebalance::Assigned(member.places.clone()));
        } else {
            member.generation = Some(generation);
            member.places.clear();
            member.joined = true;
            self.rebalance();
            self.settle();
        }
        epoch
    }

    /// Every member has to give its partitions back.
    pub(super) fn rebalance(&mut self) {
        self.rebalances += 1;
        if self.rebalancing {
            return;
        }
        self.rebalancing = true;
        for member in self.members.values_mut().filter(|member| member.generation.is_some()) {
            if member.places.is_empty() {
                member.joined = true;
            } else if !member.joined {
                member.events.push(Rebalance::Revoked { lost: false });
            }
        }
        self.settle();
    }

    /// Whether a slot has its partitions of this generation still.
    pub(super) fn is_of(&self, slot: &str, generation: u64) -> bool {
        self.members[slot].generation == Some(generation)
    }

    /// The session of a member ended: others get its partitions at once.
    pub(super) fn throw_out(&mut self, slot: &str) {
        if let Some(member) = self.members.get_mut(slot)
            && member.generation.take().is_some()
        {
            member.places.clear();
            member.joined = false;
            member.events = vec![Rebalance::Revoked { lost: true }];
            self.rebalance();
        }
    }

    /// Ends the rebalance when all members have joined.
    fn settle(&mut self) {
        let mut alive: Vec<&mut Member> =
            self.members.values_mut().filter(|member| member.generation.is_some()).collect();
        if !self.rebalancing || alive.iter().any(|member| !member.joined) || alive.is_empty() {
            return;
        }
        self.rebalancing = false;
        self.generation += 1;
        let count = i32::try_from(alive.len()).unwrap();
        for (n, member) in (0..).zip(&mut alive) {
            let own = (0..self.partitions).filter(|p| p % count == n);
            member.places = own
                .flat_map(|partition| {
                    [Source::Events, Source::Partials].map(|source| Place { source, partition })
                })
                .collect();
            member.generation = Some(self.generation);
            member.joined = false;
            member.events.push(Rebalance::Assigned(member.places.clone()));
        }
    }
}

/// An answer that comes at an instant of the clock.
struct Later(i64, Box<dyn FnOnce()>);

impl std::fmt::Debug for Later {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Later").field(&self.0).finish_non_exhaustive()
    }
}

/// One worker's client.
#[derive(Debug)]
pub(super) struct SimLog {
    pub(super) broker: Rc<RefCell<Broker>>,
    pub(super) clock: SimClock,
    pub(super) rng: Rc<RefCell<ChaCha8Rng>>,
    pub(super) faults: Faults,
    pub(super) slot: String,
    epoch: u64,
    pub(super) generation: u64,
    positions: BTreeMap<Place, i64>,
    ended: BTreeSet<Place>,
    pub(super) sent: Sent,
    /// Answers to what is asked aside.
    asides: Vec<Later>,
    pub(super) flight: Option<Flight>,
}

impl SimLog {
    pub(super) fn open(
        broker: &Rc<RefCell<Broker>>,
        clock: &SimClock,
        rng: &Rc<RefCell<ChaCha8Rng>>,
        faults: Faults,
        slot: &str,
    ) -> SimLog {
        let epoch = broker.borrow_mut().join(slot);
        SimLog {
            broker: broker.clone(),
            clock: clock.clone(),
            rng: rng.clone(),
            faults,
            slot: slot.to_owned(),
            epoch,
            generation: 0,
            positions: BTreeMap::new(),
            ended: BTreeSet::new(),
            sent: Sent::default(),
            asides: Vec::new(),
            flight: None,
        }
    }

    pub(super) fn chance(&self, thousandths: u32) -> bool {
        self.rng.borrow_mut().random_range(0..1000_u32) < thousandths
    }

    pub(super) fn crash(&self) -> Result<(), Failure> {
        if self.chance(self.faults.crash) || self.broker.borrow().is_dead {
            self.broker.borrow_mut().crashes += 1;
            return Err(Failure::Fatal("crash".to_owned()));
        }
        Ok(())
    }

    pub(super) fn ask(&self) -> Result<(), Failure> {
        self.crash()?;
        if self.chance(self.faults.ask) {
            return Err(Failure::Retriable("no answer".to_owned()));
        }
        Ok(())
    }

    pub(super) fn advance(&self, us: i64) {
        self.clock.0.set(self.clock.0.get() + us);
    }

    pub(super) fn is_current(&self) -> bool {
        self.broker.borrow().members.get(&self.slot).is_some_and(|m| m.epoch == self.epoch)
    }
}

impl Lookup for SimLog {
    fn bounds(&mut self, place: Place) -> Result<Bounds, Failure> {
        self.ask()?;
        let broker = self.broker.borrow();
        let high = i64::try_from(broker.inputs[&place].len()).unwrap();
        Ok(Bounds { low: broker.low.get(&place).copied().unwrap_or(0), high })
    }

    fn since(&mut self, place: Place, ms: i64) -> Result<i64, Failure> {
        let low = self.bounds(place)?.low;
        let broker = self.broker.borrow();
        let log = &broker.inputs[&place];
        let is_since = |entry: &Option<Entry>| entry.as_ref().is_some_and(|e| e.timestamp_ms >= ms);
        let mut held = (0..).zip(log).skip_while(|(offset, _)| *offset < low);
        let end = i64::try_from(log.len()).unwrap();
        Ok(held.find(|(_, entry)| is_since(entry)).map_or(end, |(offset, _)| offset))
    }

    fn fingerprint(&mut self, place: Place, offset: i64) -> Result<Option<u64>, Failure> {
        self.ask()?;
        let broker = self.broker.borrow();
        if broker.low.get(&place).is_some_and(|low| offset < *low) {
            return Ok(None);
        }
        let entry = broker.inputs[&place].get(usize::try_from(offset).unwrap());
        Ok(entry.and_then(Option::as_ref).map(|entry| {
            let headers = Kept(&entry.headers);
            let (key, value) = (entry.key.as_deref(), entry.value.as_deref());
            let timestamp_ms = Some(entry.timestamp_ms);
            Record { place, offset, timestamp_ms, key, value, headers: &headers }.fingerprint()
        }))
    }

    fn whole(&mut self, side: Side, from: i64) -> Result<Vec<SideRecord>, Failure> {
        self.ask()?;
        let broker = self.broker.borrow();
        if broker.away.contains(&side) {
            return Err(Failure::Retriable("the topic is away".to_owned()));
        }
        Ok(broker.side(side, from))
    }
}

impl Log for SimLog {
    fn aside<T: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&mut dyn Lookup) -> Result<T, Failure> + Send + 'static,
    ) -> Aside<T> {
        // Asked now and told later: what is true meanwhile may have changed.
        let (answer, aside) = Aside::new();
        let found = ask(self);
        let at_us = self.clock.0.get() + self.rng.borrow_mut().random_range(0..50_000);
        self.asides.push(Later(at_us, Box::new(move || drop(answer.send(found)))));
        aside
    }

    fn serve(&mut self, _: u64) -> Result<(), Failure> {
        self.crash()?;
        self.advance(500);
        let now_us = self.clock.0.get();
        self.fly();
        for Later(_, answer) in self.asides.extract_if(.., |later| later.0 <= now_us) {
            answer();
        }
        if self.broker.borrow().may_send && self.chance(100) {
            self.broker.borrow_mut().land_a_stray();
        }
        if !self.is_current() {
            return Err(Failure::Fatal("fenced".to_owned()));
        }
        let rejoin = {
            let broker = self.broker.borrow();
            let member = &broker.members[&self.slot];
            member.generation.is_none() && member.events.is_empty()
        };
        if rejoin {
            // Thrown out, and the loss has been told: the client joins again.
            self.epoch = self.broker.borrow_mut().join(&self.slot);
            self.positions.clear();
        }
        Ok(())
    }

    fn poll(&mut self, wait_ms: u64, visit: &mut Visit<'_>) -> Result<(), Failure> {
        self.serve(wait_ms)?;
        let broker = self.broker.clone();
        let broker = broker.borrow();
        let mut budget = self.rng.borrow_mut().random_range(0..40_usize);
        for (place, next) in &mut self.positions {
            let log = &broker.inputs[place];
            let from = usize::try_from(*next).unwrap();
            let to = log.len().min(from + budget);
            budget -= to - from;
            let records = log[from..to].iter().zip(*next..);
            let records = records.filter_map(|(entry, offset)| Some((entry.as_ref()?, offset)));
            let kept: Vec<Kept<'_>> =
                records.clone().map(|(entry, _)| Kept(&entry.headers)).collect();
            let mut polled = Vec::new();
            for ((entry, offset), headers) in records.zip(&kept) {
                polled.push(Polled::Record(Record {
                    place: *place,
                    offset,
                    timestamp_ms: Some(entry.timestamp_ms),
                    key: entry.key.as_deref(),
                    value: entry.value.as_deref(),
                    headers,
                }));
            }
            if place.source == Source::Events {
                let count = u64::try_from(polled.len()).unwrap();
                broker.read.set(broker.read.get() + count);
            }
            if to > from {
                self.ended.remove(place);
            }
            *next = i64::try_from(to).unwrap();
            if to == log.len() && self.ended.insert(*place) {
                polled.push(Polled::End(*place, *next));
            }
            if !polled.is_empty() {
                visit(&polled);
            }
        }
        Ok(())
    }

    fn rebalances(&mut self) -> Vec<Rebalance> {
        // Who is thrown out hears of it later, and goes on until then.
        let is_late = self.chance(self.broker.borrow().late_news);
        let mut broker = self.broker.borrow_mut();
        let member = broker.members.get_mut(&self.slot).unwrap();
        let lost = member.events.contains(&Rebalance::Revoked { lost: true });
        if member.epoch != self.epoch || (lost && is_late) {
            return Vec::new();
        }
        let events = std::mem::take(&mut member.events);
        if events.iter().any(|event| matches!(event, Rebalance::Assigned(_))) {
            self.generation = member.generation.unwrap();
        }
        events
    }

    fn assign(&mut self, starts: &[(Place, i64)]) -> Result<(), Failure> {
        self.crash()?;
        self.positions = starts.iter().copied().collect();
        self.ended.clear();
        Ok(())
    }

    fn unassign(&mut self) -> Result<(), Failure> {
        self.crash()?;
        self.positions.clear();
        self.give_up();
        let mut broker = self.broker.borrow_mut();
        let member = broker.members.get_mut(&self.slot).unwrap();
        if member.epoch == self.epoch && member.generation.is_some() {
            member.places.clear();
            member.joined = true;
            broker.settle();
        }
        Ok(())
    }

    fn committed(&mut self, places: &[Place]) -> Result<Vec<Option<Progress>>, Failure> {
        self.ask()?;
        let mut broker = self.broker.borrow_mut();
        let progress = |place: &Place| {
            let next = *broker.committed.get(place)?;
            let told = broker.told.get(place).map_or(next, |told| *told.min(&next));
            broker.left_to_tell += u64::from(told < next);
            Some(Progress { next, told })
        };
        Ok(places.iter().map(progress).collect())
    }

    fn earlier(
        &mut self,
        place: Place,
        (from, until): (i64, i64),
        visit: &mut Visit<'_>,
    ) -> Result<i64, Failure> {
        self.ask()?;
        let broker = self.broker.clone();
        let broker = broker.borrow();
        assert!(broker.low.get(&place).is_none_or(|low| from >= *low), "read before its beginning");
        let is_held =
            place.source == Source::Events && broker.held_partition == Some(place.partition);
        if broker.holds_earlier || is_held {
            return Ok(from);
        }
        let some = i64::from(self.rng.borrow_mut().random_range(0..60_u32));
        let to = until.min(from + some);
        let offsets = from..to;
        let entries =
            offsets.clone().map(|at| &broker.inputs[&place][usize::try_from(at).unwrap()]);
        let records = offsets.zip(entries).filter_map(|(at, entry)| Some((at, entry.as_ref()?)));
        for (offset, entry) in records {
            if place.source == Source::Events {
                broker.read_again.set(broker.read_again.get() + 1);
            }
            visit(&[Polled::Record(Record {
                place,
                offset,
                timestamp_ms: Some(entry.timestamp_ms),
                key: entry.key.as_deref(),
                value: entry.value.as_deref(),
                headers: &Kept(&entry.headers),
            })]);
        }
        Ok(to)
    }

    fn rest(&mut self) {}

    fn lag(&self, place: Place, next: i64) -> Option<i64> {
        Some(i64::try_from(self.broker.borrow().inputs[&place].len()).unwrap() - next)
    }

    fn changes(&mut self, from: i64) -> Result<Vec<SideRecord>, Failure> {
        self.whole(Side::Control, from)
    }

    fn send(&mut self, outputs: &[Produce]) -> Result<(), Failure> {
        self.take_over_outputs(outputs)
    }

    fn unwritten(&mut self, wait_ms: u64) -> Result<usize, Failure> {
        self.not_known_to_be_written(wait_ms)
    }

    fn begin(&mut self, batch: Batch) {
        self.begin_flight(batch);
    }

    fn ended(&mut self, wait_ms: u64) -> Option<(Batch, Result<(), Failure>)> {
        self.flight_ended(wait_ms)
    }
}
