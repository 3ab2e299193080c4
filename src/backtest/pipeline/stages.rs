//! Who does what of a pipeline: a thread that is free takes what is to be done next, of whatever
//! stage, so that no core waits as long as there is something to do, and nobody has to be woken for
//! each piece.
//!
//! At a stage there is one thread at a time and pieces pass it in order, so that what comes of it
//! is what would come of one thread.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::backtest::chunk::Source;
use crate::backtest::halves::Shared;
use crate::backtest::pipeline::{Done, Gated, Intake, OwnHalf, Stepped, merge};

/// Pieces that are under way at a time: some for each stage, so that an uneven one holds nobody up.
const UNDER_WAY_MAX: usize = 8;

/// The stages of some folds over one input, for all threads that work at them.
pub(super) struct Stages<'a, S> {
    board: Mutex<Board<'a, S>>,
    /// There is more to do, or nothing any more.
    changed: Condvar,
    /// Input may be long in coming.
    may_wait: bool,
}

struct Board<'a, S> {
    /// None while a thread is at it, and behind the end of the input.
    intake: Option<Box<Intake<S>>>,
    has_ended: bool,
    lines: Vec<Line<'a>>,
    /// Pieces that have not been handed out, the end among them.
    under_way: usize,
    /// Threads that wait.
    waiting: usize,
    /// Nobody wants more.
    is_over: bool,
    /// What came of reading.
    read: io::Result<()>,
}

/// The stages of one fold.
pub(super) struct Line<'a> {
    own: Stage<OwnHalf<'a>, Option<Arc<Gated>>>,
    shared: Stage<&'a mut Shared, Box<Stepped>>,
    done: VecDeque<Done>,
}

impl<'a> Line<'a> {
    pub(super) fn new(own: OwnHalf<'a>, shared: &'a mut Shared) -> Line<'a> {
        Line { own: Stage::new(own), shared: Stage::new(shared), done: VecDeque::new() }
    }
}

struct Stage<W, T> {
    /// Who does it; none while a thread is at it.
    by: Option<W>,
    waiting: VecDeque<T>,
}

impl<W, T> Stage<W, T> {
    fn new(by: W) -> Stage<W, T> {
        Stage { by: Some(by), waiting: VecDeque::new() }
    }

    fn is_ready(&self) -> bool {
        self.by.is_some() && !self.waiting.is_empty()
    }

    fn take(&mut self) -> Option<(W, T)> {
        if !self.is_ready() {
            return None;
        }
        self.by.take().zip(self.waiting.pop_front())
    }
}

/// Something to do, with who does it; of a fold by its number.
enum Job<'a, S> {
    Read(Box<Intake<S>>),
    Own(usize, OwnHalf<'a>, Option<Arc<Gated>>),
    Shared(usize, &'a mut Shared, Box<Stepped>),
    /// Of all folds what has come of a piece.
    HandOut(Vec<Done>),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Read,
    Own,
    Shared,
    HandOut,
}

/// What the caller's thread takes first: what is at the end of the line.
const CALLER: &[Kind] = &[Kind::HandOut, Kind::Shared, Kind::Own, Kind::Read];
/// What others take first: what takes longest.
const OTHERS: &[Kind] = &[Kind::Own, Kind::Read, Kind::Shared];

/// The same where input may be long in coming: the caller does not wait for it, so that what there is
/// is handed out meanwhile.
const CALLER_OF_SLOW: &[Kind] = &[Kind::HandOut, Kind::Own, Kind::Shared];
const OTHERS_OF_SLOW: &[Kind] = &[Kind::Read, Kind::Shared, Kind::Own];

impl<'a, S> Board<'a, S> {
    fn is_ready(&self, kind: Kind) -> bool {
        match kind {
            Kind::Read => self.intake.is_some() && self.under_way < UNDER_WAY_MAX,
            Kind::Own => self.lines.iter().any(|line| line.own.is_ready()),
            Kind::Shared => self.lines.iter().any(|line| line.shared.is_ready()),
            Kind::HandOut => self.lines.iter().all(|line| !line.done.is_empty()),
        }
    }

    /// Takes the first of these that there is to do.
    fn take(&mut self, first: &[Kind]) -> Option<Job<'a, S>> {
        let kind = first.iter().find(|kind| self.is_ready(**kind))?;
        let mut lines = self.lines.iter_mut().enumerate();
        match kind {
            Kind::Read => self.intake.take().map(Job::Read),
            Kind::Own => lines.find_map(|(at, line)| {
                let (own, piece) = line.own.take()?;
                Some(Job::Own(at, own, piece))
            }),
            Kind::Shared => lines.find_map(|(at, line)| {
                let (shared, stepped) = line.shared.take()?;
                Some(Job::Shared(at, shared, stepped))
            }),
            Kind::HandOut => {
                Some(Job::HandOut(lines.filter_map(|(_, line)| line.done.pop_front()).collect()))
            }
        }
    }

    /// What reading has brought goes on to the folds.
    fn has_read(&mut self, intake: Box<Intake<S>>, read: io::Result<Option<Arc<Gated>>>) {
        let piece = read.unwrap_or_else(|error| {
            self.read = Err(error);
            None
        });
        if piece.is_some() {
            self.intake = Some(intake);
        } else {
            self.has_ended = true;
        }
        // Of an input that cannot be read nobody knows the end.
        if self.read.is_ok() {
            self.under_way += 1;
            self.lines.iter_mut().for_each(|line| line.own.waiting.push_back(piece.clone()));
        }
    }
}

impl<'a, S: Source> Stages<'a, S> {
    pub(super) fn new(intake: Intake<S>, lines: Vec<Line<'a>>) -> Stages<'a, S> {
        let may_wait = intake.source.may_wait();
        let board = Board {
            intake: Some(Box::new(intake)),
            has_ended: false,
            lines,
            under_way: 0,
            waiting: 0,
            is_over: false,
            read: Ok(()),
        };
        Stages { board: Mutex::new(board), changed: Condvar::new(), may_wait }
    }

    /// Does what there is to do, but for handing out, until nobody wants more.
    pub(super) fn work(&self) {
        // Nothing is handed out here, so that nothing fails.
        let first = if self.may_wait { OTHERS_OF_SLOW } else { OTHERS };
        drop(self.work_at(first, &mut |_| Ok(())));
    }

    /// Does what there is to do to the end of the input, and hands out what has come of pieces, of
    /// each what has come of it in each fold. `is_alone`: nobody else works.
    ///
    /// # Errors
    /// What the input or `hand_out` fails with.
    pub(super) fn work_and_hand_out(
        &self,
        is_alone: bool,
        hand_out: &mut dyn FnMut(Vec<Done>) -> io::Result<()>,
    ) -> io::Result<()> {
        let first = if self.may_wait && !is_alone { CALLER_OF_SLOW } else { CALLER };
        self.work_at(first, hand_out)?;
        std::mem::replace(&mut self.lock().read, Ok(()))
    }

    fn work_at(
        &self,
        first: &[Kind],
        hand_out: &mut dyn FnMut(Vec<Done>) -> io::Result<()>,
    ) -> io::Result<()> {
        let _leaving = Leaving(self);
        let mut board = self.lock();
        while let Some(job) = self.next(board, first) {
            board = match job {
                Job::Read(mut intake) => {
                    let read = intake.next();
                    let mut board = self.lock();
                    board.has_read(intake, read);
                    board
                }
                Job::Own(at, mut own, piece) => {
                    let stepped = own.step(piece);
                    let mut board = self.lock();
                    let line = &mut board.lines[at];
                    line.own.by = Some(own);
                    line.shared.waiting.push_back(Box::new(stepped));
                    board
                }
                Job::Shared(at, shared, stepped) => {
                    let done = merge(shared, *stepped);
                    let mut board = self.lock();
                    let line = &mut board.lines[at];
                    line.shared.by = Some(shared);
                    line.done.push_back(done);
                    board
                }
                Job::HandOut(done) => {
                    hand_out(done)?;
                    let mut board = self.lock();
                    board.under_way -= 1;
                    board
                }
            };
        }
        Ok(())
    }

    /// What is to be done next, for which it waits; `None` when there will be nothing more.
    fn next<'b>(
        &'b self,
        mut board: MutexGuard<'b, Board<'a, S>>,
        first: &[Kind],
    ) -> Option<Job<'a, S>> {
        let mut has_told = false;
        loop {
            board.is_over |= board.has_ended && board.under_way == 0;
            if board.is_over {
                return None;
            }
            let job = board.take(first);
            if !has_told && board.waiting > 0 && CALLER.iter().any(|kind| board.is_ready(*kind)) {
                self.changed.notify_all();
            }
            if job.is_some() {
                return job;
            }
            has_told = true;
            board.waiting += 1;
            board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
            board.waiting -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Board<'a, S>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A thread that leaves does so because all is over, one way or another.
struct Leaving<'b, 'a, S: Source>(&'b Stages<'a, S>);

impl<S: Source> Drop for Leaving<'_, '_, S> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.changed.notify_all();
    }
}
