//! The test zones and their keys, the same at every authoritative server.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::Result;
use crate::process::output;
use crate::tools::require;

/// The zone that most tests use, and a zone of its own below it.
const MAIN: &str = "certlife.test";
const SUB: &str = "sub.certlife.test";
/// Where `_acme-challenge` of [`DELEGATED`] points to.
const ALIAS: &str = "certlife-alias.test";
const DELEGATED: &str = "delegated.certlife.test";
const ALIAS_TARGET: &str = "x.acme.certlife-alias.test";
/// Writable only below the challenge names of these hosts, and only TXT.
const LIMITED: &str = "limited.test";
const LIMITED_HOSTS: [&str; 2] = ["limited.test", "www.limited.test"];
pub(super) const LIMITED_KEY: &str = "certlife-limited";
/// Writable by nobody.
const READ_ONLY: &str = "readonly.test";
/// For tests that want a zone that nobody else touches.
const SPARE_ZONES: u8 = 8;

/// Algorithms that a server may have.
const ALGORITHMS: [&str; 6] =
    ["hmac-md5", "hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"];

pub(super) struct Zone {
    pub(super) name: String,
    pub(super) updates: Updates,
    /// Records beside the zone's own, one a line.
    records: String,
}

/// Who may update a zone.
#[derive(Clone, Copy)]
pub(super) enum Updates {
    ByAllKeys,
    /// By the limited key, at [`limited_owners`], with TXT.
    Limited,
    ByNobody,
}

impl Zone {
    pub(super) fn new(name: &str, updates: Updates) -> Self {
        Self { name: name.into(), updates, records: String::new() }
    }

    pub(super) fn file_name(&self) -> String {
        format!("{}.zone", self.name)
    }

    /// Writes the zone in master file format. A lifetime of one second, so that no cache outlives a test.
    pub(super) fn write_to(&self, folder: &Path, file_name: &str) -> Result<()> {
        let text = format!(
            "$TTL 1\n\
             @ IN SOA ns1.{MAIN}. hostmaster.{MAIN}. 1 3600 600 86400 1\n\
             @ IN NS ns1.{MAIN}.\n\
             {}",
            self.records
        );
        Ok(fs::write(folder.join(file_name), text)?)
    }
}

pub(super) fn zones() -> Vec<Zone> {
    let mut main = Zone::new(MAIN, Updates::ByAllKeys);
    main.records = format!(
        "ns1 IN A 127.0.0.1\n\
         www IN A 127.0.0.1\n\
         sub IN NS ns1.{MAIN}.\n\
         {}. IN CNAME {ALIAS_TARGET}.\n",
        challenge_name(DELEGATED)
    );
    let mut zones = vec![
        main,
        Zone::new(SUB, Updates::ByAllKeys),
        Zone::new(ALIAS, Updates::ByAllKeys),
        Zone::new(LIMITED, Updates::Limited),
        Zone::new(READ_ONLY, Updates::ByNobody),
    ];
    zones.extend(spare_zones().map(|name| Zone::new(&name, Updates::ByAllKeys)));
    zones
}

/// The names that the limited key may update.
pub(super) fn limited_owners() -> [String; 2] {
    LIMITED_HOSTS.map(challenge_name)
}

fn spare_zones() -> impl Iterator<Item = String> {
    (1..=SPARE_ZONES).map(|number| format!("spare{number}.test"))
}

fn challenge_name(host: &str) -> String {
    format!("_acme-challenge.{host}")
}

/// A shared secret under a name, as the server's configuration and tests have to know it.
pub(super) struct Key {
    pub(super) name: String,
    pub(super) algorithm: String,
    pub(super) secret: String,
    /// What the server's own program printed for its configuration.
    pub(super) clause: String,
}

impl Key {
    fn coordinates(&self) -> Value {
        json!({ "name": self.name, "algorithm": self.algorithm, "secret": self.secret })
    }
}

/// The keys of one server.
pub(super) struct Keys {
    /// One an algorithm. Each may update every zone but the limited and the read-only one.
    pub(super) all: Vec<Key>,
    pub(super) limited: Key,
}

impl Keys {
    /// Makes the keys by `generate`, which gets name and algorithm. Algorithms that this build of the server
    /// lacks, as builds for FIPS mode lack MD5, are left out, which is said aloud.
    pub(super) fn generate(server: &str, generate: impl Fn(&str, &str) -> Result<Key>) -> Result<Self> {
        let one = |algorithm: &&str| {
            generate(&format!("certlife-{algorithm}"), algorithm)
                .inspect_err(|error| println!("{server}: no key for {algorithm}: {error}"))
                .ok()
        };
        let all = ALGORITHMS.iter().filter_map(one).collect();
        Ok(Self { all, limited: generate(LIMITED_KEY, "hmac-sha256")? })
    }

    /// The part of the server's configuration that defines all keys.
    pub(super) fn clauses(&self) -> String {
        self.all.iter().chain([&self.limited]).map(|key| key.clause.as_str()).collect()
    }
}

/// What tests need to know of a server that holds these zones.
pub(super) fn coordinates(software: &str, port: u16, keys: &Keys) -> Result<Value> {
    Ok(json!({
        "software": software,
        "address": format!("127.0.0.1:{port}"),
        "zone": MAIN,
        "sub_zone": SUB,
        "spare_zones": spare_zones().collect::<Vec<_>>(),
        "read_only_zone": READ_ONLY,
        "keys": keys.all.iter().map(Key::coordinates).collect::<Vec<_>>(),
        "limited": {
            "zone": LIMITED,
            "owners": limited_owners(),
            "key": keys.limited.coordinates(),
        },
        "dig": require("dig")?,
        "nsupdate": require("nsupdate")?,
    }))
}

/// The alias from one zone into another, for tests that follow it.
pub(super) fn delegation() -> Value {
    json!({ "identifier": DELEGATED, "alias_zone": ALIAS, "target": ALIAS_TARGET })
}

/// A listening socket is not enough: a server listens before it has read its zones.
pub(super) fn answers_for_all(dig: &Path, port: u16, zones: &[Zone]) -> bool {
    let port = port.to_string();
    zones.iter().all(|zone| {
        let arguments = ["@127.0.0.1", "-p", &port, "+short", "+tries=1", "+time=1", &zone.name, "SOA"];
        output(Command::new(dig).args(arguments)).is_ok_and(|answer| !answer.is_empty())
    })
}
