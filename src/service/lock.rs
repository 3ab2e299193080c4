//! One process per instance name on a machine (K1).
//!
//! Two of one name would take each other's place in the group for ever. A lock on a file is
//! given back by the system whatever ends the process. Two machines with one name are told
//! apart by Kafka, which fences the one that came first.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::PathBuf;

use xxhash_rust::xxh3::xxh3_64;

/// Held as long as the instance runs.
#[derive(Debug)]
pub struct InstanceLock {
    // Held for its drop, which gives the lock back.
    _file: File,
}

/// Why the name cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "another instance named `{instance}` of group `{group}` runs on this machine (lock {path}); stop it, or give this one its own `kafka.instance`"
    )]
    Taken { instance: String, group: String, path: PathBuf },
    #[error("cannot lock {path}: {error}")]
    Unusable { path: PathBuf, error: std::io::Error },
}

impl InstanceLock {
    /// Takes the name of an instance in a group of a cluster.
    ///
    /// # Errors
    /// [`LockError::Taken`] while another process holds it.
    pub fn take(brokers: &str, group: &str, instance: &str) -> Result<InstanceLock, LockError> {
        let name = xxh3_64(format!("{brokers}\n{group}\n{instance}").as_bytes());
        let path = std::env::temp_dir().join(format!("tidegate-{name:016x}.lock"));
        let unusable = |error| LockError::Unusable { path: path.clone(), error };
        let mut options = File::options();
        let mut file =
            options.create(true).truncate(false).write(true).open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let (instance, group) = (instance.to_owned(), group.to_owned());
                return Err(LockError::Taken { instance, group, path });
            }
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        // For people who wonder what the file is; nobody reads it.
        let about = format!("tidegate {group}/{instance}, process {}\n", std::process::id());
        file.set_len(0).and_then(|()| file.write_all(about.as_bytes())).map_err(unusable)?;
        Ok(InstanceLock { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::{InstanceLock, LockError};

    #[test]
    fn a_name_is_had_once_at_a_time() {
        let take = |instance: &str| InstanceLock::take("127.0.0.1:1", "lock-test", instance);
        let first = take("a").unwrap();
        assert!(matches!(take("a"), Err(LockError::Taken { .. })));
        assert!(take("b").is_ok());
        drop(first);
        assert!(take("a").is_ok());
    }
}
