//! [BIND](https://bind9.readthedocs.io/), authoritative for the test zones, updated by TSIG-signed messages,
//! and the resolver that looks names up in them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::Server;
use crate::Result;
use crate::fleet::Site;
use crate::process::output;
use crate::tools::{Tools, require};

/// Algorithms that BIND may have; `tsig-keygen` tells which ones this build does have.
const ALGORITHMS: [&str; 6] =
    ["hmac-md5", "hmac-sha1", "hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512"];

/// The zone that most tests use, and a zone of its own below it.
const ZONE: &str = "certlife.test";
const SUB_ZONE: &str = "sub.certlife.test";
/// Where `_acme-challenge` of [`DELEGATED`] points to.
const ALIAS_ZONE: &str = "certlife-alias.test";
const DELEGATED: &str = "delegated";
const ALIAS: &str = "x.acme";
/// Writable only below the challenge names of these hosts, and only TXT.
const LIMITED_ZONE: &str = "limited.test";
const LIMITED_HOSTS: [&str; 2] = ["limited.test", "www.limited.test"];
const LIMITED_KEY: &str = "certlife-limited";
/// Writable by nobody.
const READ_ONLY_ZONE: &str = "readonly.test";
/// For tests that want a zone that nobody else touches.
const SPARE_ZONES: u8 = 8;

pub(super) struct Bind;

impl Server for Bind {
    fn name(&self) -> &'static str {
        "bind"
    }

    fn install(&self, tools: &Tools) -> Result<()> {
        let programs = ["named", "tsig-keygen", "dig", "nsupdate"];
        tools.need(&programs, &["bind9", "bind9-utils", "bind9-dnsutils"])
    }

    fn start(&self, _: &Tools, site: &mut Site) -> Result<Value> {
        let dig = require("dig")?;
        let folder = site.folder("bind")?;
        let port = site.ports.take()?;
        let keys = ALGORITHMS.iter().filter_map(|algorithm| Key::generate(algorithm)).collect::<Vec<_>>();
        let limited = Key::generate_named(LIMITED_KEY, "hmac-sha256")?;
        let zones = zones(&keys);

        for zone in &zones {
            fs::write(folder.join(format!("{}.zone", zone.name)), zone.file())?;
        }
        fs::write(folder.join("root.zone"), Zone::new(".", "").file())?;
        let key_clauses: String = keys.iter().chain([&limited]).map(|key| key.clause.as_str()).collect();
        fs::write(folder.join("named.conf"), options(port) + &key_clauses + &views(&zones))?;
        site.launch("named", &named(&folder)?, || {
            zones.iter().all(|zone| answers_for(&dig, port, &zone.name))
        })?;

        Ok(json!({
            "address": format!("127.0.0.1:{port}"),
            "zone": ZONE,
            "sub_zone": SUB_ZONE,
            "spare_zones": spare_zones().collect::<Vec<_>>(),
            "read_only_zone": READ_ONLY_ZONE,
            "keys": keys.iter().map(Key::coordinates).collect::<Vec<_>>(),
            "limited": {
                "zone": LIMITED_ZONE,
                "owners": LIMITED_HOSTS.map(challenge_name),
                "key": limited.coordinates(),
            },
            "delegation": {
                "identifier": format!("{DELEGATED}.{ZONE}"),
                "alias_zone": ALIAS_ZONE,
                "target": format!("{ALIAS}.{ALIAS_ZONE}"),
            },
            "dig": dig,
            "nsupdate": require("nsupdate")?,
        }))
    }
}

/// A shared secret under a name, as `named.conf` and tests have to know it.
struct Key {
    name: String,
    algorithm: String,
    secret: String,
    clause: String,
}

impl Key {
    /// A key that may update every zone but the limited and the read-only one; `None`, said aloud, if
    /// this build of BIND lacks the algorithm, as builds for FIPS mode lack MD5.
    fn generate(algorithm: &str) -> Option<Self> {
        Self::generate_named(&format!("certlife-{algorithm}"), algorithm)
            .inspect_err(|error| println!("bind: no key for {algorithm}: {error}"))
            .ok()
    }

    fn generate_named(name: &str, algorithm: &str) -> Result<Self> {
        let clause = output(Command::new(require("tsig-keygen")?).args(["-a", algorithm, name]))?;
        let clause = String::from_utf8(clause)?;
        let (_, secret) = clause.split_once("secret \"").ok_or("tsig-keygen printed no secret")?;
        let (secret, _) = secret.split_once('"').ok_or("tsig-keygen printed half a secret")?;
        Ok(Self { name: name.into(), algorithm: algorithm.into(), secret: secret.into(), clause })
    }

    fn coordinates(&self) -> Value {
        json!({ "name": self.name, "algorithm": self.algorithm, "secret": self.secret })
    }
}

struct Zone {
    name: String,
    /// Who may update it, as the statement that says so.
    updates: String,
    /// Records beside the zone's own, one a line.
    records: String,
}

impl Zone {
    fn new(name: &str, updates: &str) -> Self {
        Self { name: name.into(), updates: updates.into(), records: String::new() }
    }

    fn clause(&self) -> String {
        let Self { name, updates, .. } = self;
        format!("zone \"{name}\" {{ type primary; file \"{name}.zone\"; {updates} }};\n")
    }

    fn clause_in_view(&self, view: &str) -> String {
        format!("zone \"{}\" {{ in-view {view}; }};\n", self.name)
    }

    /// The zone in master file format. A lifetime of one second, so that no cache outlives a test.
    fn file(&self) -> String {
        format!(
            "$TTL 1\n\
             @ IN SOA ns1.{ZONE}. hostmaster.{ZONE}. 1 3600 600 86400 1\n\
             @ IN NS ns1.{ZONE}.\n\
             {}",
            self.records
        )
    }
}

fn zones(keys: &[Key]) -> Vec<Zone> {
    let by_all_keys =
        keys.iter().fold("allow-update {".to_owned(), |list, key| list + &format!(" key \"{}\";", key.name))
            + " };";
    let challenges_only = LIMITED_HOSTS.iter().fold("update-policy {".to_owned(), |list, host| {
        list + &format!(" grant {LIMITED_KEY} name {}. TXT;", challenge_name(host))
    }) + " };";

    let mut main = Zone::new(ZONE, &by_all_keys);
    main.records = format!(
        "ns1 IN A 127.0.0.1\n\
         www IN A 127.0.0.1\n\
         sub IN NS ns1.{ZONE}.\n\
         _acme-challenge.{DELEGATED} IN CNAME {ALIAS}.{ALIAS_ZONE}.\n"
    );
    let mut zones = vec![
        main,
        Zone::new(SUB_ZONE, &by_all_keys),
        Zone::new(ALIAS_ZONE, &by_all_keys),
        Zone::new(LIMITED_ZONE, &challenges_only),
        Zone::new(READ_ONLY_ZONE, "allow-update { none; };"),
    ];
    zones.extend(spare_zones().map(|name| Zone::new(&name, &by_all_keys)));
    zones
}

fn spare_zones() -> impl Iterator<Item = String> {
    (1..=SPARE_ZONES).map(|number| format!("spare{number}.test"))
}

fn challenge_name(host: &str) -> String {
    format!("_acme-challenge.{host}")
}

/// Reads and writes nothing outside its folder, talks to nobody outside this machine. Pebble asks by TCP, for a
/// hundred names at once: the usual queue of ten would drop connections.
fn options(port: u16) -> String {
    format!(
        "options {{\n\
           directory \".\";\n\
           pid-file none;\n\
           session-keyfile \"session.key\";\n\
           tcp-clients 500;\n\
           tcp-listen-queue 500;\n\
           listen-on port {port} {{ 127.0.0.1; }};\n\
           listen-on-v6 {{ none; }};\n\
           allow-query {{ 127.0.0.0/8; }};\n\
           allow-transfer {{ 127.0.0.0/8; }};\n\
           notify no;\n\
           dnssec-validation no;\n\
           empty-zones-enable no;\n\
         }};\n\
         controls {{ }};\n"
    )
}

/// An authoritative server does not follow an alias out of a zone, but the resolver of a CA does. Who
/// desires recursion gets the one, everybody else the other, both without a cache between them and the
/// zones. The resolver's root zone is empty: what is not here exists nowhere.
fn views(zones: &[Zone]) -> String {
    let held: String = zones.iter().map(Zone::clause).collect();
    let shared: String = zones.iter().map(|zone| zone.clause_in_view("resolver")).collect();
    format!(
        "view resolver {{\n\
           match-recursive-only yes; recursion yes;\n\
           zone \".\" {{ type primary; file \"root.zone\"; }};\n\
           {held}\
         }};\n\
         view authoritative {{\n\
           recursion no;\n\
           {shared}\
         }};\n"
    )
}

/// The command that starts the server in the foreground.
fn named(folder: &Path) -> Result<Command> {
    // A copy, because distributions confine /usr/sbin/named by its path (AppArmor) to folders not ours.
    let copy = folder.join("named");
    fs::copy(require("named")?, &copy)?;
    let mut named = Command::new(copy);
    named.args(["-4", "-g", "-n", "1", "-c", "named.conf"]).current_dir(folder);
    Ok(named)
}

/// A listening socket is not enough: the server listens before it has read its zones.
fn answers_for(dig: &Path, port: u16, zone: &str) -> bool {
    let port = port.to_string();
    let arguments = ["@127.0.0.1", "-p", &port, "+short", "+tries=1", "+time=1", zone, "SOA"];
    output(Command::new(dig).args(arguments)).is_ok_and(|answer| !answer.is_empty())
}
