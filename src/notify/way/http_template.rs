//! Short messages through any HTTP interface: address, headers and body are templates (N1).
//!
//! Values are escaped for where they stand: percent-encoded in the address and in forms, as
//! JSON in a JSON body, as one line in headers.

use reqwest::Client;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use url::Url;

use crate::notify::notice::Notice;
use crate::notify::receivers::{Method, Secret, SmsSettings};
use crate::notify::text::{TextError, Texts};
use crate::notify::transport::{Done, SendError, reply};

pub(in crate::notify) struct HttpTemplate {
    settings: SmsSettings,
    http: Client,
}

/// The settings hold secrets in any place.
impl std::fmt::Debug for HttpTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpTemplate").finish_non_exhaustive()
    }
}

/// A request before it is sent.
pub(super) struct Written {
    pub(super) url: String,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl HttpTemplate {
    /// Tries all templates, and the expression, with a sample.
    pub(super) fn new(
        settings: &SmsSettings,
        texts: &Texts,
        http: &dyn Fn(&str) -> Result<Client, String>,
    ) -> Result<HttpTemplate, String> {
        let way = HttpTemplate { settings: settings.clone(), http: http(&settings.url)? };
        for notice in crate::notify::sample::of_all_kinds() {
            let written = way.write(texts, &notice, "+15550101").map_err(|e| e.to_string())?;
            drop(way.request(&written).map_err(|error| error.message)?);
        }
        if let Some(success) = &settings.success {
            texts.compiles(success).map_err(|error| format!("sms.success: {error}"))?;
        }
        Ok(way)
    }

    /// The request to one number.
    pub(super) fn write(
        &self,
        texts: &Texts,
        notice: &Notice,
        to: &str,
    ) -> Result<Written, TextError> {
        let SmsSettings { url, account, token, from, headers, body, .. } = &self.settings;
        let (sms, id) = (texts.sms(notice)?, notice.id());
        let more = [
            ("to", to),
            ("from", from),
            ("account", account),
            ("token", token.expose()),
            ("text", &sms),
            ("notice_id", &id),
        ];
        let render = |name: &str, source: &str| texts.render((name, source), notice, &more);
        let mut written =
            Written { url: render("sms.url.url", url)?, headers: Vec::new(), body: String::new() };
        for (name, value) in headers {
            let value = render(&format!("sms.headers.{name}.txt"), value.expose())?;
            written.headers.push((name.clone(), value));
        }
        let kind = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let kind = kind.map(|(_, value)| value.expose().to_ascii_lowercase());
        let json = body.trim_start().starts_with(['{', '[']);
        let name = match &kind {
            Some(kind) if kind.contains("json") => "sms.body.json",
            Some(kind) if kind.contains("form-urlencoded") => "sms.body.url",
            Some(kind) if kind.contains("xml") || kind.contains("html") => "sms.body.html",
            Some(_) => "sms.body.txt",
            // Said by the form of the body.
            None if json => "sms.body.json",
            None => "sms.body.url",
        };
        if kind.is_none() && !body.is_empty() {
            let kind = if json { "application/json" } else { "application/x-www-form-urlencoded" };
            written.headers.push(("Content-Type".to_owned(), kind.to_owned()));
        }
        written.body = render(name, body)?;
        Ok(written)
    }

    fn request(&self, written: &Written) -> Result<reqwest::RequestBuilder, SendError> {
        // No part of the address is told: it may hold a secret.
        let url = Url::parse(&written.url)
            .map_err(|error| SendError::lasting(format!("sms.url is no address: {error}")))?;
        let mut headers = HeaderMap::new();
        for (name, value) in &written.headers {
            let line = value.split_whitespace().collect::<Vec<_>>().join(" ");
            let header = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| SendError::lasting(format!("`{name}` is not the name of a header")))?;
            let value = HeaderValue::from_bytes(line.as_bytes()).map_err(|_| {
                SendError::lasting(format!("the header `{name}` has no such value"))
            })?;
            headers.insert(header, value);
        }
        let method = match self.settings.method {
            Method::Post => reqwest::Method::POST,
            Method::Get => reqwest::Method::GET,
            Method::Put => reqwest::Method::PUT,
        };
        let mut request = self.http.request(method, url).headers(headers);
        if !written.body.is_empty() {
            request = request.body(written.body.clone());
        }
        Ok(request)
    }

    /// One request per number.
    pub(super) async fn send(
        &self,
        texts: &Texts,
        notice: &Notice,
        done: &mut Done,
    ) -> Result<(), SendError> {
        while let Some(to) = self.settings.to.get(done.parts()) {
            let written = self.write(texts, notice, to)?;
            let request = self.request(&written)?;
            let sent = reply(request.send().await).await.and_then(|reply| {
                reply.verdict()?;
                let Some(success) = &self.settings.success else { return Ok(()) };
                let answer = json!({ "status": reply.status(), "json": reply.json() });
                match texts.holds(success, &answer) {
                    Ok(true) => Ok(()),
                    Ok(false) => Err(reply.passing("the answer does not fulfil `sms.success`")),
                    Err(error) => Err(reply.passing(format!("sms.success: {error}"))),
                }
            });
            done.part(sent)?;
        }
        done.end()
    }

    /// The request to the first number, its token hidden.
    pub(super) fn sample(&self, texts: &Texts, notice: &Notice) -> Result<Written, TextError> {
        let mut hidden = self.settings.clone();
        if !hidden.token.expose().is_empty() {
            hidden.token = Secret::new("***");
        }
        let to = hidden.to.first().cloned().unwrap_or_default();
        let way = HttpTemplate { settings: hidden, http: self.http.clone() };
        way.write(texts, notice, &to)
    }
}
