//! E-mail over SMTP: STARTTLS, TLS or plain, with authentication, text and HTML parts (N1).
//!
//! `starttls` refuses a server that does not offer it, rather than fall back to plain text.

use std::time::Duration;

use lettre::message::{Mailbox, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message as Mail, Tokio1Executor};
use url::Url;

use crate::notify::receivers::{EmailSettings, TlsMode};
use crate::notify::text::Message;
use crate::notify::transport::SendError;

pub(in crate::notify) struct Email {
    from: Mailbox,
    to: Vec<Mailbox>,
    server: AsyncSmtpTransport<Tokio1Executor>,
}

/// The server's settings carry the password and stay hidden.
impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Email").field("to", &self.to.len()).finish_non_exhaustive()
    }
}

impl Email {
    pub(super) fn new(settings: &EmailSettings, timeout: Duration) -> Result<Email, String> {
        // The faults of an address that holds a password are told without the address.
        let url = Url::parse(settings.smtp.expose()).map_err(|error| format!("smtp: {error}"))?;
        let host = url.host_str().ok_or("smtp: the address has no host")?;
        let port = url.port().unwrap_or(match settings.tls {
            TlsMode::None => 25,
            TlsMode::Starttls => 587,
            TlsMode::Tls => 465,
        });
        let tls = match settings.tls {
            TlsMode::None => Tls::None,
            TlsMode::Starttls => Tls::Required(trust(settings, host)?),
            TlsMode::Tls => Tls::Wrapper(trust(settings, host)?),
        };
        let mut server = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .timeout(Some(timeout));
        if !url.username().is_empty() {
            let user = decoded(url.username());
            let password = decoded(url.password().unwrap_or_default());
            server = server.credentials(Credentials::new(user, password));
        }
        Ok(Email {
            from: mailbox(&settings.from)?,
            to: settings.to.iter().map(|to| mailbox(to)).collect::<Result<_, _>>()?,
            server: server.build(),
        })
    }

    pub(super) async fn send(&self, message: &Message, id: &str) -> Result<(), SendError> {
        let mail = mail(&self.from, &self.to, message, id)?;
        match self.server.send(mail).await {
            Ok(_) => Ok(()),
            // Even a permanent answer is tried again: servers say 550 while their lists reload.
            Err(error) => Err(SendError::passing(error.to_string())),
        }
    }
}

/// The mail as it is sent. `id` is that of the notice: servers that know it drop a repeat.
pub(super) fn mail(
    from: &Mailbox,
    to: &[Mailbox],
    message: &Message,
    id: &str,
) -> Result<Mail, SendError> {
    let id = format!("<{id}@{}>", from.email.domain());
    let mut mail =
        Mail::builder().from(from.clone()).subject(message.subject.clone()).message_id(Some(id));
    for to in to {
        mail = mail.to(to.clone());
    }
    mail.multipart(MultiPart::alternative_plain_html(message.text.clone(), message.html.clone()))
        .map_err(|error| SendError::lasting(error.to_string()))
}

fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|error| format!("`{text}` is not an address: {error}"))
}

fn trust(settings: &EmailSettings, host: &str) -> Result<TlsParameters, String> {
    let mut tls = TlsParameters::builder(host.to_owned());
    if let Some(path) = &settings.ca {
        let pem = std::fs::read(path)
            .map_err(|error| format!("cannot read ca {}: {error}", path.display()))?;
        let ca = Certificate::from_pem(&pem)
            .map_err(|error| format!("ca {}: {error}", path.display()))?;
        tls = tls.add_root_certificate(ca);
    }
    tls.build_rustls().map_err(|error| error.to_string())
}

/// Undoes percent-encoding, which user names with `@` and most passwords need in an address.
fn decoded(text: &str) -> String {
    // Reading as a form turns `%XX` back; a `+` would become a space, hence the detour.
    let plus_kept = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    url::form_urlencoded::parse(plus_kept.as_bytes())
        .next()
        .map_or_else(String::new, |(decoded, _)| decoded.into_owned())
}
