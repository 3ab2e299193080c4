//! The same fold as `run`, over a file of events (contract C2). Touches no live state.

pub mod cases;
mod fold;
mod input;
mod summary;

pub use fold::{Asked, Backtest, Explained};
pub use input::open;
pub use summary::{Fired, Summary};

use std::io::{self, BufRead};

use crate::engine::Effect;

/// Feeds every line of `reader` to the fold, then ends the input; `sink` sees each effect in
/// order. `progress` hears of every line's length in bytes.
///
/// # Errors
/// What `reader` or `sink` fail with.
pub fn run(
    backtest: &mut Backtest,
    mut reader: impl BufRead,
    sink: &mut dyn FnMut(&Effect) -> io::Result<()>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Summary> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        progress(read as u64);
        backtest.feed(line.trim_ascii());
        backtest.take(sink)?;
    }
    backtest.end();
    backtest.take(sink)?;
    Ok(backtest.summary())
}
