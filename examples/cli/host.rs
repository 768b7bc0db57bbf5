//! From the file to an engine.

use std::{collections::BTreeMap, sync::Arc};

use certlife::{
    AccountName, BuildContext, CertificateId, Clock, DnsProvider, Engine, EngineBuilder, LocalKeyRing,
    Lookup, Registry,
    engine::Principal,
    keystore::Contents,
    model::{Certificate, CertificateSpec, KeySource},
    registry::Role,
    seal::PassphraseCost,
};
use serde_json::Value;

use crate::{
    Failure,
    args::Common,
    config::{Config, ConfigError, KeyRingFrom, LookupFrom, Provider, Wish},
    settings,
};

/// The engine, and what the file says besides.
pub(crate) struct Host {
    pub(crate) engine: Engine,
    /// The engine on behalf of whoever runs this program, as the audit trail shows.
    pub(crate) caller: Principal,
    pub(crate) clock: Arc<dyn Clock>,
    /// The DNS accounts, for work by hand.
    pub(crate) dns: BTreeMap<AccountName, Arc<dyn DnsProvider>>,
    pub(crate) wishes: BTreeMap<CertificateId, Wish>,
}

impl Host {
    /// Reads the file and builds everything in it. Contacts nobody.
    pub(crate) async fn start(common: &Common) -> Result<Self, Failure> {
        let config = Config::read(&common.config)?;
        let kinds = Kinds { registry: certlife::registry(), agree_terms: common.agree_terms };

        let store = kinds.settings(Role::Store, &config.store)?;
        let store = kinds.registry.store(&config.store.kind, store).map_err(|error| match error.kind() {
            certlife::ErrorKind::Input(input) => config.store.settings.refused(input).into(),
            _ => Failure::from(error),
        })?;
        let ring = match config.keyring {
            KeyRingFrom::Passphrase(passphrase) => {
                LocalKeyRing::from_passphrase(passphrase, PassphraseCost::default())
            }
            KeyRingFrom::Key(key) => LocalKeyRing::from_key_text(&key),
        }?;
        let mut builder = Engine::builder(store, Arc::new(ring));
        if let Some(LookupFrom { resolvers, port }) = config.lookup {
            let lookup = Lookup::builder().resolvers(resolvers).port(port.unwrap_or(53));
            builder = builder.lookup(Arc::new(lookup.build()?));
        }
        let clock = builder.clock_handle();
        let mut policies = Vec::new();
        for (name, account) in config.cas {
            let provider = kinds.build(Role::Ca, &account, &builder, &name, Registry::ca)?;
            let (options, policy) = account.options;
            builder = builder.ca(name.clone(), provider, options);
            policies.push((name, policy));
        }
        let mut dns = BTreeMap::new();
        for (name, account) in config.dns {
            let provider = kinds.build(Role::Dns, &account, &builder, &name, Registry::dns)?;
            dns.insert(name.clone(), provider.clone());
            builder = builder.dns(name, provider, account.options);
        }
        for (name, account) in config.targets {
            let provider = kinds.build(Role::Target, &account, &builder, &name, Registry::target)?;
            builder = builder.target(name, provider, account.options);
        }
        let engine = builder.build().await?;
        if engine.mappings().await? != config.mappings {
            engine.set_mappings(&config.mappings).await?;
        }
        let caller = engine.by("command line");
        for (name, policy) in policies {
            caller.set_account_policy(&name, policy).await?;
        }
        Ok(Self { engine, caller, clock, dns, wishes: config.certificates })
    }

    /// Tells the engine what the file says about a certificate: wanted, or wanted otherwise than before.
    pub(crate) async fn want(&self, id: &CertificateId) -> Result<Certificate, Failure> {
        let spec = self.spec(id).await?;
        match self.caller.ensure(spec.clone()).await {
            Err(error) if error.kind().code() == "already_exists" => Ok(self.caller.update(spec).await?),
            other => Ok(other?),
        }
    }

    /// Hands the engine a certificate that exists already, for what the file says about it.
    pub(crate) async fn adopt(&self, id: &CertificateId, found: Contents) -> Result<Certificate, Failure> {
        let keystore = found.into_keystore()?;
        Ok(self.caller.adopt(self.spec(id).await?, keystore.chain(), keystore.key()).await?)
    }

    async fn spec(&self, id: &CertificateId) -> Result<CertificateSpec, Failure> {
        let Some(wish) = self.wishes.get(id) else {
            let known: Vec<_> = self.wishes.keys().map(CertificateId::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Failure::Usage(format!("the file has no [certificate.{id}]; it has: {known}")));
        };
        let mut spec = wish.spec.clone();
        if let Some(key) = &wish.key {
            spec.key.source = KeySource::Brought(self.engine.import_key(key).await?);
            spec.key.algorithm = Some(key.algorithm());
        }
        Ok(spec)
    }
}

struct Kinds {
    registry: Registry,
    agree_terms: bool,
}

impl Kinds {
    fn build<O, P: ?Sized>(
        &self,
        role: Role,
        account: &Provider<O>,
        builder: &EngineBuilder,
        name: &AccountName,
        make: impl Fn(&Registry, &str, Value, &BuildContext) -> Result<Arc<P>, certlife::InputError>,
    ) -> Result<Arc<P>, ConfigError> {
        let context = builder.context(name.clone());
        let settings = self.settings(role, account)?;
        make(&self.registry, &account.kind, settings, &context)
            .map_err(|error| account.settings.refused(&error))
    }

    /// The settings as the library takes them. Those of an unknown kind are left to the registry to refuse.
    fn settings<O>(&self, role: Role, account: &Provider<O>) -> Result<Value, ConfigError> {
        let kinds = self.registry.kinds();
        let Some(kind) = kinds.iter().find(|kind| kind.role == role && kind.kind == account.kind) else {
            return Ok(Value::Null);
        };
        let mut settings = settings::resolve(&account.settings, &kind.settings)?;
        if self.agree_terms && kind.settings.pointer("/properties/terms_agreed").is_some() {
            settings["terms_agreed"] = Value::Bool(true);
        }
        Ok(settings)
    }
}
