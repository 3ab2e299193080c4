//! What people put in force: rule files and lists, from disk; and what their changes would do.

mod backlog;
mod disk;
mod held;
mod silences;

pub use backlog::{Backlog, HeldFreeze};
pub use disk::{
    LoadError, RuleTexts, RulesOnDisk, list_path, read_all, read_published, read_rules,
    read_with_texts, rule_files,
};
pub use held::{Accounts, Origins};
pub use silences::silence_until;
