//! Folds in threads: one reads, some decode, one looks for duplicates, and of each fold one steps over
//! the events and one owns the keys that cross partitions. Where two cores are all there is, one thread
//! does the first three: a piece is decoded while it is in the cache. What they come to is handed out by the caller's thread.
//!
//! Nothing depends on how fast any of them is: pieces go from each to the next in order, and the
//! two halves of a fold see what they would see in one thread. All queues are bounded.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::backtest::chunk::{Chunk, Decoded, Decoding, Form, Hashed, RecordAt, Row, Rows, Source};
use crate::backtest::fold::Backtest;
use crate::backtest::halves::{Own, Record, Shared, Step, Tagged, Told};
use crate::backtest::results::Results;
use crate::backtest::tally::Issued;
use crate::engine::{Effect, Events, Gate, LOOK_AHEAD, Outcome, PostedEvent};

/// Pieces that wait between two threads.
const WAITING: usize = 2;

/// A piece whose duplicates are known.
struct Gated {
    decoded: Decoded,
    /// Their rows by number, in order.
    duplicates: Vec<u32>,
}

/// A piece that has been stepped over.
struct Stepped {
    /// The piece itself; none at the end of the input.
    piece: Option<Arc<Gated>>,
    effects: Tagged,
    told: Told,
    /// Members by hash, and points of accepted issues.
    issued: Vec<(u64, i64)>,
    about: About,
}

/// What the end of the line needs to know of a piece.
#[derive(Debug, Default)]
pub(crate) struct About {
    bytes: u64,
    /// Number of its first record.
    pub(crate) first: i64,
    /// Where its records stand, where that is not said by their numbers.
    pub(crate) places: Vec<RecordAt>,
    /// The record that moved the watermark last, by its place in the piece.
    pub(crate) mover: Option<u32>,
    is_end: bool,
}

/// A piece that both halves are done with.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) own: Tagged,
    pub(crate) shared: Tagged,
    pub(crate) issued: Vec<(u64, i64)>,
    pub(crate) about: About,
}

/// Runs all folds over one reading of the input; see [`crate::backtest::run_all`].
pub(crate) fn run(
    folds: &mut [&mut Backtest],
    source: impl Source,
    sink: &mut dyn FnMut(usize, &Effect) -> io::Result<()>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    run_in(decoders(), folds, source, sink, progress)
}

/// The same with so many threads that decode.
fn run_in(
    decoders: usize,
    folds: &mut [&mut Backtest],
    mut source: impl Source,
    sink: &mut dyn FnMut(usize, &Effect) -> io::Result<()>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let Some(first) = folds.first() else { return Ok(()) };
    let (decoding, gate) = (first.decoding.clone(), first.gate.clone());
    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut results: Vec<(&mut Results, Receiver<Done>)> = Vec::new();
        let mut steppers = Vec::new();
        for fold in folds.iter_mut() {
            let Backtest { own, shared, results: of_fold, .. } = &mut **fold;
            let (gated, pieces) = sync_channel(WAITING);
            steppers.push(gated);
            let (stepped, posts) = sync_channel(WAITING);
            let (done, finished) = sync_channel(WAITING);
            let failed = &failed;
            scope.spawn(move || own_half(own, &pieces, failed, &stepped));
            scope.spawn(move || shared_half(shared, &posts, &done));
            results.push((of_fold, finished));
        }
        let mut gating = Gating { gate, folds: steppers };
        let mut take: Box<dyn FnMut(Chunk) -> bool + Send> = if decoders <= 1 {
            let mut decoding = decoding.clone();
            Box::new(move |chunk| gating.pass(decoding.decode(chunk)))
        } else {
            let (mut readers, mut decoded) = (Vec::new(), Vec::new());
            for _ in 0..decoders {
                let (read, chunks) = sync_channel(WAITING);
                let (to, pieces) = sync_channel(WAITING);
                let mut decoding = decoding.clone();
                scope.spawn(move || decode(&mut decoding, &chunks, &to));
                readers.push(read);
                decoded.push(pieces);
            }
            scope.spawn(move || look_for_duplicates(&mut gating, &decoded));
            // Piece k goes to decoder k modulo their number.
            let mut next = (0..readers.len()).cycle();
            Box::new(move |chunk| {
                let reader = next.next().and_then(|next| readers.get(next));
                reader.is_some_and(|reader| reader.send(chunk).is_ok())
            })
        };
        let failed = &failed;
        let reading = scope.spawn(move || {
            let read = read(&mut source, &mut *take);
            // Before the queues close, which is taken for the end of the input.
            failed.store(read.is_err(), Ordering::SeqCst);
            drop(take);
            read
        });
        let written = hand_out(results, sink, progress);
        let read = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        written.and(read)
    })
}

/// Decoding costs a third of stepping at most.
fn decoders() -> usize {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).clamp(1, 4)
}

/// Reads to the end, or until nobody wants more.
fn read(source: &mut impl Source, take: &mut dyn FnMut(Chunk) -> bool) -> io::Result<()> {
    while let Some(chunk) = source.next()? {
        if !take(chunk) {
            break;
        }
    }
    Ok(())
}

fn decode(decoding: &mut Decoding, chunks: &Receiver<Chunk>, to: &SyncSender<Decoded>) {
    for chunk in chunks {
        if to.send(decoding.decode(chunk)).is_err() {
            return;
        }
    }
}

fn look_for_duplicates(gating: &mut Gating, decoders: &[Receiver<Decoded>]) {
    // The first piece that does not come is behind the last one.
    for decoder in decoders.iter().cycle() {
        let Ok(decoded) = decoder.recv() else { return };
        if !gating.pass(decoded) {
            return;
        }
    }
}

/// Looks for duplicates on the way to the folds.
struct Gating {
    gate: Gate,
    folds: Vec<SyncSender<Arc<Gated>>>,
}

impl Gating {
    /// False when nobody wants more.
    fn pass(&mut self, decoded: Decoded) -> bool {
        let duplicates = decoded.with_dependent(|_, rows| duplicates(&mut self.gate, rows));
        let piece = Arc::new(Gated { decoded, duplicates });
        self.folds.iter().all(|fold| fold.send(piece.clone()).is_ok())
    }
}

/// The numbers of rows whose events have come before.
fn duplicates(gate: &mut Gate, rows: &Rows<'_>) -> Vec<u32> {
    let mut duplicates = Vec::new();
    for some in rows.rows.chunks(LOOK_AHEAD) {
        let hashed = some.iter().filter_map(|row| row.event.as_ref().ok());
        hashed.for_each(|hashed| gate.foresee(&hashed.hashes));
        for row in some {
            if let Ok(Hashed { event, hashes }) = &row.event
                && gate.has_come(event, hashes, row.record_ts)
            {
                duplicates.push(row.number);
            }
        }
    }
    duplicates
}

fn own_half(
    own: &mut Own,
    pieces: &Receiver<Arc<Gated>>,
    failed: &AtomicBool,
    to: &SyncSender<Stepped>,
) {
    let mut next = 0;
    for piece in pieces {
        let numbers = piece.decoded.with_dependent(|_, rows| i64::from(rows.numbers));
        let stepped = step_over(own, piece, next);
        next += numbers;
        if to.send(stepped).is_err() {
            return;
        }
    }
    if failed.load(Ordering::SeqCst) {
        return;
    }
    own.end();
    let (effects, told) = own.take();
    let about = About { is_end: true, first: next, ..About::default() };
    // Nobody may be there to take it; they know why.
    drop(to.send(Stepped { piece: None, effects, told, issued: Vec::new(), about }));
}

/// Steps over a piece whose first record has the number `first`.
fn step_over(own: &mut Own, piece: Arc<Gated>, first: i64) -> Stepped {
    let Gated { decoded, duplicates } = &*piece;
    let mut duplicates = duplicates.iter().peekable();
    let places = match &decoded.borrow_owner().form {
        Form::Lines => Vec::new(),
        Form::Records(records) => records.clone(),
    };
    let bytes = decoded.borrow_owner().text.len() as u64;
    let mut about = About { bytes, first, places, mover: None, is_end: false };
    let mut issued = Vec::new();
    decoded.with_dependent(|_, rows| {
        issued.reserve_exact(rows.rows.len());
        let batches: Vec<&[Row<'_>]> = rows.rows.chunks(LOOK_AHEAD).collect();
        let batch = |at: usize| batches.get(at).copied().unwrap_or_default();
        let events = |at: usize| batch(at).iter().filter_map(|row| row.posted(first));
        // Each of these asks for what the one before it has brought, a batch of steps later.
        own.foresee(events(0));
        own.look_at_keys();
        own.foresee(events(1));
        for (at, some) in batches.iter().enumerate() {
            own.look_at_cells();
            own.look_at_keys();
            own.foresee(events(at + 2));
            batch(at + 3).iter().for_each(Row::near);
            for row in *some {
                let before = own.state.watermark();
                let event = row.event.as_ref();
                let outcome = own.step(Step {
                    record: match event {
                        Ok(_) if duplicates.next_if_eq(&&row.number).is_some() => Record::Duplicate,
                        Ok(hashed) => Record::Event(&hashed.event),
                        Err(reason) => Record::Rejected(*reason),
                    },
                    number: first + i64::from(row.number),
                    record_ts: row.record_ts,
                    tag: row.number,
                });
                if own.state.watermark() != before {
                    about.mover = Some(row.number);
                }
                if let (Outcome::Accepted, Ok(hashed)) = (outcome, event) {
                    issued.extend(Issued::of(&hashed.event, &hashed.hashes));
                }
            }
        }
    });
    let (effects, told) = own.take();
    Stepped { piece: Some(piece), effects, told, issued, about }
}

/// The events of a piece whose first record has the number `first`.
struct Piece<'a, 'e> {
    rows: Option<&'a Rows<'e>>,
    first: i64,
}

impl<'e> Events<'e> for Piece<'_, 'e> {
    #[inline]
    fn event(&self, tag: u32) -> Option<PostedEvent<'_, 'e>> {
        self.rows?.of_number(tag)?.posted(self.first)
    }

    #[inline]
    fn near(&self, tag: u32) {
        // Where no line is blank, that is its place.
        let row = self.rows.and_then(|rows| rows.rows.get(tag as usize));
        row.into_iter().for_each(Row::near);
    }
}

fn shared_half(shared: &mut Shared, from: &Receiver<Stepped>, to: &SyncSender<Done>) {
    for Stepped { piece, effects, told, issued, about } in from {
        let first = about.first;
        let mut merged = match piece {
            Some(piece) => piece
                .decoded
                .with_dependent(|_, rows| shared.merge(&told, &Piece { rows: Some(rows), first })),
            None => shared.merge(&told, &Piece { rows: None, first }),
        };
        if about.is_end {
            merged.extend(shared.end());
        }
        if to.send(Done { own: effects, shared: merged, issued, about }).is_err() {
            return;
        }
    }
}

/// Hands out what the folds come to, piece by piece.
fn hand_out(
    mut folds: Vec<(&mut Results, Receiver<Done>)>,
    sink: &mut dyn FnMut(usize, &Effect) -> io::Result<()>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    loop {
        for (at, (results, finished)) in folds.iter_mut().enumerate() {
            let Ok(done) = finished.recv() else { return Ok(()) };
            if at == 0 {
                progress(done.about.bytes);
            }
            results.take_piece(done, &mut |effect| sink(at, effect))?;
        }
    }
}

#[cfg(test)]
mod tests;
