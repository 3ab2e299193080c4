//! What people put in force: rule files and lists, from disk.

mod disk;

pub use disk::{LoadError, list_path, read_all, read_rules, rule_files};
