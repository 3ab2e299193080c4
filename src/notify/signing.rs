//! Links that acknowledge: signed, so that whoever was told can follow one without a token (N3).

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::receivers::Secret;
use super::settings::NotifySettings;

/// A link works for a day.
const LASTS_MS: i64 = 24 * 3_600_000;

/// Makes and checks links that acknowledge.
#[derive(Debug, Clone)]
pub struct Signer {
    secret: Secret,
}

/// What a link says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    pub group: String,
    /// What was told by then is acknowledged; milliseconds since the epoch.
    pub through: i64,
    /// The link works until then.
    pub until: i64,
}

impl Signer {
    pub fn new(secret: Secret) -> Signer {
        Signer { secret }
    }

    pub(super) fn of(settings: &NotifySettings) -> Option<Signer> {
        settings.secret.clone().map(Signer::new)
    }

    /// Path and query of a link for what a group has told by `now`.
    pub fn path(&self, group: &str, now: i64) -> String {
        let until = now.saturating_add(LASTS_MS);
        let signed = Signed { group: group.to_owned(), through: now, until };
        let signature = self.mac(&signed).map(|mac| mac.finalize().into_bytes());
        let bytes = signature.iter().flatten();
        let signature = bytes.map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
        format!("/acknowledge?group={group}&through={now}&until={until}&signature={signature}")
    }

    /// Whether the link is ours and still works; takes the same time for every wrong one.
    pub fn admits(&self, signed: &Signed, signature: &str, now: i64) -> bool {
        let bytes: Option<Vec<u8>> = signature
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
            .collect();
        let is_ours = self
            .mac(signed)
            .is_some_and(|mac| mac.verify_slice(&bytes.unwrap_or_default()).is_ok());
        is_ours && now < signed.until
    }

    /// HMAC takes keys of any length, so that there always is one.
    fn mac(&self, signed: &Signed) -> Option<Hmac<Sha256>> {
        let Signed { group, through, until } = signed;
        let mut mac = Hmac::<Sha256>::new_from_slice(self.secret.expose().as_bytes()).ok()?;
        mac.update(format!("tidegate acknowledge\n{group}\n{through}\n{until}").as_bytes());
        Some(mac)
    }
}

#[cfg(test)]
mod tests;
