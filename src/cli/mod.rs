//! Arguments to one call per command; no logic of its own.

pub mod rules;

use std::process::ExitCode;

/// Runs the command line of this process; the exit status is that of contract C1.
pub fn main() -> ExitCode {
    ExitCode::from(2)
}
