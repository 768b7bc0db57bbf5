//! What can be wrong with what the host gives us. Found before anything is sent or changed.

use std::borrow::Cow;

use crate::text::VendorText;

/// A value that breaks a rule: which value, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// A name that the host chose, or an id.
    #[error("{noun} name {value:?} is not valid: {rule}")]
    Name {
        /// What the name is for.
        noun: &'static str,
        /// What was given.
        value: VendorText,
        /// What would be right.
        rule: &'static str,
    },
    /// A DNS name.
    #[error("DNS name {value:?} is not valid: {rule}")]
    DnsName {
        /// What was given.
        value: VendorText,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A setting of an account or of the engine.
    #[error("setting `{setting}`: {rule}")]
    Setting {
        /// The name of the setting, as in the schema.
        setting: Cow<'static, str>,
        /// What would be right.
        rule: Cow<'static, str>,
    },
    /// No identifier was given.
    #[error("a certificate needs at least one identifier")]
    NoIdentifiers,
    /// More identifiers than the CA puts into one certificate.
    #[error("{count} identifiers are too many: this CA allows {limit} in one certificate")]
    TooManyIdentifiers {
        /// How many were asked for.
        count: usize,
        /// How many the CA allows.
        limit: usize,
    },
    /// The CA does not issue for this kind of identifier.
    #[error("identifier {identifier}: {rule}")]
    Identifier {
        /// The identifier, as text.
        identifier: String,
        /// The rule that it breaks.
        rule: Cow<'static, str>,
    },
    /// No account of that name is known, or it is of another kind.
    #[error("there is no {kind} account named {name:?}")]
    UnknownAccount {
        /// `CA`, `DNS` or `target`.
        kind: &'static str,
        /// What was asked for.
        name: String,
    },
    /// The account is disabled.
    #[error("account {name:?} is disabled; enable it or choose another")]
    DisabledAccount {
        /// The account.
        name: String,
    },
    /// No object of that name or id is known.
    #[error("there is no {kind} {id:?}")]
    Unknown {
        /// `certificate`, `order`, `version`…
        kind: &'static str,
        /// What was asked for.
        id: String,
    },
    /// No provider of that kind is built in.
    #[error("there is no {kind} provider {name:?}; built in are: {known}")]
    UnknownProvider {
        /// `CA`, `DNS`, `target`, `store` or `notifier`.
        kind: &'static str,
        /// What was asked for.
        name: String,
        /// Those that are built in.
        known: String,
    },
    /// Nothing says how control of the identifier is proven.
    #[error("nothing says how to validate {identifier}: {rule}")]
    NoValidation {
        /// The identifier, as text.
        identifier: String,
        /// What would be right.
        rule: Cow<'static, str>,
    },
    /// A certificate signing request.
    #[error("the certificate signing request is not usable: {rule}")]
    Csr {
        /// The rule that it breaks.
        rule: Cow<'static, str>,
    },
    /// A private key.
    #[error("the private key is not usable: {rule}")]
    PrivateKey {
        /// The rule that it breaks.
        rule: Cow<'static, str>,
    },
    /// A certificate or chain that was brought along.
    #[error("the certificate is not usable: {rule}")]
    Certificate {
        /// The rule that it breaks.
        rule: Cow<'static, str>,
    },
    /// A file with certificate and key that was brought along.
    #[error("the key store is not usable: {rule}")]
    Keystore {
        /// The rule that it breaks.
        rule: Cow<'static, str>,
    },
    /// The password of a file that was brought along is wrong or missing.
    #[error("the password is not usable: {rule}")]
    Password {
        /// What would be right.
        rule: Cow<'static, str>,
    },
    /// A path that is not allowed.
    #[error("path {path:?} is not allowed: {rule}")]
    Path {
        /// The path.
        path: VendorText,
        /// The rule that it breaks.
        rule: Cow<'static, str>,
    },
    /// A challenge token outside RFC 8555 §8.1.
    #[error("challenge token {token:?} is not valid: {rule}")]
    Token {
        /// The token.
        token: VendorText,
        /// The rule that it breaks.
        rule: &'static str,
    },
    /// A value in a command or in vendor options.
    #[error("{field}: {value:?} is not valid: {rule}")]
    Value {
        /// The field, as the host wrote it.
        field: Cow<'static, str>,
        /// What was given.
        value: VendorText,
        /// What would be right.
        rule: Cow<'static, str>,
    },
    /// A certificate of that name exists with another wish.
    #[error("certificate {id:?} exists with other settings; change it with `update`")]
    AlreadyExists {
        /// The certificate.
        id: String,
    },
}

impl InputError {
    /// A DNS name that breaks `rule`.
    pub fn dns_name(value: &str, rule: &'static str) -> Self {
        Self::DnsName { value: value.into(), rule }
    }

    /// A setting that breaks `rule`.
    pub fn setting(setting: impl Into<Cow<'static, str>>, rule: impl Into<Cow<'static, str>>) -> Self {
        Self::Setting { setting: setting.into(), rule: rule.into() }
    }

    /// A stable, short code for programs and translations.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Name { .. } => "bad_name",
            Self::DnsName { .. } => "bad_dns_name",
            Self::Setting { .. } => "bad_setting",
            Self::NoIdentifiers => "no_identifiers",
            Self::TooManyIdentifiers { .. } => "too_many_identifiers",
            Self::Identifier { .. } => "bad_identifier",
            Self::UnknownAccount { .. } => "unknown_account",
            Self::DisabledAccount { .. } => "disabled_account",
            Self::Unknown { .. } => "unknown_object",
            Self::UnknownProvider { .. } => "unknown_provider",
            Self::NoValidation { .. } => "no_validation",
            Self::Csr { .. } => "bad_csr",
            Self::PrivateKey { .. } => "bad_private_key",
            Self::Certificate { .. } => "bad_certificate_input",
            Self::Keystore { .. } => "bad_keystore",
            Self::Password { .. } => "bad_password",
            Self::Path { .. } => "bad_path",
            Self::Token { .. } => "bad_token",
            Self::Value { .. } => "bad_value",
            Self::AlreadyExists { .. } => "already_exists",
        }
    }
}
