//! The same fold as `run`, over a file of events (contract C2). Touches no live state.

pub mod cases;
mod chunk;
pub mod diff;
mod findings;
mod fold;
mod halves;
mod input;
mod pipeline;
pub mod report;
mod results;
pub mod shadow;
mod summary;
mod tally;
mod targets;
mod text;
mod timeline;
mod topic;

pub use findings::Names;
pub use fold::{Asked, Backtest, Explained};
pub use input::{Opened, open};
pub use summary::{Fired, Summary};
pub use targets::{Targets, TopTarget};

use std::io::{self, Read};

use crate::backtest::chunk::Lines;
use crate::backtest::topic::Topic;
use crate::engine::Effect;
use crate::stream::kafka::History;

/// Feeds every line of `reader` to the fold, then ends the input; `sink` sees each effect in
/// order. `progress` hears how many bytes have been read. Works in several threads, and comes to
/// what [`Backtest::feed`] comes to line by line.
///
/// # Errors
/// What `reader` or `sink` fail with.
pub fn run(
    backtest: &mut Backtest,
    reader: impl Read + Send,
    sink: &mut dyn FnMut(&Effect) -> io::Result<()>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Summary> {
    run_all(&mut [backtest], reader, &mut |_, effect| sink(effect), progress)?;
    Ok(backtest.summary())
}

/// As [`run`], for several folds of one configuration over one reading of the input; `sink` is
/// told by its place which fold an effect is of. The effects of each are in order.
///
/// # Errors
/// What `reader` or `sink` fail with.
pub fn run_all(
    folds: &mut [&mut Backtest],
    reader: impl Read + Send,
    sink: &mut dyn FnMut(usize, &Effect) -> io::Result<()>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    pipeline::run(folds, Lines::new(reader, true), sink, progress)
}

/// As [`run_all`], over a file: all threads may read, where no input has to be waited for.
///
/// # Errors
/// When the file cannot be read, and what `sink` fails with.
pub fn run_file(
    folds: &mut [&mut Backtest],
    file: Opened,
    sink: &mut dyn FnMut(usize, &Effect) -> io::Result<()>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let may_wait = file.may_wait;
    pipeline::run(folds, Lines::new(file, may_wait), sink, progress)
}

/// As [`run_all`], over a stretch of a topic: its records are one sequence. A trigger's partition
/// and offset are those of its record. `progress` hears of bytes of values.
///
/// # Errors
/// When the topic cannot be read, and what `sink` fails with.
pub fn run_topic(
    folds: &mut [&mut Backtest],
    history: History,
    sink: &mut dyn FnMut(usize, &Effect) -> io::Result<()>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    pipeline::run(folds, Topic(history), sink, progress)
}
