//! Arguments to configuration to one call to exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::cli::main()
}
