//! Providers by kind and stored settings: `registry.ca("acme", settings, context)`.
//!
//! A host's UI draws each form from the JSON Schema, and the host rebuilds its providers from what it
//! stored. The crates of the vendors register their kinds; the facade's `registry()` has all that are built in.

use std::{collections::BTreeMap, fmt, sync::Arc};

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    ca::CertificateAuthority, deploy::Deployer, dns::DnsProvider, input::InputError, lookup::DnsLookup,
    store::Store, text::VendorText, time::Clock, vault::Vault,
};

/// What providers are built with besides their settings.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "hosts build it")]
pub struct BuildContext {
    /// Where the account keeps what it must remember.
    pub vault: Vault,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Answers DNS questions; none means the resolvers of the system.
    pub lookup: Option<Arc<dyn DnsLookup>>,
}

type Build<P> = Box<dyn Fn(serde_json::Value, &BuildContext) -> Result<Arc<P>, InputError> + Send + Sync>;
type BuildStore = Box<dyn Fn(serde_json::Value) -> Result<Arc<dyn Store>, crate::Error> + Send + Sync>;

/// The kinds of provider that are built in.
#[derive(Default)]
pub struct Registry {
    cas: BTreeMap<&'static str, Kind<Build<dyn CertificateAuthority>>>,
    dns: BTreeMap<&'static str, Kind<Build<dyn DnsProvider>>>,
    targets: BTreeMap<&'static str, Kind<Build<dyn Deployer>>>,
    stores: BTreeMap<&'static str, Kind<BuildStore>>,
}

struct Kind<B> {
    title: &'static str,
    schema: Schema,
    options: Option<Schema>,
    build: B,
}

/// A kind of provider, for people and forms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProviderKind {
    /// What it does.
    pub role: Role,
    /// What settings name.
    pub kind: String,
    /// What people read.
    pub title: String,
    /// The JSON Schema of its settings; secrets are `writeOnly`.
    pub settings: serde_json::Value,
    /// The JSON Schema of the options that an order may carry, for a CA that has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_options: Option<serde_json::Value>,
}

/// What a provider does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// Issues certificates.
    Ca,
    /// Publishes DNS records.
    Dns,
    /// Serves certificates.
    Target,
    /// Keeps records.
    Store,
}

/// Declares `register_…` and the builder of one role.
macro_rules! role {
    ($register:ident, $build:ident, $field:ident, $trait:ident, $noun:literal) => {
        #[doc = concat!("Registers a kind of ", $noun, " provider whose settings are `S`.")]
        pub fn $register<S, P>(
            &mut self,
            kind: &'static str,
            title: &'static str,
            build: impl Fn(S, &BuildContext) -> Result<P, InputError> + Send + Sync + 'static,
        ) where
            S: DeserializeOwned + JsonSchema,
            P: $trait,
        {
            let build: Build<dyn $trait> =
                Box::new(move |settings, context| Ok(Arc::new(build(read(settings)?, context)?)));
            let schema = schemars::schema_for!(S);
            self.$field.insert(kind, Kind { title, schema, options: None, build });
        }

        #[doc = concat!("Builds a ", $noun, " provider from its settings.")]
        ///
        /// # Errors
        ///
        /// Names the setting and the rule, or the kinds that are built in if there is no such kind.
        pub fn $build(
            &self,
            kind: &str,
            settings: serde_json::Value,
            context: &BuildContext,
        ) -> Result<Arc<dyn $trait>, InputError> {
            let found = self.$field.get(kind).ok_or_else(|| unknown($noun, kind, self.$field.keys()))?;
            (found.build)(settings, context)
        }
    };
}

impl Registry {
    /// Makes a registry without any kind.
    pub fn new() -> Self {
        Self::default()
    }

    role!(register_ca, ca, cas, CertificateAuthority, "CA");
    role!(register_dns, dns, dns, DnsProvider, "DNS");
    role!(register_target, target, targets, Deployer, "target");

    /// States the options that an order at a CA kind may carry.
    pub fn describe_order_options<O: JsonSchema>(&mut self, kind: &str) {
        if let Some(found) = self.cas.get_mut(kind) {
            found.options = Some(schemars::schema_for!(O));
        }
    }

    /// Registers a kind of store whose settings are `S`.
    pub fn register_store<S, P>(
        &mut self,
        kind: &'static str,
        title: &'static str,
        build: impl Fn(S) -> Result<P, crate::Error> + Send + Sync + 'static,
    ) where
        S: DeserializeOwned + JsonSchema,
        P: Store,
    {
        let build: BuildStore = Box::new(move |settings| {
            let settings =
                read(settings).map_err(|input| crate::Error::input(crate::Operation::Configure, input))?;
            Ok(Arc::new(build(settings)?))
        });
        let schema = schemars::schema_for!(S);
        self.stores.insert(kind, Kind { title, schema, options: None, build });
    }

    /// Opens a store from its settings.
    ///
    /// # Errors
    ///
    /// Names the setting and the rule, or says why the store cannot be opened.
    pub fn store(&self, kind: &str, settings: serde_json::Value) -> Result<Arc<dyn Store>, crate::Error> {
        let found = self.stores.get(kind).ok_or_else(|| {
            crate::Error::input(crate::Operation::Configure, unknown("store", kind, self.stores.keys()))
        })?;
        (found.build)(settings)
    }

    /// Every kind that is built in, by role and name, with the schema of its settings.
    pub fn kinds(&self) -> Vec<ProviderKind> {
        fn describe<B>(
            role: Role,
            kinds: &BTreeMap<&'static str, Kind<B>>,
        ) -> impl Iterator<Item = ProviderKind> {
            kinds.iter().map(move |(name, kind)| ProviderKind {
                role,
                kind: (*name).to_owned(),
                title: kind.title.to_owned(),
                settings: kind.schema.as_value().clone(),
                order_options: kind.options.as_ref().map(|schema| schema.as_value().clone()),
            })
        }
        describe(Role::Ca, &self.cas)
            .chain(describe(Role::Dns, &self.dns))
            .chain(describe(Role::Target, &self.targets))
            .chain(describe(Role::Store, &self.stores))
            .collect()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.kinds().into_iter().map(|kind| (kind.role, kind.kind)).collect();
        f.debug_tuple("Registry").field(&names).finish()
    }
}

/// Reads settings; the message of a mismatch names the setting but shows no value, which may be a secret.
fn read<S: DeserializeOwned>(settings: serde_json::Value) -> Result<S, InputError> {
    let settings = if settings.is_null() { serde_json::json!({}) } else { settings };
    let secrets = strings(&settings);
    S::deserialize(settings).map_err(|error| {
        let mut message = error.to_string();
        for secret in secrets.iter().filter(|text| text.len() > 3) {
            message = message.replace(secret.as_str(), "…");
        }
        let setting = message.split('`').nth(1).unwrap_or("settings").to_owned();
        InputError::setting(setting, VendorText::new(&message).as_str().to_owned())
    })
}

fn strings(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::String(text) => vec![text.clone()],
        serde_json::Value::Array(items) => items.iter().flat_map(strings).collect(),
        serde_json::Value::Object(fields) => fields.values().flat_map(strings).collect(),
        _ => Vec::new(),
    }
}

fn unknown<'a>(kind: &'static str, name: &str, known: impl Iterator<Item = &'a &'static str>) -> InputError {
    let known = known.copied().collect::<Vec<_>>().join(", ");
    InputError::UnknownProvider { kind, name: VendorText::new(name).as_str().to_owned(), known }
}
