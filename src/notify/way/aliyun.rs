//! Short messages through Aliyun's `SendSms` and what speaks like it (N1).
//!
//! The RPC interface: every parameter is signed with HMAC-SHA1, signature version 1.0. The text
//! is Aliyun's: what is sent are the variables of a template that was approved there.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use rand::RngExt as _;
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value};
use url::Url;

use super::sign::sha1_base64;
use crate::config::percent;
use crate::notify::notice::Notice;
use crate::notify::receivers::{Secret, SmsSettings};
use crate::notify::text::{TextError, Texts};
use crate::notify::transport::{Done, Reply, SendError, reply};

const URL: &str = "https://dysmsapi.aliyuncs.com";

/// The longest value of a variable in a notice; Aliyun refuses longer ones.
const PARAM_MAX: usize = 35;

/// The variables of a template when the settings name none.
const PARAMS: [(&str, &str); 5] = [
    ("severity", "{{ severity_word }}"),
    ("rule", "{{ rule_text }}"),
    ("who", "{{ first.who }}"),
    ("value", "{{ first.headline }}"),
    ("done", "{{ first.done_text }}"),
];

/// Codes that condemn the request: a number, or a text, that will never be taken. Any other may
/// pass: throttling does, and a wrong key, signature or template can be put right over there.
const LASTING: [&str; 9] = [
    "isv.MOBILE_NUMBER_ILLEGAL",
    "isv.MOBILE_COUNT_OVER_LIMIT",
    "isv.INVALID_PARAMETERS",
    "isv.INVALID_JSON_PARAM",
    "isv.TEMPLATE_MISSING_PARAMETERS",
    "isv.TEMPLATE_PARAMS_ILLEGAL",
    "isv.PARAM_LENGTH_LIMIT",
    "isv.PARAM_NOT_SUPPORT_URL",
    "isv.BLACK_KEY_CONTROL_LIMIT",
];

#[derive(Debug)]
pub(in crate::notify) struct Aliyun {
    url: Url,
    key_id: String,
    key_secret: Secret,
    sign_name: String,
    template: String,
    params: BTreeMap<String, String>,
    to: Vec<String>,
    http: Client,
}

impl Aliyun {
    /// Tries the variables' templates with samples.
    pub(super) fn new(
        settings: &SmsSettings,
        texts: &Texts,
        http: &dyn Fn(&str) -> Result<Client, String>,
    ) -> Result<Aliyun, String> {
        let url = if settings.url.is_empty() { URL } else { &settings.url };
        let params = if settings.params.is_empty() {
            PARAMS.map(|(name, text)| (name.to_owned(), text.to_owned())).into()
        } else {
            settings.params.clone()
        };
        let way = Aliyun {
            url: Url::parse(url).map_err(|error| format!("sms url: {error}"))?,
            key_id: settings.account.clone(),
            key_secret: settings.token.clone(),
            sign_name: settings.from.clone(),
            template: settings.template.clone(),
            params,
            to: settings.to.clone(),
            http: http(url)?,
        };
        for notice in crate::notify::sample::of_all_kinds() {
            way.params(texts, &notice).map_err(|error| error.to_string())?;
        }
        Ok(way)
    }

    /// The variables of the template, as JSON.
    pub(super) fn params(&self, texts: &Texts, notice: &Notice) -> Result<String, TextError> {
        let mut params = Map::new();
        for (name, source) in &self.params {
            let place = format!("sms.params.{name}.txt");
            let text = texts.render((&place, source), notice, &[])?;
            params.insert(name.clone(), Value::String(cut(&text)));
        }
        Ok(Value::Object(params).to_string())
    }

    /// One request per number: each is refused, or tried again, by itself.
    pub(super) async fn send(
        &self,
        texts: &Texts,
        notice: &Notice,
        done: &mut Done,
    ) -> Result<(), SendError> {
        let params = self.params(texts, notice)?;
        let id = notice.decisions.first().map_or("", |decision| decision.id.as_str());
        while let Some(to) = self.to.get(done.parts()) {
            let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            // A nonce is a number used once; 128 random bits are.
            let nonce = format!("{:032x}", rand::rng().random::<u128>());
            let form = self.form(&[
                ("OutId", id),
                ("PhoneNumbers", to),
                ("SignatureNonce", &nonce),
                ("TemplateParam", &params),
                ("Timestamp", &now),
            ]);
            let request = self
                .http
                .post(self.url.clone())
                .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                .body(form);
            let sent = reply(request.send().await).await.and_then(|reply| judged(&reply));
            done.part(sent)?;
        }
        done.end()
    }

    fn form(&self, own: &[(&str, &str)]) -> String {
        let mut parameters = BTreeMap::from([
            ("AccessKeyId", self.key_id.as_str()),
            ("Action", "SendSms"),
            ("Format", "JSON"),
            ("SignName", &self.sign_name),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureVersion", "1.0"),
            ("TemplateCode", &self.template),
            ("Version", "2017-05-25"),
        ]);
        parameters.extend(own.iter().copied());
        let query = canonical(&parameters);
        let signature = sign("POST", &query, self.key_secret.expose());
        format!("Signature={}&{query}", percent(&signature))
    }
}

/// Aliyun says in the body what became of a request, whatever the status.
fn judged(reply: &Reply) -> Result<(), SendError> {
    let text = |name: &str| reply.json()[name].as_str();
    let Some(code) = text("Code") else {
        // Not Aliyun's own answer: a proxy's, or another service's.
        reply.verdict()?;
        return Err(reply.passing("the answer has no `Code`"));
    };
    if code == "OK" {
        return Ok(());
    }
    let said = text("Message").unwrap_or_default();
    let message = format!("the provider refused with {code}: {said}");
    let lasting = LASTING.contains(&code);
    Err(if lasting { reply.lasting(message) } else { reply.passing(message) })
}

/// The parameters in order of name, percent-encoded.
fn canonical(parameters: &BTreeMap<&str, &str>) -> String {
    let mut query = String::new();
    for (name, value) in parameters {
        let and = if query.is_empty() { "" } else { "&" };
        // Writing to a string cannot fail.
        write!(query, "{and}{}={}", percent(name), percent(value)).unwrap_or_default();
    }
    query
}

/// `METHOD&%2F&` and the encoded parameters, under the secret with an `&` behind it.
fn sign(method: &str, query: &str, secret: &str) -> String {
    let text = format!("{method}&%2F&{}", percent(query));
    sha1_base64(&format!("{secret}&"), &text)
}

/// At most so many characters as a variable may have, with an ellipsis for what is missing.
fn cut(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if text.chars().count() <= PARAM_MAX {
        return text;
    }
    text.chars().take(PARAM_MAX - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests;
