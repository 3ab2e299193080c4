//! Events per second of the engine by rule mix and number of users.
fn main() {}
