//! Signed bodies: flattened JWS in JSON (RFC 7515 §7.2.2, RFC 8555 §6.2), by an account, a bare key or a MAC.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use certlife_core::{PrivateKey, Result, SecretBytes, ca::Signer};
use serde_json::{Value, json};
use url::Url;

/// The media type of signed bodies (RFC 8555 §6.2).
pub(super) const MEDIA_TYPE: &str = "application/jose+json";

/// Who signs a request.
#[derive(Debug, Clone, Copy)]
pub(super) enum By<'a> {
    /// An account, by its key and its URL as the CA wrote it (`kid`).
    Account { key: &'a PrivateKey, url: &'a str },
    /// A key that the CA does not know as that of an account, or need not know (`jwk`).
    Key(&'a dyn Signer),
}

impl By<'_> {
    /// Signs `payload` for `url`. An empty payload asks (POST-as-GET, RFC 8555 §6.3).
    pub(super) fn sign(self, url: &Url, nonce: &str, payload: &str) -> Result<Vec<u8>> {
        let (signer, header): (&dyn Signer, _) = match self {
            By::Account { key, url: kid } => {
                (key, json!({ "alg": key.jws_algorithm(), "kid": kid, "nonce": nonce, "url": url }))
            }
            By::Key(key) => {
                (key, json!({ "alg": key.jws_algorithm(), "jwk": key.jwk()?, "nonce": nonce, "url": url }))
            }
        };
        let body = flattened(&header, payload, |message| signer.sign_jws(message))?;
        Ok(body.to_string().into_bytes())
    }
}

/// The inner body of a key change, by which the new key consents (RFC 8555 §7.3.5).
pub(super) fn key_change(old: &PrivateKey, new: &PrivateKey, account: &str, url: &Url) -> Result<Value> {
    let header = json!({ "alg": new.jws_algorithm(), "jwk": new.jwk()?, "url": url });
    let payload = json!({ "account": account, "oldKey": old.jwk()? });
    flattened(&header, &payload.to_string(), |message| new.sign_jws(message))
}

/// The binding of an account key to an account elsewhere at the CA (RFC 8555 §7.3.4).
pub(super) fn external_binding(
    key_id: &str,
    mac_key: &SecretBytes,
    account_key: &PrivateKey,
    url: &Url,
) -> Result<Value> {
    let header = json!({ "alg": "HS256", "kid": key_id, "url": url });
    let mac_key = hmac::Key::new(hmac::HMAC_SHA256, mac_key.expose());
    flattened(&header, &account_key.jwk()?.to_string(), |message| {
        Ok(hmac::sign(&mac_key, message).as_ref().to_vec())
    })
}

fn flattened(header: &Value, payload: &str, sign: impl FnOnce(&[u8]) -> Result<Vec<u8>>) -> Result<Value> {
    let protected = URL_SAFE_NO_PAD.encode(header.to_string());
    let payload = URL_SAFE_NO_PAD.encode(payload);
    let signature = sign(format!("{protected}.{payload}").as_bytes())?;
    Ok(json!({ "protected": protected, "payload": payload, "signature": URL_SAFE_NO_PAD.encode(signature) }))
}
