//! The folder in which everything lies that people and programs were told.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::Serialize;

/// What has been delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    pub mails: u64,
    pub sms: u64,
    pub webhooks: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Mail,
    Sms,
    Webhook,
}

/// Numbered files; none that was there before is overwritten.
#[derive(Debug)]
pub(super) struct Outbox {
    folder: PathBuf,
    delivered: Mutex<Delivered>,
}

impl Outbox {
    /// # Errors
    /// When the folder cannot be made.
    pub(super) fn open(folder: &Path) -> std::io::Result<Outbox> {
        std::fs::create_dir_all(folder)?;
        Ok(Outbox { folder: folder.to_owned(), delivered: Mutex::default() })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn delivered(&self) -> Delivered {
        *self.delivered.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Small files on a local disk: written in place, without a thread of their own.
    pub(super) fn put(&self, kind: Kind, bytes: &[u8]) -> std::io::Result<()> {
        let mut delivered =
            self.delivered.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let (count, name, ending) = match kind {
            Kind::Mail => (&mut delivered.mails, "mail", "eml"),
            Kind::Sms => (&mut delivered.sms, "sms", "json"),
            Kind::Webhook => (&mut delivered.webhooks, "webhook", "json"),
        };
        let mut file = fresh(&self.folder, name, *count + 1, ending)?;
        file.write_all(bytes)?;
        *count += 1;
        Ok(())
    }
}

/// The first file from `number` on that is not there yet.
fn fresh(folder: &Path, name: &str, mut number: u64, ending: &str) -> std::io::Result<File> {
    loop {
        match File::create_new(folder.join(format!("{name}-{number:04}.{ending}"))) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kind, Outbox};

    #[test]
    fn nothing_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        for text in ["a", "b"] {
            let outbox = Outbox::open(folder.path()).unwrap();
            outbox.put(Kind::Mail, text.as_bytes()).unwrap();
            assert_eq!(outbox.delivered().mails, 1);
        }
        assert_eq!([read("mail-0001.eml"), read("mail-0002.eml")], ["a", "b"]);
    }
}
