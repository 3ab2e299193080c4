//! The same fold as `run`, over a file of events (contract C2). Touches no live state.

pub mod cases;
pub mod diff;
mod findings;
mod fold;
mod input;
mod summary;
mod tally;

pub use findings::Names;
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
    reader: impl BufRead,
    sink: &mut dyn FnMut(&Effect) -> io::Result<()>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<Summary> {
    run_all(&mut [backtest], reader, &mut |_, effect| sink(effect), progress)?;
    Ok(backtest.summary())
}

/// As [`run`], for several folds of one configuration over one reading of the input; `sink` is
/// told by its place which fold an effect is of.
///
/// # Errors
/// What `reader` or `sink` fail with.
pub fn run_all(
    folds: &mut [&mut Backtest],
    mut reader: impl BufRead,
    sink: &mut dyn FnMut(usize, &Effect) -> io::Result<()>,
    progress: &mut dyn FnMut(u64),
) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        progress(read as u64);
        let line = line.trim_ascii();
        let decoded = folds.first().filter(|_| !line.is_empty()).map(|fold| fold.decode(line));
        for (at, fold) in folds.iter_mut().enumerate() {
            match &decoded {
                Some(decoded) => fold.fold(decoded.as_ref()),
                None => fold.pass(),
            }
            fold.take(&mut |effect| sink(at, effect))?;
        }
    }
    for (at, fold) in folds.iter_mut().enumerate() {
        fold.end();
        fold.take(&mut |effect| sink(at, effect))?;
    }
    Ok(())
}
