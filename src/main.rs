//! Arguments to configuration to one call to exit code.

#[cfg(not(target_env = "msvc"))]
mod memory;

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::cli::main()
}
