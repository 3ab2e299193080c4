//! Who may see the pages: with a token set, whoever brings it.
//!
//! Health and readiness are free, since a probe has no secrets, and so is a signed link. Everything else takes
//! `Authorization: Bearer TOKEN`. Reading takes the token as the password of Basic as well,
//! whatever the user's name, because that is what a browser can ask a person for; changing
//! does not, because a browser would send it along on behalf of other sites too.

use std::fmt;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::{App, refusal};

/// A link that acknowledges is signed: that is its token.
const FREE: [&str; 3] = ["/healthz", "/readyz", "/acknowledge"];
const CHALLENGES: [&str; 2] = ["Bearer realm=\"tidegate\"", "Basic realm=\"tidegate\""];

/// A token as its digest. Two digests are compared whole, so that the time it takes tells neither
/// the token's length nor how much of a guess was right.
#[derive(Clone)]
pub struct Admission([u8; 32]);

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Admission {
    pub fn new(token: &str) -> Admission {
        Admission(Sha256::digest(token).into())
    }

    fn admits(&self, method: &Method, headers: &HeaderMap) -> bool {
        let Some((scheme, given)) = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
        else {
            return false;
        };
        let given = given.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return self.is(given.as_bytes());
        }
        let reads = matches!(*method, Method::GET | Method::HEAD);
        if !reads || !scheme.eq_ignore_ascii_case("basic") {
            return false;
        }
        let pair = STANDARD.decode(given).unwrap_or_default();
        let colon = pair.iter().position(|byte| *byte == b':');
        colon.is_some_and(|colon| self.is(&pair[colon + 1..]))
    }

    fn is(&self, given: &[u8]) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        let differing = self.0.iter().zip(given).fold(0, |bits, (a, b)| bits | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}

/// Hands on what is admitted.
pub(super) async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    let free = FREE.contains(&request.uri().path());
    let admitted = app
        .admission
        .as_ref()
        .is_none_or(|admission| admission.admits(request.method(), request.headers()));
    if free || admitted {
        return next.run(request).await;
    }
    let message = "this needs the token of `http.token`: send `Authorization: Bearer TOKEN`";
    let mut response = refusal(request.uri(), StatusCode::UNAUTHORIZED, message);
    for challenge in CHALLENGES {
        let challenge = HeaderValue::from_static(challenge);
        response.headers_mut().append(header::WWW_AUTHENTICATE, challenge);
    }
    response
}
