//! How a receiver knows that a callback is ours: Standard Webhooks, and the older header beside it.
//!
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>

use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;

use crate::config::{CallbackSettings, Secret};
use crate::fail;
use crate::files::hex;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const OLDER_SIGNATURE: HeaderName = HeaderName::from_static("x-callback-signature");

/// Before a secret that is written in Base64.
const ENCODED: &str = "whsec_";

/// Makes the headers of callbacks; holds the secrets and shows them nowhere.
pub struct Signer {
    key: Option<Hmac<Sha256>>,
    bearer: Option<HeaderValue>,
}

impl Signer {
    /// # Errors
    /// `Config` for a `whsec_` secret that is no Base64, and for a token that fits no header.
    pub fn new(settings: &CallbackSettings) -> Result<Self> {
        Ok(Self {
            key: settings.secret.as_ref().map(key).transpose()?,
            bearer: settings.token.as_ref().map(bearer).transpose()?,
        })
    }

    /// The headers of one try. `timestamp_s`: seconds since 1970, of the try.
    ///
    /// # Errors
    /// `Internal` for an id that fits no header; ours do.
    pub fn headers(&self, webhook_id: &str, timestamp_s: u64, body: &str) -> Result<HeaderMap> {
        let Ok(id) = HeaderValue::from_str(webhook_id) else {
            fail!(Internal, "a webhook id is no header value");
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ID, id);
        headers.insert(TIMESTAMP, HeaderValue::from(timestamp_s));
        if let Some(key) = &self.key {
            let signed = format!("{webhook_id}.{timestamp_s}.{body}");
            let signature = format!("v1,{}", STANDARD.encode(digest(key, &signed)));
            let older = format!("sha256={}", hex(&digest(key, body)));
            headers.insert(SIGNATURE, ascii(&signature));
            headers.insert(OLDER_SIGNATURE, ascii(&older));
        }
        if let Some(bearer) = &self.bearer {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
        Ok(headers)
    }
}

/// The key of `whsec_…` is what its Base64 stands for, of any other secret its bytes.
fn key(secret: &Secret) -> Result<Hmac<Sha256>> {
    let text = secret.expose();
    let bytes = match text.strip_prefix(ENCODED) {
        None => text.as_bytes().to_vec(),
        Some(encoded) => match STANDARD.decode(encoded.trim_end()) {
            Ok(bytes) if !bytes.is_empty() => bytes,
            _ => fail!(
                Config, "the webhook secret begins with `whsec_` and no Base64 follows";
                "copy it whole, or give a raw secret without `whsec_`"
            ),
        },
    };
    Ok(Hmac::new_from_slice(&bytes).expect("HMAC takes a key of any length"))
}

fn bearer(token: &Secret) -> Result<HeaderValue> {
    match HeaderValue::from_str(&format!("Bearer {}", token.expose())) {
        Ok(mut value) => {
            value.set_sensitive(true);
            Ok(value)
        }
        Err(_) => fail!(
            Config, "the callback token holds characters that no HTTP header may hold";
            "give it as one line of printable ASCII"
        ),
    }
}

fn digest(key: &Hmac<Sha256>, text: &str) -> Vec<u8> {
    let mut mac = key.clone();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("Base64 and hexadecimal are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::kind_of;

    fn signer(secret: Option<&str>, token: Option<&str>) -> Result<Signer> {
        Signer::new(&CallbackSettings {
            secret: secret.map(Secret::new),
            token: token.map(Secret::new),
            ..CallbackSettings::default()
        })
    }

    fn header(headers: &HeaderMap, name: &str) -> Option<String> {
        Some(headers.get(name)?.to_str().unwrap().to_string())
    }

    /// The vector of the Standard Webhooks libraries.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let headers = signer(Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), None)
            .unwrap()
            .headers(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                1_614_265_330,
                r#"{"test": 2432232314}"#,
            )
            .unwrap();
        let get = |name| header(&headers, name).unwrap();
        assert_eq!(
            get("webhook-signature"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        assert_eq!(get("webhook-id"), "msg_p5jXN8AQM9LWM0D4loKWxJek");
        assert_eq!(get("webhook-timestamp"), "1614265330");
        assert_eq!(get("content-type"), "application/json");
    }

    /// RFC 4231, test case 2.
    #[test]
    fn the_older_signature_is_the_hmac_of_the_body_with_the_same_key() {
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        for secret in ["Jefe", "whsec_SmVmZQ=="] {
            let headers = signer(Some(secret), None).unwrap();
            let headers = headers
                .headers("msg_1", 1, "what do ya want for nothing?")
                .unwrap();
            assert_eq!(
                header(&headers, "x-callback-signature").as_deref(),
                Some(expected)
            );
        }
    }

    #[test]
    fn without_secrets_there_is_neither_signature_nor_token() {
        let headers = signer(None, None).unwrap().headers("msg_1", 1, "{}").unwrap();
        for name in ["webhook-signature", "x-callback-signature", "authorization"] {
            assert_eq!(header(&headers, name), None);
        }
    }

    #[test]
    fn the_token_is_sent_and_never_shown() {
        let headers = signer(None, Some("canary"))
            .unwrap()
            .headers("msg_1", 1, "{}")
            .unwrap();
        assert_eq!(
            header(&headers, "authorization").as_deref(),
            Some("Bearer canary")
        );
        assert!(!format!("{headers:?}").contains("canary"));
    }

    #[test]
    fn impossible_secrets_are_refused_without_showing_them() {
        for (secret, token) in [
            (Some("whsec_canary!"), None),
            (Some("whsec_"), None),
            (None, Some("canary\nx")),
        ] {
            let error = signer(secret, token).err().unwrap();
            assert_eq!(kind_of(&error).exit_code(), 78);
            assert!(!format!("{error:#}").contains("canary"));
        }
    }
}
