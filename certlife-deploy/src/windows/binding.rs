//! Bindings of IIS, as a host describes them.

use std::net::IpAddr;

use certlife_core::{CertificateId, Identifier, InputError, Result};
use schemars::JsonSchema;
use serde::Deserialize;

use super::settings::text;

/// A binding of an IIS site. It is made if it does not exist, and removed with the certificate if it was made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Binding {
    /// The site, which exists.
    pub site: String,
    /// The address. Defaults to all.
    #[serde(default)]
    pub address: Option<IpAddr>,
    /// The port. Defaults to 443.
    #[serde(default = "default_port")]
    #[schemars(range(min = 1))]
    pub port: u16,
    /// The host name, or a wildcard such as `*.example.org` (IIS 10). Defaults to none: any.
    #[serde(default)]
    pub host: Option<String>,
    /// Whether there is to be such a binding for each name of the certificate, and one without a host name for each
    /// of its addresses. Defaults to no.
    #[serde(default)]
    pub each_name: bool,
    /// Whether clients have to name the host (SNI). Defaults to yes where there is a host name.
    #[serde(default)]
    pub sni: Option<bool>,
    /// Whether the certificate comes from the central certificate store. Defaults to no.
    #[serde(default)]
    pub central: bool,
    /// The certificate that it shows. Defaults to the one that covers `host`, or to each with `each_name`.
    #[serde(default)]
    pub certificate: Option<String>,
}

fn default_port() -> u16 {
    443
}

/// A binding that was checked.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) site: String,
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) hosts: Hosts,
    pub(super) sni: bool,
    pub(super) central: bool,
    pub(super) certificate: Option<CertificateId>,
}

/// Which hosts a binding is for.
#[derive(Debug)]
pub(super) enum Hosts {
    Any,
    One(Identifier),
    EachOfTheCertificate,
}

impl Binding {
    /// A binding of this site on port 443 of all addresses, for any host.
    pub fn new(site: impl Into<String>) -> Self {
        Self {
            site: site.into(),
            address: None,
            port: default_port(),
            host: None,
            each_name: false,
            sni: None,
            central: false,
            certificate: None,
        }
    }

    /// Listens on this address alone. Defaults to all.
    #[must_use]
    pub fn address(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    /// Listens on this port. Defaults to 443.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Answers for this host name or wildcard alone. Defaults to any.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.host = Some(host.into());
        self
    }

    /// Stands for one binding for each name and address of the certificate. Defaults to no.
    #[must_use]
    pub fn each_name(mut self, each: bool) -> Self {
        self.each_name = each;
        self
    }

    /// Says whether clients have to name the host. Defaults to yes where there is a host name.
    #[must_use]
    pub fn sni(mut self, sni: bool) -> Self {
        self.sni = Some(sni);
        self
    }

    /// Takes the certificate from the central certificate store. Defaults to no.
    #[must_use]
    pub fn central(mut self, central: bool) -> Self {
        self.central = central;
        self
    }

    /// Shows this certificate. Defaults to the one that covers the host name.
    #[must_use]
    pub fn certificate(mut self, certificate: impl Into<String>) -> Self {
        self.certificate = Some(certificate.into());
        self
    }

    pub(super) fn check(self, has_central_store: bool) -> Result<Listener, InputError> {
        text("bindings.site", &self.site, 1_000)?;
        let wrong =
            |field: &str, rule: &'static str| Err(InputError::setting(format!("bindings.{field}"), rule));
        if self.port == 0 {
            return wrong("port", "use 1 to 65535");
        }
        let hosts = match (self.host, self.each_name) {
            (None, false) => Hosts::Any,
            (None, true) => Hosts::EachOfTheCertificate,
            (Some(_), true) => return wrong("host", "leave it out with `each_name`"),
            (Some(host), false) => match host.parse() {
                Ok(host @ (Identifier::Dns(_) | Identifier::Wildcard(_))) => Hosts::One(host),
                _ => return wrong("host", "use a host name such as `www.example.org` or `*.example.org`"),
            },
        };
        if matches!(hosts, Hosts::Any) {
            if self.sni == Some(true) {
                return wrong("sni", "state a host name: without one there is nothing for clients to name");
            }
            if self.certificate.is_none() {
                return wrong("certificate", "name the certificate, or state a host name or `each_name`");
            }
            if self.central {
                return wrong("central", "state a host name: the central store is searched by it");
            }
        }
        if self.central && !has_central_store {
            return wrong("central", "state `central_store`");
        }
        let certificate = self.certificate.map(CertificateId::new).transpose();
        Ok(Listener {
            sni: self.sni.unwrap_or(!matches!(hosts, Hosts::Any)),
            site: self.site,
            address: self.address,
            port: self.port,
            hosts,
            central: self.central,
            certificate: certificate
                .map_err(|error| InputError::setting("bindings.certificate", error.to_string()))?,
        })
    }
}
