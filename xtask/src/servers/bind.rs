//! [BIND](https://bind9.readthedocs.io/), authoritative for the test zones, updated by TSIG-signed messages,
//! and the resolver that looks names up in them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::Server;
use super::zones::{self, Key, Keys, LIMITED_KEY, Updates, Zone};
use crate::Result;
use crate::fleet::Site;
use crate::process::output;
use crate::tools::{Tools, require};

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
        let keys = Keys::generate("bind", generate)?;
        let zones = zones::zones();

        for zone in &zones {
            zone.write_to(&folder, &zone.file_name())?;
        }
        Zone::new(".", Updates::ByNobody).write_to(&folder, "root.zone")?;
        fs::write(folder.join("named.conf"), options(port) + &keys.clauses() + &views(&zones, &keys))?;
        site.launch("named", &named(&folder)?, || zones::answers_for_all(&dig, port, &zones))?;

        let mut coordinates = zones::coordinates("bind", port, &keys)?;
        coordinates["delegation"] = zones::delegation();
        Ok(coordinates)
    }
}

fn generate(name: &str, algorithm: &str) -> Result<Key> {
    let clause = output(Command::new(require("tsig-keygen")?).args(["-a", algorithm, name]))?;
    let clause = String::from_utf8(clause)?;
    let (_, secret) = clause.split_once("secret \"").ok_or("tsig-keygen printed no secret")?;
    let (secret, _) = secret.split_once('"').ok_or("tsig-keygen printed half a secret")?;
    Ok(Key { name: name.into(), algorithm: algorithm.into(), secret: secret.into(), clause })
}

fn clause(zone: &Zone, keys: &Keys) -> String {
    let updates = match zone.updates {
        Updates::ByAllKeys => {
            let names: Vec<String> = keys.all.iter().map(|key| format!("key \"{}\";", key.name)).collect();
            format!("allow-update {{ {} }};", names.join(" "))
        }
        Updates::Limited => {
            let grants =
                zones::limited_owners().map(|owner| format!("grant {LIMITED_KEY} name {owner}. TXT;"));
            format!("update-policy {{ {} }};", grants.join(" "))
        }
        Updates::ByNobody => "allow-update { none; };".to_owned(),
    };
    format!("zone \"{}\" {{ type primary; file \"{}\"; {updates} }};\n", zone.name, zone.file_name())
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
fn views(zones: &[Zone], keys: &Keys) -> String {
    let in_view = |zone: &Zone| format!("zone \"{}\" {{ in-view resolver; }};\n", zone.name);
    let held: String = zones.iter().map(|zone| clause(zone, keys)).collect();
    let shared: String = zones.iter().map(in_view).collect();
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
