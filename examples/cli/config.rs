//! The configuration file: stores, accounts, targets, certificates.
//!
//! Each table is read key by key, so that whatever is wrong is named by file, table and key, with what would
//! be right. What the program does not know in the table of an account are the provider's own settings.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use certlife::{
    AccountName, CertificateId, Csr, Fqdn, Identifier, InputError, KeyAlgorithm, PrivateKey, Secret,
    engine::{CaOptions, DnsOptions, TargetOptions, TlsEndpoint},
    model::{
        AccountPolicy, CertificateSpec, DomainMapping, KeyChange, KeyPolicy, KeySource, RenewalPolicy,
        Rollout, Route, Selection, ValidationPolicy,
    },
};
use serde::{Deserialize, de::DeserializeOwned};
use toml::{Table, Value};

use crate::settings;

/// Something in the file is wrong: where, and what would be right. Shows no secret.
#[derive(Debug, thiserror::Error)]
#[error("{}{}", .place, .problem)]
pub(crate) struct ConfigError {
    place: String,
    problem: String,
}

/// What the file says.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) store: Provider<()>,
    pub(crate) keyring: KeyRingFrom,
    pub(crate) lookup: Option<LookupFrom>,
    pub(crate) cas: BTreeMap<AccountName, Provider<(CaOptions, AccountPolicy)>>,
    pub(crate) dns: BTreeMap<AccountName, Provider<DnsOptions>>,
    pub(crate) targets: BTreeMap<AccountName, Provider<TargetOptions>>,
    pub(crate) mappings: Vec<DomainMapping>,
    pub(crate) certificates: BTreeMap<CertificateId, Wish>,
}

/// A provider by kind, the engine's own options about it, and the table with its settings.
#[derive(Debug)]
pub(crate) struct Provider<O> {
    pub(crate) kind: String,
    pub(crate) options: O,
    pub(crate) settings: Section,
}

/// What the key ring is made from.
#[derive(Debug)]
pub(crate) enum KeyRingFrom {
    Passphrase(Secret),
    Key(Secret),
}

/// How DNS is asked, if not through the resolvers of this machine.
#[derive(Debug)]
pub(crate) struct LookupFrom {
    pub(crate) resolvers: Vec<std::net::SocketAddr>,
    pub(crate) port: Option<u16>,
}

/// A certificate that is wanted, and the key that is brought along for it.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) spec: CertificateSpec,
    pub(crate) key: Option<PrivateKey>,
}

impl Config {
    /// Reads the file, with every file that it names.
    pub(crate) fn read(path: &Path) -> Result<Self, ConfigError> {
        let whole = |problem: String| ConfigError { place: format!("{}: ", path.display()), problem };
        let text = fs::read_to_string(path).map_err(|error| whole(error.to_string()))?;
        // The error's own text shows the line, which may hold a secret.
        let table: Table = toml::from_str(&text).map_err(|error: toml::de::Error| {
            let before = error.span().map_or("", |span| text.get(..span.start).unwrap_or_default());
            whole(format!("line {}: {}", before.matches('\n').count() + 1, error.message()))
        })?;
        let mut file = Section { file: path.to_owned(), place: String::new(), table, known: Vec::new() };

        let mut store = file.table("store")?.ok_or_else(|| {
            file.wrong(
                "store",
                "say where records are kept, such as kind = \"sqlite\", path = \"certlife.db\"",
            )
        })?;
        let store = Provider { kind: store.kind()?, options: (), settings: store };
        let keyring = file.table("keyring")?.ok_or_else(|| {
            file.wrong("keyring", "say what seals private keys, such as passphrase_file = \"keyring.txt\"")
        })?;
        let keyring = key_ring(keyring)?;
        let lookup = file.table("lookup")?.map(lookup).transpose()?;
        let cas = accounts(&mut file, "ca", ca_options)?;
        let dns = accounts(&mut file, "dns", dns_options)?;
        let targets = accounts(&mut file, "target", target_options)?;
        one_role_a_name(&file, &cas, &dns, &targets)?;

        let names = Names {
            cas: cas.keys().map(ToString::to_string).collect(),
            dns: dns.keys().map(ToString::to_string).collect(),
            targets: targets.keys().map(ToString::to_string).collect(),
        };
        let mappings = file.tables("mapping")?.into_iter().map(|section| mapping(section, &names));
        let mappings = mappings.collect::<Result<_, _>>()?;
        let mut certificates = BTreeMap::new();
        for (name, section) in file.named("certificate")? {
            let id = CertificateId::new(name).map_err(|error| section.about(error))?;
            certificates.insert(id.clone(), wish(id, section, &names)?);
        }
        file.finish()?;
        Ok(Self { store, keyring, lookup, cas, dns, targets, mappings, certificates })
    }
}

/// A table of the file whose keys are taken out one by one.
#[derive(Debug, Clone)]
pub(crate) struct Section {
    pub(crate) file: PathBuf,
    /// Its name, such as `ca.le`; empty for the file itself.
    pub(crate) place: String,
    pub(crate) table: Table,
    known: Vec<&'static str>,
}

impl Section {
    /// Takes a key out.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, key: &'static str) -> Result<Option<T>, ConfigError> {
        self.known.push(key);
        let Some(value) = self.table.remove(key) else { return Ok(None) };
        value.try_into().map(Some).map_err(|error: toml::de::Error| self.wrong(key, error.message()))
    }

    /// Takes a key out that has to be there; `example` shows what would be right.
    fn require<T: DeserializeOwned>(&mut self, key: &'static str, example: &str) -> Result<T, ConfigError> {
        self.take(key)?.ok_or_else(|| self.wrong(key, format!("is missing; say {key} = {example}")))
    }

    fn kind(&mut self) -> Result<String, ConfigError> {
        self.require("kind", "\"…\"; the command `providers` lists what is built in")
    }

    /// Takes a table below this one out.
    fn table(&mut self, key: &'static str) -> Result<Option<Self>, ConfigError> {
        let table = self.take::<Table>(key)?;
        Ok(table.map(|table| self.below(key, table)))
    }

    /// Takes an array of tables out.
    fn tables(&mut self, key: &'static str) -> Result<Vec<Self>, ConfigError> {
        let tables = self.take::<Vec<Table>>(key)?.unwrap_or_default();
        Ok(tables.into_iter().map(|table| self.below(key, table)).collect())
    }

    /// Takes tables by name out: `[ca.le]`, `[ca.house]`.
    fn named(&mut self, key: &'static str) -> Result<Vec<(String, Self)>, ConfigError> {
        let tables = self.take::<BTreeMap<String, Table>>(key)?.unwrap_or_default();
        let named = tables.into_iter().map(|(name, table)| {
            let section = self.below(&format!("{key}.{name}"), table);
            (name, section)
        });
        Ok(named.collect())
    }

    fn below(&self, key: &str, table: Table) -> Self {
        let place = if self.place.is_empty() { key.to_owned() } else { format!("{}.{key}", self.place) };
        Self { file: self.file.clone(), place, table, known: Vec::new() }
    }

    /// Everything that was not taken out.
    fn rest(&mut self) -> Value {
        Value::Table(std::mem::take(&mut self.table))
    }

    /// Refuses what nobody has taken out.
    fn finish(self) -> Result<(), ConfigError> {
        match self.table.keys().next() {
            None => Ok(()),
            Some(key) => Err(self.unknown(key, &self.known)),
        }
    }

    /// The directory that relative paths start from.
    pub(crate) fn directory(&self) -> PathBuf {
        self.file.parent().map(Path::to_owned).unwrap_or_default()
    }

    /// Says what is wrong with a key.
    pub(crate) fn wrong(&self, key: &str, problem: impl fmt::Display) -> ConfigError {
        let file = self.file.display();
        let place = match (self.place.as_str(), key) {
            ("", key) => format!("{file}: [{key}]: "),
            (table, "") => format!("{file}: [{table}]: "),
            (table, key) => format!("{file}: [{table}] {key}: "),
        };
        ConfigError { place, problem: problem.to_string() }
    }

    /// Says what is wrong with the table as a whole.
    pub(crate) fn about(&self, problem: impl fmt::Display) -> ConfigError {
        self.wrong("", problem)
    }

    /// Says that there is no such key, and which one may have been meant.
    pub(crate) fn unknown(&self, key: &str, known: &[impl AsRef<str>]) -> ConfigError {
        let known: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
        let hint = match nearest(key, &known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are: {}", known.join(", ")),
        };
        self.wrong(key, format!("is not known here; {hint}"))
    }

    /// Blames the setting that the library names.
    pub(crate) fn refused(&self, error: &InputError) -> ConfigError {
        match error {
            InputError::Setting { setting, rule } => self.wrong(setting, rule),
            InputError::UnknownProvider { .. } => self.wrong("kind", error),
            other => self.about(other),
        }
    }
}

/// The names of accounts in the file, for references between tables.
struct Names {
    cas: Vec<String>,
    dns: Vec<String>,
    targets: Vec<String>,
}

impl Names {
    fn check(
        section: &Section,
        key: &str,
        role: &str,
        name: &AccountName,
        known: &[String],
    ) -> Result<(), ConfigError> {
        if known.iter().any(|known| known == name.as_str()) {
            return Ok(());
        }
        let hint = match (nearest(name.as_str(), known), known) {
            (Some(meant), _) => format!("did you mean \"{meant}\"?"),
            (None, []) => format!("add a table [{role}.{name}]"),
            (None, known) => format!("there are: {}", known.join(", ")),
        };
        Err(section.wrong(key, format!("there is no [{role}.{name}]; {hint}")))
    }

    fn check_route(&self, section: &Section, key: &str, route: &Route) -> Result<(), ConfigError> {
        match route {
            Route::Dns(account) => Self::check(section, key, "dns", account, &self.dns),
            Route::Http(account) | Route::TlsAlpn(account) => {
                Self::check(section, key, "target", account, &self.targets)
            }
            _ => Ok(()),
        }
    }
}

fn key_ring(mut section: Section) -> Result<KeyRingFrom, ConfigError> {
    let passphrase = settings::secret(&mut section, "passphrase", "passphrase_file")?;
    let key = settings::secret(&mut section, "key", "key_file")?;
    let ring = match (passphrase, key) {
        (Some(passphrase), None) => KeyRingFrom::Passphrase(passphrase),
        (None, Some(key)) => KeyRingFrom::Key(key),
        _ => return Err(section.about("say either passphrase_file or key_file")),
    };
    section.finish().map(|()| ring)
}

fn lookup(mut section: Section) -> Result<LookupFrom, ConfigError> {
    let stated: Vec<String> = section.require("resolvers", "[\"192.0.2.53\"]")?;
    let resolvers = stated.iter().map(|text| {
        let address = text.parse().ok().or_else(|| Some((text.parse::<std::net::IpAddr>().ok()?, 53).into()));
        address.ok_or_else(|| {
            section.wrong("resolvers", format!("{text:?} is no IP address, with or without port"))
        })
    });
    let resolvers = resolvers.collect::<Result<_, _>>()?;
    let port = section.take("port")?;
    section.finish().map(|()| LookupFrom { resolvers, port })
}

fn accounts<O>(
    file: &mut Section,
    role: &'static str,
    options: impl Fn(&mut Section) -> Result<O, ConfigError>,
) -> Result<BTreeMap<AccountName, Provider<O>>, ConfigError> {
    let mut accounts = BTreeMap::new();
    for (name, mut section) in file.named(role)? {
        let name = AccountName::new(name).map_err(|error| section.about(error))?;
        let kind = section.kind()?;
        let options = options(&mut section)?;
        accounts.insert(name, Provider { kind, options, settings: section });
    }
    Ok(accounts)
}

fn ca_options(section: &mut Section) -> Result<(CaOptions, AccountPolicy), ConfigError> {
    let mut options = CaOptions::default();
    options.default_route = section.take("default_route")?;
    set(&mut options.default_targets, section.take("default_targets")?);
    set(&mut options.concurrency, section.take("concurrency")?);
    let policy = section.table("policy")?.map(policy).transpose()?;
    Ok((options, policy.unwrap_or_default()))
}

/// `[ca.NAME.policy]`: what holds for the certificates of the account that say nothing themselves.
fn policy(mut section: Section) -> Result<AccountPolicy, ConfigError> {
    let only = match (section.take("only")?, section.take("all_but")?) {
        (None, None) => Selection::All,
        (Some(these), None) => Selection::Listed(these),
        (None, Some(these)) => Selection::AllBut(these),
        (Some(_), Some(_)) => return Err(section.about("say either only or all_but")),
    };
    let policy = AccountPolicy {
        automatic: section.take("automatic")?,
        only,
        imported: section.take("imported")?.unwrap_or_default(),
        before: section.take("before")?,
        route: section.take("route")?,
        key_algorithm: section.take("key")?,
        contacts: section.take("contacts")?.unwrap_or_default(),
    };
    section.finish().map(|()| policy)
}

fn dns_options(section: &mut Section) -> Result<DnsOptions, ConfigError> {
    let mut options = DnsOptions::default();
    set(&mut options.visibility, section.take("visibility")?);
    set(&mut options.patience, section.take("patience")?.map(|Span(span)| span));
    set(&mut options.follow_cnames, section.take("follow_cnames")?);
    set(&mut options.concurrency, section.take("concurrency")?);
    Ok(options)
}

fn target_options(section: &mut Section) -> Result<TargetOptions, ConfigError> {
    let mut options = TargetOptions::default();
    let endpoints = section.take::<Vec<Served>>("served_at")?.unwrap_or_default();
    options.endpoints = endpoints.into_iter().map(|Served(endpoint)| endpoint).collect();
    set(&mut options.drift_check, section.take("drift_check")?.map(|Span(span)| span));
    set(&mut options.on_drift, section.take("on_drift")?);
    set(&mut options.patience, section.take("patience")?.map(|Span(span)| span));
    set(&mut options.concurrency, section.take("concurrency")?);
    Ok(options)
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// The engine's commands know accounts by name alone, and each has one vault.
fn one_role_a_name<A, B, C>(
    file: &Section,
    cas: &BTreeMap<AccountName, A>,
    dns: &BTreeMap<AccountName, B>,
    targets: &BTreeMap<AccountName, C>,
) -> Result<(), ConfigError> {
    let mut seen: BTreeMap<&AccountName, &str> = BTreeMap::new();
    let all = cas.keys().map(|name| ("ca", name));
    let all =
        all.chain(dns.keys().map(|name| ("dns", name))).chain(targets.keys().map(|name| ("target", name)));
    for (role, name) in all {
        if let Some(other) = seen.insert(name, role) {
            return Err(
                file.wrong(&format!("{role}.{name}"), format!("[{other}.{name}] has that name already"))
            );
        }
    }
    Ok(())
}

fn mapping(mut section: Section, names: &Names) -> Result<DomainMapping, ConfigError> {
    let domain: Fqdn = section.require("domain", "\"example.com\"")?;
    let deploy: BTreeSet<AccountName> = section.take("deploy")?.unwrap_or_default();
    for target in &deploy {
        Names::check(&section, "deploy", "target", target, &names.targets)?;
    }
    let route = route(&mut section)?;
    if let Some(route) = &route {
        names.check_route(&section, "", route)?;
    } else if deploy.is_empty() {
        return Err(section.about("say how, such as dns = \"corp\", or where to, such as deploy = [\"web\"]"));
    }
    Ok(DomainMapping { domain, route, deploy })
}

/// Reads what is left of a table as a route: `dns = "corp"`, `http = "web"`…
fn route(section: &mut Section) -> Result<Option<Route>, ConfigError> {
    if section.table.is_empty() {
        return Ok(None);
    }
    section.rest().try_into().map(Some).map_err(|error: toml::de::Error| section.about(error.message()))
}

fn wish(id: CertificateId, mut section: Section, names: &Names) -> Result<Wish, ConfigError> {
    let identifiers: Vec<Identifier> = section.require("names", "[\"example.com\"]")?;
    let ca: AccountName = section.require("ca", "\"…\", the name of a table [ca.…]")?;
    Names::check(&section, "ca", "ca", &ca, &names.cas)?;
    let mut spec = CertificateSpec::new(id, ca).identifiers(identifiers);
    for target in section.take::<Vec<AccountName>>("deploy")?.unwrap_or_default() {
        Names::check(&section, "deploy", "target", &target, &names.targets)?;
        spec = spec.deploy(target);
    }
    if let Some(rollout) = section.take::<Rollout>("rollout")? {
        spec.rollout = rollout;
    }
    if let Some(policy) = section.table("validation")? {
        spec.validation = validation(policy, names)?;
    }
    if let Some(policy) = section.table("renewal")? {
        spec.renewal = renewal(policy)?;
    }
    let (policy, key) = key(&mut section)?;
    spec.key = policy;
    spec.validity = section.take("validity")?.map(|Span(span)| span);
    spec.product = section.take("product")?;
    spec.organization = section.take("organization")?;
    spec.must_staple = section.take("must_staple")?.unwrap_or_default();
    spec.contacts = section.take("contacts")?.unwrap_or_default();
    spec.options = section.take("options")?.unwrap_or_default();
    section.finish().map(|()| Wish { spec, key })
}

fn validation(mut section: Section, names: &Names) -> Result<ValidationPolicy, ConfigError> {
    let routes: BTreeMap<Identifier, Route> = section.take("routes")?.unwrap_or_default();
    let default = route(&mut section)?;
    for route in routes.values().chain(&default) {
        names.check_route(&section, "", route)?;
    }
    Ok(ValidationPolicy { default, routes })
}

fn renewal(mut section: Section) -> Result<RenewalPolicy, ConfigError> {
    let (automatic, before) = (section.take("automatic")?, section.take("before")?);
    let mut policy = RenewalPolicy { automatic, before, ..RenewalPolicy::default() };
    set(&mut policy.follow_ca, section.take("follow_ca")?);
    set(&mut policy.notice_days, section.take("notice_days")?);
    section.finish().map(|()| policy)
}

/// `key = "rsa-2048"`, or a table with `algorithm` and `on_renewal`, or with a `file` or `csr` that is brought.
fn key(section: &mut Section) -> Result<(KeyPolicy, Option<PrivateKey>), ConfigError> {
    if let Some(Value::String(_)) = section.table.get("key") {
        let algorithm: Option<KeyAlgorithm> = section.take("key")?;
        return Ok((KeyPolicy { algorithm, ..KeyPolicy::default() }, None));
    }
    let Some(mut section) = section.table("key")? else { return Ok((KeyPolicy::default(), None)) };
    let mut policy = KeyPolicy { algorithm: section.take("algorithm")?, ..KeyPolicy::default() };
    set(&mut policy.on_renewal, section.take::<KeyChange>("on_renewal")?);
    let file: Option<PathBuf> = section.take("file")?;
    let csr: Option<PathBuf> = section.take("csr")?;
    let key = match (file, csr) {
        (None, None) => None,
        (Some(path), None) => {
            let pem = settings::read(&section, "file", &path)?;
            Some(PrivateKey::from_pem(&Secret::new(pem)).map_err(|error| section.wrong("file", error))?)
        }
        (None, Some(path)) => {
            let pem = settings::read(&section, "csr", &path)?;
            let csr = Csr::from_pem(&pem).map_err(|error| section.wrong("csr", error))?;
            policy.source = KeySource::Elsewhere(Box::new(csr));
            None
        }
        (Some(_), Some(_)) => return Err(section.about("say either file or csr")),
    };
    section.finish().map(|()| (policy, key))
}

/// A time span: a number of seconds, or a number with `s`, `m`, `h` or `d`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "SpanText")]
pub(crate) struct Span(pub(crate) Duration);

#[derive(Deserialize)]
#[serde(untagged, expecting = "a number of seconds, or a text such as \"90s\", \"15m\", \"12h\" or \"30d\"")]
enum SpanText {
    Seconds(u64),
    Text(String),
}

impl TryFrom<SpanText> for Span {
    type Error = String;

    fn try_from(text: SpanText) -> Result<Self, String> {
        match text {
            SpanText::Seconds(seconds) => Ok(Self(Duration::from_secs(seconds))),
            SpanText::Text(text) => Self::parse(&text),
        }
    }
}

impl Span {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let digits = text.trim_end_matches(|last: char| last.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "" | "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3_600),
            "d" => Some(86_400),
            _ => None,
        };
        let seconds =
            digits.parse::<u64>().ok().zip(unit).and_then(|(number, unit)| number.checked_mul(unit));
        let span = seconds.map(|seconds| Self(Duration::from_secs(seconds)));
        span.ok_or_else(|| format!("{text:?} is no time span; write 90s, 15m, 12h or 30d"))
    }
}

/// `"192.0.2.1:443"`, or `{ address = "192.0.2.1:25", server_name = "example.com", starttls = "smtp" }`.
#[derive(Debug, Deserialize)]
#[serde(from = "ServedText")]
struct Served(TlsEndpoint);

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "an address with port, or a table with `address`, `server_name` and `starttls`"
)]
enum ServedText {
    Address(std::net::SocketAddr),
    Endpoint(TlsEndpoint),
}

impl From<ServedText> for Served {
    fn from(text: ServedText) -> Self {
        Self(match text {
            ServedText::Address(address) => TlsEndpoint { address, server_name: None, starttls: None },
            ServedText::Endpoint(endpoint) => endpoint,
        })
    }
}

/// The known word that a misspelt one is closest to, if it is close at all.
fn nearest<'a>(word: &str, known: &'a [impl AsRef<str>]) -> Option<&'a str> {
    let scored = known.iter().map(|known| (distance(word, known.as_ref()), known.as_ref()));
    let (distance, nearest) = scored.min_by_key(|(distance, _)| *distance)?;
    (distance <= 2.min(word.chars().count() / 2)).then_some(nearest)
}

/// How many letters have to be put in, left out or replaced (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, letter) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
