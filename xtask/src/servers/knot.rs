//! [Knot DNS](https://www.knot-dns.cz/), authoritative for the test zones, updated by TSIG-signed messages:
//! a second opinion on what BIND takes.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::Server;
use super::zones::{self, Key, Keys, LIMITED_KEY, Updates, Zone};
use crate::Result;
use crate::fleet::Site;
use crate::process::output;
use crate::tools::{Tools, require};

pub(super) struct Knot;

impl Server for Knot {
    fn name(&self) -> &'static str {
        "knot"
    }

    fn install(&self, tools: &Tools) -> Result<()> {
        tools.need(&["knotd", "keymgr", "dig", "nsupdate"], &["knot", "bind9-dnsutils"])
    }

    fn start(&self, _: &Tools, site: &mut Site) -> Result<Value> {
        let dig = require("dig")?;
        let folder = site.folder("knot")?;
        let port = site.ports.take()?;
        let keys = Keys::generate("knot", generate)?;
        let zones = zones::zones();

        for zone in &zones {
            zone.write_to(&folder, &zone.file_name())?;
        }
        fs::write(folder.join("knot.conf"), configuration(port, &keys, &zones))?;
        let mut knotd = Command::new(require("knotd")?);
        knotd.args(["-c", "knot.conf"]).current_dir(&folder);
        site.launch("knotd", &knotd, || zones::answers_for_all(&dig, port, &zones))?;
        zones::coordinates("knot", port, &keys)
    }
}

fn generate(name: &str, algorithm: &str) -> Result<Key> {
    let printed = output(Command::new(require("keymgr")?).args(["-t", name, algorithm]))?;
    let printed = String::from_utf8(printed)?;
    // A comment and `key:`, then the item of that list.
    let (_, clause) = printed.split_once("key:\n").ok_or("keymgr printed no key")?;
    let (_, secret) = clause.split_once("secret: ").ok_or("keymgr printed no secret")?;
    let secret = secret.trim().to_owned();
    Ok(Key { name: name.into(), algorithm: algorithm.into(), secret, clause: clause.into() })
}

/// Reads and writes nothing outside its folder, talks to nobody outside this machine.
///
/// Paths are relative, because the name of a socket has to be short. Changes stay in memory, since nobody
/// starts this server twice.
fn configuration(port: u16, keys: &Keys, zones: &[Zone]) -> String {
    let key_items = keys.clauses();
    let all_keys = keys.all.iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(", ");
    let limited_owners = zones::limited_owners().map(|owner| format!("{owner}.")).join(", ");
    let zone_items: String = zones.iter().map(zone_item).collect();
    // A signed question needs a right of its own; one that is not signed needs none.
    format!(
        "\
server:
    rundir: .
    listen: 127.0.0.1@{port}
    udp-workers: 1
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: info
database:
    storage: .
key:
{key_items}
acl:
  - id: transfer
    address: 127.0.0.0/8
    action: transfer
  - id: update
    key: [{all_keys}]
    action: [query, update]
  - id: ask
    key: [{all_keys}]
    action: query
  - id: limited
    key: {LIMITED_KEY}
    action: [query, update]
    update-type: TXT
    update-owner: name
    update-owner-match: equal
    update-owner-name: [{limited_owners}]
template:
  - id: default
    storage: .
    zonefile-sync: -1
    journal-content: none
zone:
{zone_items}"
    )
}

fn zone_item(zone: &Zone) -> String {
    let acl = match zone.updates {
        Updates::ByAllKeys => "update",
        Updates::Limited => "limited",
        Updates::ByNobody => "ask",
    };
    format!("  - domain: {}\n    file: {}\n    acl: [transfer, {acl}]\n", zone.name, zone.file_name())
}
