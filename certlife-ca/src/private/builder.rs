//! How a [`Private`] authority is made.

use std::{fmt, net::SocketAddr, sync::Arc};

use certlife_core::{
    BuildContext, Clock, DnsName, Identifier, InputError, KeyAlgorithm, Secret, SystemClock, Vault,
    lookup::{DnsLookup, Lookup},
};
use url::Url;

use super::{
    Private, Shared,
    issuer::Source,
    proof::{Inspector, Resolve},
    settings::{Import, Profile, Settings, Validation},
};

/// Makes a [`Private`] authority. What is wrong with the values is told by [`build`](Self::build).
#[must_use]
pub struct PrivateBuilder {
    vault: Vault,
    settings: Settings,
    clock: Arc<dyn Clock>,
    resolve: Option<Resolve>,
    lookup: Option<Arc<dyn DnsLookup>>,
    page_size: usize,
}

impl PrivateBuilder {
    pub(super) fn new(vault: Vault) -> Self {
        Self {
            vault,
            settings: Settings::default(),
            clock: Arc::new(SystemClock::default()),
            resolve: None,
            lookup: None,
            page_size: 50,
        }
    }

    pub(super) fn from_settings(settings: Settings, context: &BuildContext) -> Self {
        let builder = Self::new(context.vault.clone()).settings(settings).clock(context.clock.clone());
        match &context.lookup {
            Some(lookup) => builder.lookup(lookup.clone()),
            None => builder,
        }
    }

    /// Replaces all settings.
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }

    /// Reads the time from `clock`. Defaults to the operating system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What the common names of root and issuing certificate begin with. Defaults to `certlife`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.settings.name = name.into();
        self
    }

    /// The organization in both certificates. Defaults to none.
    pub fn organization(mut self, name: impl Into<String>) -> Self {
        self.settings.organization = Some(name.into());
        self
    }

    /// The key of the root. Defaults to ECDSA on P-384.
    pub fn root_key(mut self, algorithm: KeyAlgorithm) -> Self {
        self.settings.root_key = algorithm;
        self
    }

    /// The key that signs certificates. Defaults to ECDSA on P-256.
    pub fn issuing_key(mut self, algorithm: KeyAlgorithm) -> Self {
        self.settings.issuing_key = algorithm;
        self
    }

    /// Issues with an authority that exists already: its private key, and its certificate with those above
    /// it, both in PEM. Defaults to making one.
    pub fn import(mut self, key: Secret, chain: impl Into<String>) -> Self {
        self.settings.import = Some(Import { key, chain: chain.into() });
        self
    }

    /// Issues only for these host names and those below them. Defaults to all.
    pub fn permitted_names(mut self, names: impl IntoIterator<Item = DnsName>) -> Self {
        self.settings.permitted_names = names.into_iter().map(|name| name.to_string()).collect();
        self
    }

    /// Asks for a proof of each identifier. Defaults to none.
    pub fn validation(mut self, validation: Validation) -> Self {
        self.settings.validation = validation;
        self
    }

    /// Lets orders wait for an approval. Defaults to no.
    pub fn approval(mut self, wanted: bool) -> Self {
        self.settings.approval = wanted;
        self
    }

    /// Offers a product, in place of one of the same id. Defaults to `server`, `client` and `server-client`.
    pub fn profile(mut self, id: impl Into<String>, profile: Profile) -> Self {
        self.settings.profiles.insert(id.into(), profile);
        self
    }

    /// Where clients find the revocation list; the host publishes it there. Defaults to nowhere.
    pub fn crl_url(mut self, url: Url) -> Self {
        self.settings.crl_url = Some(url);
        self
    }

    /// Fetches HTTP proofs for an identifier from this address, where `resolve` gives one: for split
    /// networks and tests. Defaults to the identifier's own addresses and the port of the settings.
    pub fn resolve(
        mut self,
        resolve: impl Fn(&Identifier) -> Option<SocketAddr> + Send + Sync + 'static,
    ) -> Self {
        self.resolve = Some(Arc::new(resolve));
        self
    }

    /// Looks for DNS proofs through `lookup`. Defaults to the resolvers of the system, if proofs are by DNS.
    pub fn lookup(mut self, lookup: Arc<dyn DnsLookup>) -> Self {
        self.lookup = Some(lookup);
        self
    }

    /// Lists this many orders a page. Defaults to 50.
    pub fn page_size(mut self, size: usize) -> Self {
        self.page_size = size.max(1);
        self
    }

    /// Checks the settings and returns the authority. Opens no connection and reads no vault; the keys are
    /// made on first use.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn build(self) -> Result<Private, InputError> {
        let settings = self.settings;
        settings.check()?;
        let permitted = settings
            .permitted_names
            .iter()
            .map(|name| name.parse::<DnsName>())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| InputError::setting("permitted_names", error.to_string()))?;
        let lookup = match self.lookup {
            None if settings.validation == Validation::Dns => {
                Some(Arc::new(Lookup::system()?) as Arc<dyn DnsLookup>)
            }
            given => given,
        };
        let source = Source::new(self.vault.clone(), &settings, permitted.clone())?;
        let inspector = Inspector { http_port: settings.http_port, resolve: self.resolve, lookup };
        Ok(Private(Arc::new(Shared {
            vault: self.vault,
            clock: self.clock,
            settings,
            permitted,
            source,
            inspector,
            page_size: self.page_size,
        })))
    }
}

impl fmt::Debug for PrivateBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivateBuilder").field("settings", &self.settings).finish_non_exhaustive()
    }
}
