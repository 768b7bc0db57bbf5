//! The settings of a connection that are the same for every vendor.

use std::{num::NonZeroU32, time::Duration};

use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use super::address::has_userinfo;
use crate::{input::InputError, secret::Secret};

/// How to reach a vendor: timeouts, roots, proxy, client certificate. All optional.
///
/// A vendor takes it into its own settings as a field `http`, or with `#[serde(flatten)]`.
///
/// The platform's roots are found as the platform does it; on Linux that heeds `SSL_CERT_FILE` and
/// `SSL_CERT_DIR`. With `only_roots` or `bundled_roots: always` nothing of the platform is looked at.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct Settings {
    /// Seconds until a connection must stand, TLS included. Default: 10.
    pub connect_timeout_seconds: Option<NonZeroU32>,
    /// Seconds until a request must be answered, its body included. Default: 60.
    pub request_timeout_seconds: Option<NonZeroU32>,
    /// Root certificates, as PEM text, that are trusted besides those of the platform.
    pub roots: Option<String>,
    /// Trust `roots` alone.
    pub only_roots: bool,
    /// When to use the root certificates that are built in (Mozilla's list).
    pub bundled_roots: BundledRoots,
    /// A proxy for all requests: an `http` or `https` URL without user name and password. Default: none;
    /// the proxy variables of the environment are not read.
    pub proxy: Option<Url>,
    /// The user name at the proxy.
    pub proxy_user: Option<String>,
    /// The password at the proxy.
    pub proxy_password: Option<Secret>,
    /// A client certificate with its chain and its private key, as one PEM text.
    pub client_identity: Option<Secret>,
    /// Allow `http` URLs that leave this machine. They expose the credentials to the network.
    pub allow_plain_http: bool,
}

/// When to use the root certificates that are built in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BundledRoots {
    /// Where the platform has none, as in an empty container.
    #[default]
    Fallback,
    /// Always, in place of the platform's.
    Always,
    /// Never: without roots of the platform the settings are refused.
    Never,
}

/// Picks where an API is: the URL that the host states, or else the vendor's `usual` one.
///
/// # Errors
///
/// [`InputError::Setting`] names `setting` if `usual` is no URL, as it may be when parts of it are settings.
pub fn endpoint(setting: &'static str, stated: Option<&Url>, usual: &str) -> Result<Url, InputError> {
    match stated {
        Some(url) => Ok(url.clone()),
        None => Url::parse(usual).map_err(|error| InputError::setting(setting, error.to_string())),
    }
}

impl Settings {
    fn connect_timeout(&self) -> Duration {
        seconds(self.connect_timeout_seconds, 10)
    }

    fn request_timeout(&self) -> Duration {
        seconds(self.request_timeout_seconds, 60)
    }

    /// Makes the connection pool. Opens no connection.
    pub(super) fn connector(&self, user_agent: &str) -> Result<reqwest::Client, InputError> {
        let proxy = self.proxy()?;
        let identity = match &self.client_identity {
            Some(pem) => {
                Some(reqwest::Identity::from_pem(pem.expose().as_bytes()).map_err(|_| bad_identity())?)
            }
            None => None,
        };
        let own = self.own_roots()?;
        let make = |trust: &Trust| {
            let mut builder = trust
                .builder(&own)
                .user_agent(user_agent)
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(self.connect_timeout())
                .timeout(self.request_timeout())
                // Servers close idle connections after some time, and a request sent into that moment is
                // lost without an answer. So we are the first to close.
                .pool_idle_timeout(Duration::from_secs(20));
            if let Some(proxy) = &proxy {
                builder = builder.proxy(proxy.clone());
            }
            if let Some(identity) = &identity {
                builder = builder.identity(identity.clone());
            }
            builder.build().ok()
        };
        // Proxy and roots were checked above, so that the identity is what is left to be wrong.
        let bad = || match identity {
            Some(_) => bad_identity(),
            None => InputError::setting("http", "the HTTP client could not be made from these settings"),
        };
        if self.only_roots {
            return if own.is_empty() {
                Err(InputError::setting("only_roots", "needs `roots`"))
            } else {
                make(&Trust::Own).ok_or_else(bad)
            };
        }
        if self.bundled_roots == BundledRoots::Always {
            return make(&Trust::Bundled).ok_or_else(bad);
        }
        // With roots of our own the platform's may be missing without a sound, so that is looked at first.
        if (own.is_empty() || platform_has_roots())
            && let Some(connector) = make(&Trust::Platform)
        {
            return Ok(connector);
        }
        let fallback = make(&Trust::Bundled).ok_or_else(bad)?;
        if self.bundled_roots == BundledRoots::Fallback {
            return Ok(fallback);
        }
        Err(InputError::setting(
            "bundled_roots",
            "this platform has no root certificates; allow the built-in ones or give `only_roots`",
        ))
    }

    fn own_roots(&self) -> Result<Vec<reqwest::Certificate>, InputError> {
        let Some(pem) = &self.roots else { return Ok(Vec::new()) };
        let bad = || InputError::setting("roots", "give one or more CA certificates as PEM text");
        let mut roots = Vec::new();
        for der in CertificateDer::pem_slice_iter(pem.as_bytes()) {
            let der = der.map_err(|_| bad())?;
            rustls::RootCertStore::empty().add(der.clone()).map_err(|_| bad())?;
            roots.push(reqwest::Certificate::from_der(&der).map_err(|_| bad())?);
        }
        if roots.is_empty() { Err(bad()) } else { Ok(roots) }
    }

    fn proxy(&self) -> Result<Option<reqwest::Proxy>, InputError> {
        let Some(url) = &self.proxy else {
            if self.proxy_user.is_some() || self.proxy_password.is_some() {
                return Err(InputError::setting("proxy", "`proxy_user` and `proxy_password` need it"));
            }
            return Ok(None);
        };
        let bad = |rule| InputError::setting("proxy", rule);
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
            return Err(bad("give an `http` or `https` URL"));
        }
        if has_userinfo(url) {
            return Err(bad("give user name and password as `proxy_user` and `proxy_password`"));
        }
        let proxy = reqwest::Proxy::all(url.clone()).map_err(|_| bad("give an `http` or `https` URL"))?;
        Ok(Some(match (&self.proxy_user, &self.proxy_password) {
            (None, None) => proxy,
            (user, password) => proxy.basic_auth(
                user.as_deref().unwrap_or_default(),
                password.as_ref().map(Secret::expose).unwrap_or_default(),
            ),
        }))
    }
}

/// Which roots are trusted besides those that were given.
enum Trust {
    Own,
    Bundled,
    Platform,
}

impl Trust {
    /// Starts a builder that trusts the right roots and looks for no proxy in the environment.
    fn builder(&self, own: &[reqwest::Certificate]) -> reqwest::ClientBuilder {
        let (builder, own) = (reqwest::Client::builder().no_proxy(), own.iter().cloned());
        match self {
            Self::Own => builder.tls_certs_only(own),
            Self::Bundled => {
                let built_in = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
                builder.tls_certs_only(
                    built_in.filter_map(|der| reqwest::Certificate::from_der(der).ok()).chain(own),
                )
            }
            Self::Platform => builder.tls_certs_merge(own),
        }
    }
}

fn platform_has_roots() -> bool {
    Trust::Platform.builder(&[]).build().is_ok()
}

fn seconds(chosen: Option<NonZeroU32>, default: u64) -> Duration {
    Duration::from_secs(chosen.map_or(default, |chosen| u64::from(chosen.get())))
}

fn bad_identity() -> InputError {
    InputError::setting(
        "client_identity",
        "give the certificate, its chain and its private key as one PEM text",
    )
}
