//! What an [`Acme`] is made from: a builder for programs, settings for what is stored.

use std::sync::Arc;

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use certlife_core::{
    BuildContext, Clock, InputError, KeyAlgorithm, PrivateKey, Secret, SecretBytes, SystemClock, Vault,
    http::{self, Client},
};
use instant_acme::{LetsEncrypt, ZeroSsl};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::{
    Acme, NAME,
    account::{Accounts, ExternalBinding, Wish},
    chain::Preference,
    session::Session,
};

/// The settings of an [`Acme`] as a host stores them.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Settings {
    /// The URL of the server's directory, or `letsencrypt`, `letsencrypt-staging`, `zerossl`, `google` or
    /// `google-staging`.
    pub directory: String,
    /// E-mail addresses that the CA may write to about the account.
    #[serde(default)]
    pub contacts: Vec<String>,
    /// Whether you agree to the CA's terms of service. Default: no; most CAs insist.
    #[serde(default)]
    pub terms_agreed: bool,
    /// The account that you have at the CA by other means, for CAs that ask for it.
    #[serde(default)]
    pub eab: Option<ExternalAccount>,
    /// A private key in PEM that the account has, or is to have. Default: one is made and kept sealed.
    #[serde(default)]
    pub account_key: Option<Secret>,
    /// The kind of key that is made for the account. Default: `ecdsa-p256`.
    #[serde(default)]
    #[schemars(with = "Option<String>")]
    pub key_algorithm: Option<KeyAlgorithm>,
    /// Which chain to take if the CA offers several: the common name of an issuer in it, such as
    /// `ISRG Root X1`, or the SHA-256 fingerprint of a certificate in it. Default: the CA's choice.
    #[serde(default)]
    pub preferred_chain: Option<String>,
    /// Further origins that the server may send us to. Default: that of the directory alone.
    #[serde(default)]
    pub also_allow: Vec<Url>,
    /// How to reach the server; `roots` are for a CA whose own certificate no public root vouches for.
    #[serde(default)]
    pub http: http::Settings,
}

/// An account at a CA that was opened by other means (RFC 8555 §7.3.4).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it; the protocol has no third part")]
pub struct ExternalAccount {
    /// The key identifier that the CA gave.
    pub key_id: String,
    /// The HMAC key that the CA gave, in base64url.
    pub hmac_key: Secret,
}

impl Settings {
    /// Checks the settings and makes the provider.
    ///
    /// # Errors
    ///
    /// As [`AcmeBuilder::build`].
    pub fn build(self, context: &BuildContext) -> Result<Acme, InputError> {
        let mut builder = Acme::builder(self.directory, context.vault.clone())
            .contacts(self.contacts)
            .terms_agreed(self.terms_agreed)
            .also_allow(self.also_allow)
            .http(self.http)
            .clock(context.clock.clone());
        builder.external_account = self.eab;
        builder.key_algorithm = self.key_algorithm;
        builder.preferred_chain = self.preferred_chain;
        if let Some(pem) = &self.account_key {
            let key = PrivateKey::from_pem(pem)
                .map_err(|error| InputError::setting("account_key", error.to_string()))?;
            builder = builder.account_key(key);
        }
        builder.build()
    }
}

/// Makes an [`Acme`]. What is wrong with the values is told by [`build`](Self::build).
#[derive(Debug)]
#[must_use]
pub struct AcmeBuilder {
    directory: String,
    vault: Vault,
    contacts: Vec<String>,
    terms_agreed: bool,
    external_account: Option<ExternalAccount>,
    account_key: Option<PrivateKey>,
    key_algorithm: Option<KeyAlgorithm>,
    preferred_chain: Option<String>,
    also_allow: Vec<Url>,
    http: http::Settings,
    clock: Arc<dyn Clock>,
}

impl AcmeBuilder {
    pub(super) fn new(directory: String, vault: Vault) -> Self {
        Self {
            directory,
            vault,
            contacts: Vec::new(),
            terms_agreed: false,
            external_account: None,
            account_key: None,
            key_algorithm: None,
            preferred_chain: None,
            also_allow: Vec::new(),
            http: http::Settings::default(),
            clock: Arc::new(SystemClock::default()),
        }
    }

    /// Gives the CA e-mail addresses to write to about the account, in place of those it has. Defaults to none.
    pub fn contacts<C: Into<String>>(mut self, contacts: impl IntoIterator<Item = C>) -> Self {
        self.contacts = contacts.into_iter().map(Into::into).collect();
        self
    }

    /// Agrees to the CA's terms of service. Defaults to no; then the first call that needs an account fails
    /// and says where the terms are, unless the account exists.
    pub fn terms_agreed(mut self, agreed: bool) -> Self {
        self.terms_agreed = agreed;
        self
    }

    /// Binds the account to one that you have at the CA by other means. Defaults to none.
    pub fn external_account(mut self, account: ExternalAccount) -> Self {
        self.external_account = Some(account);
        self
    }

    /// Uses this key for the account, which is found by it if it exists. Defaults to a key made here.
    pub fn account_key(mut self, key: PrivateKey) -> Self {
        self.account_key = Some(key);
        self
    }

    /// Makes account keys of this kind. Defaults to ECDSA on P-256, which every CA takes (RFC 8555 §6.2).
    pub fn key_algorithm(mut self, algorithm: KeyAlgorithm) -> Self {
        self.key_algorithm = Some(algorithm);
        self
    }

    /// Takes the chain that has this in it if the CA offers several: the common name of an issuer, or the
    /// SHA-256 fingerprint of a certificate. Defaults to the CA's choice, as it is if no chain has it.
    pub fn preferred_chain(mut self, chain: impl Into<String>) -> Self {
        self.preferred_chain = Some(chain.into());
        self
    }

    /// Allows the server to send us to the origins of these URLs too. Defaults to that of the directory alone.
    pub fn also_allow(mut self, origins: impl IntoIterator<Item = Url>) -> Self {
        self.also_allow.extend(origins);
        self
    }

    /// Connects as these settings say.
    pub fn http(mut self, settings: http::Settings) -> Self {
        self.http = settings;
        self
    }

    /// Reads the time from `clock`. Defaults to the operating system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Checks the values and returns the provider. Opens no connection and no account.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn build(self) -> Result<Acme, InputError> {
        let directory = directory_url(&self.directory)?;
        let mut client = Client::builder(NAME)
            .base_url(&base_of(&directory))
            .settings(&self.http)
            .clock(self.clock)
            .max_body(1 << 20);
        for url in &self.also_allow {
            client = client.also_allow(url);
        }
        let client = client.build().map_err(|error| match error {
            InputError::Setting { setting, rule } if setting == "base_url" => {
                InputError::setting("directory", rule)
            }
            error => error,
        })?;
        let wish = Wish {
            contacts: self.contacts.iter().map(|contact| mailto(contact)).collect::<Result<_, _>>()?,
            terms_agreed: self.terms_agreed,
            external_account: self.external_account.as_ref().map(external_binding).transpose()?,
            key: self.account_key,
            algorithm: self.key_algorithm,
        };
        if self.preferred_chain.as_ref().is_some_and(|chain| chain.trim().is_empty()) {
            return Err(InputError::setting("preferred_chain", "give a common name or a fingerprint"));
        }
        Ok(Acme {
            accounts: Accounts::new(wish, self.vault, &directory),
            session: Session::new(client, directory, &self.also_allow),
            preferred_chain: self.preferred_chain.as_deref().map(Preference::read),
        })
    }
}

fn directory_url(text: &str) -> Result<Url, InputError> {
    let text = match text {
        "letsencrypt" => LetsEncrypt::Production.url(),
        "letsencrypt-staging" => LetsEncrypt::Staging.url(),
        "zerossl" => ZeroSsl::Production.url(),
        // <https://cloud.google.com/certificate-manager/docs/public-ca-tutorial>
        "google" => "https://dv.acme-v02.api.pki.goog/directory",
        "google-staging" => "https://dv.acme-v02.test-api.pki.goog/directory",
        other => other,
    };
    Url::parse(text).ok().filter(Url::has_host).ok_or_else(|| {
        let rule = "give the URL of the directory, or `letsencrypt`, `letsencrypt-staging`, `zerossl`, `google` or \
                    `google-staging`";
        InputError::setting("directory", rule)
    })
}

/// The origin of the directory; the addresses under it come from the server.
fn base_of(directory: &Url) -> Url {
    let mut base = directory.clone();
    base.set_path("/");
    base.set_query(None);
    base.set_fragment(None);
    base
}

/// Writes an e-mail address as RFC 8555 §7.3 wants it: one recipient, no header fields.
fn mailto(contact: &str) -> Result<String, InputError> {
    let address = contact.trim();
    let address = address.strip_prefix("mailto:").unwrap_or(address);
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b'?' | b'<' | b'>' | b'"');
    let sides = address.split_once('@').filter(|(user, host)| !user.is_empty() && host.contains('.'));
    if sides.is_none() || address.len() > 254 || !address.bytes().all(plain) {
        return Err(InputError::setting("contacts", "give e-mail addresses, such as admin@example.com"));
    }
    Ok(format!("mailto:{address}"))
}

fn external_binding(account: &ExternalAccount) -> Result<ExternalBinding, InputError> {
    // CAs hand it out in base64url without padding; people paste it in other forms.
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &alphabet::URL_SAFE,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    if account.key_id.trim().is_empty() {
        return Err(InputError::setting("eab.key_id", "must not be empty"));
    }
    let text = Secret::new(account.hmac_key.expose().trim().replace('+', "-").replace('/', "_"));
    let key = LENIENT.decode(text.expose()).ok().filter(|key| !key.is_empty());
    let key =
        key.ok_or_else(|| InputError::setting("eab.hmac_key", "give the key in base64url, as the CA does"))?;
    Ok(ExternalBinding { key_id: account.key_id.trim().to_owned(), mac_key: SecretBytes::new(key) })
}
