//! A whole life with every kind of secret in it; afterwards logs, errors, `Debug`, the database, the feed and
//! the arguments of programs are searched for them.
//!
//! One test alone in its process, since it takes all logs and looks at the process from outside.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![expect(clippy::struct_field_names, reason = "a form of a secret is called its form")]
#![expect(clippy::unused_self, reason = "the parts of the world are built alike")]
#![expect(clippy::format_collect, reason = "a few hundred bytes, once")]

mod reflector;
mod scanner;

use std::{
    fmt::Debug,
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use certlife_ca::{
    acme::{Acme, ExternalAccount},
    private::{Private, Validation},
};
use certlife_core::{
    CertificateId, Engine, EngineBuilder, Error, Failure, KeyAlgorithm, LocalKeyRing, PrivateKey, Secret,
    SecretBytes, Timestamp,
    engine::{CaOptions, DnsOptions, TargetOptions},
    lookup::Visibility,
    model::{CertificateSpec, Route},
    seal::PassphraseCost,
};
use certlife_deploy::local::Local;
use certlife_dns::{cloudflare::Cloudflare, rfc2136::Rfc2136};
use certlife_store::sqlite::Sqlite;
use certlife_testkit::{clock::ManualClock, dns::MemoryDns};
use rcgen::{BasicConstraints, CertificateParams, IsCa};
use reflector::Reflector;
use scanner::Scanner;

const PASSPHRASE: &str = "correct horse battery staple 4711";
const TSIG: &[u8] = b"tsig secret of 32 bytes, invented";
const TOKEN: &str = "invented_token_of_forty_characters_00001";
const EAB: &[u8] = b"external account binding, invented";

/// What was printed, logged or stored, by where it was found.
#[derive(Default)]
struct Findings(Vec<(String, Vec<u8>)>);

impl Findings {
    fn add(&mut self, place: impl Into<String>, data: impl Into<Vec<u8>>) {
        self.0.push((place.into(), data.into()));
    }

    fn debug(&mut self, place: &str, value: &impl Debug) {
        self.add(format!("Debug of {place}"), format!("{value:?}\n{value:#?}"));
    }

    fn error(&mut self, place: &str, error: &Error) {
        self.debug(place, error);
        self.add(format!("error of {place}"), error.chain());
        let failure =
            serde_json::to_string(&Failure::new(error, None, Timestamp::from_unix_seconds(0))).unwrap();
        self.add(format!("stored error of {place}"), failure);
    }

    /// Expects a failure.
    fn failure<T: Debug>(&mut self, place: &str, outcome: Result<T, Error>) {
        match outcome {
            Err(error) => self.error(place, &error),
            Ok(value) => panic!("{place} succeeded: {value:?}"),
        }
    }

    fn json(&mut self, place: &str, value: &(impl serde::Serialize + Debug)) {
        self.add(format!("JSON of {place}"), serde_json::to_vec(value).unwrap());
        self.debug(place, value);
    }

    /// Takes every file below `folder` but those that hold the key on purpose, which are returned.
    fn files(&mut self, folder: &Path) -> Vec<PathBuf> {
        let mut keys = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_symlink() {
                continue;
            }
            if path.is_dir() {
                keys.extend(self.files(&path));
            } else if path.ends_with("privkey.pem") {
                keys.push(path);
            } else {
                match fs::read(&path) {
                    Ok(data) => self.add(path.display().to_string(), data),
                    // SQLite and the deployer take their temporary files away when they like.
                    Err(gone) => assert_eq!(gone.kind(), io::ErrorKind::NotFound, "{}", path.display()),
                }
            }
        }
        keys
    }
}

/// Takes what is logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the run is about: one database, providers that work and providers that are refused.
struct World {
    folder: tempfile::TempDir,
    clock: ManualClock,
    dns: MemoryDns,
    reflector: Reflector,
    authority: PrivateKey,
    account: PrivateKey,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::default();
        let dns = MemoryDns::with_clock(Arc::new(clock.clone()));
        dns.add_zone("example.com");
        let key = || PrivateKey::generate(KeyAlgorithm::EcdsaP256).unwrap();
        let reflector = Reflector::start();
        Self { folder: tempfile::tempdir().unwrap(), clock, dns, reflector, authority: key(), account: key() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn ring(passphrase: &str) -> LocalKeyRing {
        LocalKeyRing::from_passphrase(Secret::new(passphrase), PassphraseCost::WEAKEST).unwrap()
    }

    /// The certificate of an authority that a company had already.
    fn authority_pem(&self) -> String {
        let pem = self.authority.to_pkcs8_pem().unwrap();
        let key = rcgen::KeyPair::from_pem(pem.expose()).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, "A company's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        params.self_signed(&key).unwrap().pem()
    }

    fn private_ca(&self, builder: &EngineBuilder) -> Private {
        let ca = Private::builder(builder.vault("ca".parse().unwrap()))
            .clock(Arc::new(self.clock.clone()))
            .import(self.authority.to_pkcs8_pem().unwrap(), self.authority_pem())
            .validation(Validation::Dns)
            .lookup(Arc::new(self.dns.clone()));
        ca.build().unwrap()
    }

    fn acme(&self, builder: &EngineBuilder) -> Acme {
        let eab = ExternalAccount {
            key_id: "key-1".to_owned(),
            hmac_key: Secret::new(URL_SAFE_NO_PAD.encode(EAB)),
        };
        Acme::builder(format!("{}/dir", self.reflector.origin), builder.vault("acme".parse().unwrap()))
            .account_key(self.account.clone())
            .external_account(eab)
            .terms_agreed(true)
            .clock(Arc::new(self.clock.clone()))
            .build()
            .unwrap()
    }

    fn cloudflare(&self) -> Cloudflare {
        Cloudflare::builder(TOKEN)
            .base_url(self.reflector.origin.parse().unwrap())
            .clock(Arc::new(self.clock.clone()))
            .build()
            .unwrap()
    }

    /// Nobody listens there.
    fn rfc2136(&self) -> Rfc2136 {
        let secret = Secret::new(STANDARD.encode(TSIG));
        Rfc2136::builder("127.0.0.1:1", "certlife", secret).zone("tsig.example").build().unwrap()
    }

    /// Both commands leave behind how they were started.
    fn local(&self) -> Local {
        let copy = |from: &str, to: &str| ["cp", from, self.path(to).to_str().unwrap()].map(str::to_owned);
        Local::builder(self.path("web"))
            .check(copy("/proc/self/environ", "environment"))
            .reload(copy("/proc/self/cmdline", "arguments-{certificate}"))
            .build()
            .unwrap()
    }

    /// Tells what everything looks like that holds a secret while it is put together.
    async fn engine(&self, findings: &mut Findings) -> Engine {
        let store = Sqlite::builder(self.path("certlife.db")).open().unwrap();
        let ring = Self::ring(PASSPHRASE);
        findings.debug("the key ring", &ring);
        let builder = Engine::builder(Arc::new(store), Arc::new(ring))
            .clock(Arc::new(self.clock.clone()))
            .lookup(Arc::new(self.dns.clone()))
            .linger(Duration::ZERO);
        let (ca, acme) = (self.private_ca(&builder), self.acme(&builder));
        let (cloudflare, rfc2136, local) = (self.cloudflare(), self.rfc2136(), self.local());
        findings.debug("the private CA", &ca);
        findings.debug("acme", &acme);
        findings.debug("cloudflare", &cloudflare);
        findings.debug("rfc2136", &rfc2136);
        findings.debug("the target", &local);
        let unseen = || DnsOptions::default().visibility(Visibility::None);
        let builder = builder
            .ca("ca".parse().unwrap(), Arc::new(ca), CaOptions::default())
            .ca("acme".parse().unwrap(), Arc::new(acme), CaOptions::default())
            .dns("dns".parse().unwrap(), Arc::new(self.dns.account(&["example.com"])), unseen())
            .dns("cloudflare".parse().unwrap(), Arc::new(cloudflare), unseen())
            .dns("rfc2136".parse().unwrap(), Arc::new(rfc2136), unseen())
            .target("web".parse().unwrap(), Arc::new(local), TargetOptions::default());
        findings.debug("the builder", &builder);
        let engine = builder.build().await.unwrap();
        findings.debug("the engine", &engine);
        engine
    }
}

fn wish(id: &str, ca: &str, dns: &str, name: &str) -> CertificateSpec {
    CertificateSpec::new(id.parse().unwrap(), ca.parse().unwrap())
        .identifiers([name.parse().unwrap()])
        .validate(Route::Dns(dns.parse().unwrap()))
        .deploy("web".parse().unwrap())
}

/// Lets an engine work until nothing is due within two hours.
async fn work(world: &World, engine: &Engine) {
    certlife_testkit::work::within(engine, &world.clock, Duration::from_hours(2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_found_anywhere() {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    let (world, mut findings) = (World::new(), Findings::default());
    let engine = world.engine(&mut findings).await;

    for wish in [
        wish("www", "ca", "dns", "www.example.com"),
        wish("flare", "ca", "cloudflare", "flare.example.com"),
        wish("tsig", "ca", "rfc2136", "tsig.example"),
        wish("outside", "acme", "dns", "outside.example.com"),
    ] {
        engine.ensure(wish).await.unwrap();
    }
    work(&world, &engine).await;
    refuse(&world, &engine, &mut findings).await;
    let keys = look_at_everything(&engine, &mut findings).await;

    let mut scanner = Scanner::default();
    scanner.add("the passphrase", PASSPHRASE.as_bytes());
    scanner.add("the TSIG secret", TSIG);
    scanner.add("the TSIG secret as text", STANDARD.encode(TSIG).as_bytes());
    scanner.add("the API token", TOKEN.as_bytes());
    scanner.add("the external account's key", EAB);
    scanner.add_p256("the authority's key", world.authority.to_pkcs8_der().unwrap().expose());
    scanner.add_p256("the ACME account's key", world.account.to_pkcs8_der().unwrap().expose());
    for key in &keys {
        scanner.add_p256("the certificate's key", key.to_pkcs8_der().unwrap().expose());
    }

    // The database is looked at while it is in use, with what is only in the write-ahead log, and after.
    findings.files(world.folder.path());
    assert!(world.path("certlife.db-wal").exists(), "the write-ahead log was not looked at");
    drop(engine);
    let key_files = findings.files(world.folder.path());
    for file in ["cmdline", "environ"] {
        findings.add(format!("{file} of this process"), fs::read(format!("/proc/self/{file}")).unwrap());
    }
    findings.add("the log", std::mem::take(&mut *log.0.lock().unwrap()));

    it_would_be_found(&world, &scanner, &findings, &key_files);
    for (place, data) in &findings.0 {
        let found = scanner.find(data);
        let excerpt = String::from_utf8_lossy(&data[..data.len().min(2_000)]);
        assert!(found.is_empty(), "{place} holds {found:?}: {excerpt}");
    }
}

/// Provokes errors in everything that takes a secret.
async fn refuse(world: &World, engine: &Engine, findings: &mut Findings) {
    for account in ["acme", "cloudflare", "rfc2136"] {
        findings.failure(account, engine.probe(&account.parse().unwrap()).await);
    }
    let name = "_acme-challenge.flare.example.com".parse().unwrap();
    findings.failure("a try", engine.try_dns(&"cloudflare".parse().unwrap(), &name).await);

    let store = Sqlite::builder(world.path("certlife.db")).open().unwrap();
    let wrong = World::ring("another passphrase, also secret");
    findings.failure("a wrong passphrase", Engine::builder(Arc::new(store), Arc::new(wrong)).build().await);

    // Secrets of a wrong form are told by their rule and not by their value.
    let spoiled = |secret: &str| Secret::new(format!("\"{secret}\u{e4}\""));
    let refused: [(&str, Box<dyn Debug>); 5] = [
        ("a spoiled token", Box::new(Cloudflare::builder(spoiled(TOKEN)).build().map(drop).unwrap_err())),
        (
            "a spoiled TSIG secret",
            Box::new(
                Rfc2136::builder("127.0.0.1", "key", spoiled(&STANDARD.encode(TSIG)))
                    .build()
                    .map(drop)
                    .unwrap_err(),
            ),
        ),
        ("a spoiled key", Box::new(PrivateKey::from_pem(&spoiled(TOKEN)).map(drop).unwrap_err())),
        (
            "a cut key",
            Box::new(
                PrivateKey::from_der(&SecretBytes::new(
                    world.account.to_pkcs8_der().unwrap().expose()[..100].to_vec(),
                ))
                .map(drop)
                .unwrap_err(),
            ),
        ),
        (
            "a spoiled ring",
            Box::new(LocalKeyRing::from_key_text(&spoiled(PASSPHRASE)).map(drop).unwrap_err()),
        ),
    ];
    for (place, error) in &refused {
        findings.debug(place, error);
    }
}

/// Asks the engine for everything it tells; returns the private keys that it made.
async fn look_at_everything(engine: &Engine, findings: &mut Findings) -> Vec<PrivateKey> {
    let mut keys = Vec::new();
    for id in ["www", "flare", "tsig", "outside"] {
        let id: CertificateId = id.parse().unwrap();
        findings.json("a certificate", &engine.certificate(&id).await.unwrap());
        findings.json("an explanation", &engine.explain(&id).await.unwrap());
        findings.json("orders", &engine.orders(&id, None).await.unwrap());
        findings.json("deployments", &engine.deployments(&id).await.unwrap());
        findings.json("the audit trail", &engine.audit(&id, None).await.unwrap());
        for version in engine.versions(&id, None).await.unwrap().items {
            findings.json("a version", &version);
            let export = engine.export(version.id).await.unwrap();
            findings.debug("an export", &export);
            keys.extend(export.key);
        }
    }
    findings.json("the feed", &engine.events_after(0, 1_000).await.unwrap());
    findings.json("accounts", &engine.accounts().await.unwrap());
    keys
}

/// Shows that the search means something: that everything took place, and that each secret would be found.
fn it_would_be_found(world: &World, scanner: &Scanner, findings: &Findings, key_files: &[PathBuf]) {
    for (name, sample) in scanner.samples() {
        assert!(scanner.find(&sample).contains(&name), "{name} is not found");
    }
    let [key_file] = key_files else { panic!("one key is deployed, not {key_files:?}") };
    let found = scanner.find(&fs::read(key_file).unwrap());
    assert!(found.iter().any(|found| found.starts_with("the certificate's key")), "{found:?}");
    let heard = world.reflector.heard.lock().unwrap();
    assert!(scanner.find(&heard).iter().any(|found| found.starts_with("the API token")));

    let of = |wanted: &str| {
        let place = findings.0.iter().find(|(place, _)| place.ends_with(wanted));
        String::from_utf8_lossy(&place.unwrap_or_else(|| panic!("{wanted} was not looked at")).1).into_owned()
    };
    assert!(of("/arguments-www").starts_with("cp\0"), "the reload command did not run");
    assert!(of("/environment").starts_with("PATH="), "the check command did not run");
    let log = of("the log");
    for words in ["TRACE", "certlife_core", "hyper"] {
        assert!(log.contains(words), "nothing of {words} is in the log");
    }
    assert!(of("error of cloudflare").contains("invalid credentials in"), "{}", of("error of cloudflare"));
}
