//! Folds in threads: pieces of the input go through stages, in order. The first reads a piece, decodes
//! it and looks for duplicates; of each fold one steps over its events and one owns the keys that
//! cross partitions; the last hands out what they come to, in the caller's thread.
//!
//! Who does what is settled in [`stages`]. Nothing depends on it, nor on how fast anybody is: the two
//! halves of a fold see what they would see in one thread. What is under way is bounded.

use std::io;
use std::sync::Arc;
use std::thread;

use crate::backtest::chunk::{Decoded, Decoding, Form, Hashed, RecordAt, Row, Rows, Source};
use crate::backtest::fold::Backtest;
use crate::backtest::halves::{Own, Record, Shared, Step, Tagged, Told};
use crate::backtest::pipeline::stages::{Line, Stages};
use crate::backtest::results::Results;
use crate::backtest::tally::Issued;
use crate::engine::{Effect, Events, Gate, LOOK_AHEAD, Outcome, PostedEvent};

mod stages;

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
    let cores = thread::available_parallelism().map_or(1, usize::from);
    run_in(cores, folds, source, sink, progress)
}

/// The same in so many threads at most.
fn run_in(
    threads: usize,
    folds: &mut [&mut Backtest],
    source: impl Source,
    sink: &mut dyn FnMut(usize, &Effect) -> io::Result<()>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let Some(first) = folds.first() else { return Ok(()) };
    let intake = Intake { source, decoding: first.decoding.clone(), gate: first.gate.clone() };
    let (mut lines, mut results) = (Vec::new(), Vec::<&mut Results>::new());
    for fold in folds.iter_mut() {
        let Backtest { own, shared, results: of_fold, .. } = &mut **fold;
        lines.push(Line::new(OwnHalf { own, next: 0 }, shared));
        results.push(of_fold);
    }
    // Each of the stages may be at work.
    let others = threads.min(2 * lines.len() + 2) - 1;
    let stages = Stages::new(intake, lines);
    thread::scope(|scope| {
        for _ in 0..others {
            scope.spawn(|| stages.work());
        }
        stages.work_and_hand_out(others == 0, &mut |folds| {
            progress(folds.first().map_or(0, |done| done.about.bytes));
            let mut folds = results.iter_mut().zip(folds).enumerate();
            folds.try_for_each(|(at, (results, done))| {
                results.take_piece(done, &mut |effect| sink(at, effect))
            })
        })
    })
}

/// Reads, decodes, and looks for duplicates.
struct Intake<S> {
    source: S,
    decoding: Decoding,
    gate: Gate,
}

impl<S: Source> Intake<S> {
    /// `None` at the end of the input.
    fn next(&mut self) -> io::Result<Option<Arc<Gated>>> {
        let Some(chunk) = self.source.next()? else { return Ok(None) };
        let decoded = self.decoding.decode(chunk);
        let duplicates = decoded.with_dependent(|_, rows| duplicates(&mut self.gate, rows));
        Ok(Some(Arc::new(Gated { decoded, duplicates })))
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

/// The half of a fold that sees events.
struct OwnHalf<'a> {
    own: &'a mut Own,
    /// Number of the next record.
    next: i64,
}

impl OwnHalf<'_> {
    /// Steps over a piece; none is the end of the input.
    fn step(&mut self, piece: Option<Arc<Gated>>) -> Stepped {
        let first = self.next;
        if let Some(piece) = piece {
            self.next += piece.decoded.with_dependent(|_, rows| i64::from(rows.numbers));
            return step_over(self.own, piece, first);
        }
        self.own.end();
        let (effects, told) = self.own.take();
        let about = About { first, ..About::default() };
        Stepped { piece: None, effects, told, issued: Vec::new(), about }
    }
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
    let mut about = About { bytes, first, places, mover: None };
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

/// Merges what the other half has to tell of a piece.
fn merge(shared: &mut Shared, stepped: Stepped) -> Done {
    let Stepped { piece, effects, told, issued, about } = stepped;
    let first = about.first;
    let merged = if let Some(piece) = piece {
        let decoded = &piece.decoded;
        decoded.with_dependent(|_, rows| shared.merge(&told, &Piece { rows: Some(rows), first }))
    } else {
        let mut merged = shared.merge(&told, &Piece { rows: None, first });
        merged.extend(shared.end());
        merged
    };
    Done { own: effects, shared: merged, issued, about }
}

#[cfg(test)]
mod tests;
