//! [Pebble](https://github.com/letsencrypt/pebble), the ACME test server, and its mock DNS and challenge server.
//!
//! Three instances that differ in what they validate through and whom they accept. All are strict, reject
//! a share of good nonces and offer alternate chains, because real authorities do.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::Server;
use super::authority::Loopback;
use crate::Result;
use crate::fleet::{Site, accepts};
use crate::tools::{Tools, go_install};

/// `go list -m -versions github.com/letsencrypt/pebble/v2` tells the newest.
const VERSION: &str = "v2.10.1";
const MODULE: &str = "github.com/letsencrypt/pebble/v2/cmd";

/// What Pebble reads from its environment (`grep -rn Getenv` over its source names them all).
const ENVIRONMENT: [(&str, &str); 4] = [
    ("PEBBLE_WFE_NONCEREJECT", "20"),
    ("PEBBLE_VA_NOSLEEP", "1"),
    ("PEBBLE_ALTERNATE_ROOTS", "2"),
    ("PEBBLE_CHAIN_LENGTH", "2"),
];

/// External account keys, base64url without padding as Pebble wants them. They protect nothing.
const EXTERNAL_ACCOUNTS: [(&str, &str); 2] = [
    ("certlife-1", "Y2VydGxpZmUgdGVzdCBrZXkgbnVtYmVyIG9uZSwgbm90IGEgc2VjcmV0"),
    ("certlife-2", "Y2VydGxpZmUgdGVzdCBrZXkgbnVtYmVyIHR3bywgbm90IGEgc2VjcmV0"),
];

pub(super) struct Pebble;

/// How one instance differs from the others.
struct Instance {
    name: &'static str,
    /// Who answers its DNS questions.
    resolver: String,
    /// Key algorithm of its chains: `ecdsa` or `rsa`.
    chains: &'static str,
    /// How many of a hundred valid authorizations it reuses in later orders.
    authorization_reuse: u8,
    external_account_required: bool,
}

/// What all instances share.
struct Common<'a> {
    program: &'a Path,
    tls: &'a Loopback,
    /// Where challenges are asked for: plain HTTP, and TLS-ALPN.
    http_port: u16,
    tls_port: u16,
}

impl Server for Pebble {
    fn name(&self) -> &'static str {
        "pebble"
    }

    fn install(&self, tools: &Tools) -> Result<()> {
        Loopback::install(tools)?;
        let folder = tools.folder("pebble", VERSION);
        go_install(&folder, &format!("{MODULE}/pebble"), VERSION)?;
        go_install(&folder, &format!("{MODULE}/pebble-challtestsrv"), VERSION)
    }

    fn start(&self, tools: &Tools, site: &mut Site) -> Result<Value> {
        let programs = tools.folder("pebble", VERSION);
        let tls = Loopback::issue(&site.folder("pebble")?)?;
        let (http_port, tls_port) = (site.ports.take()?, site.ports.take()?);
        let (mock_dns, mock) = start_mock(&programs, site, http_port, tls_port)?;

        let common = Common { program: &programs.join("pebble"), tls: &tls, http_port, tls_port };
        let instances = [
            Instance {
                name: "mock_dns",
                resolver: mock_dns.to_string(),
                chains: "ecdsa",
                authorization_reuse: 0,
                external_account_required: false,
            },
            Instance {
                name: "bind_dns",
                resolver: site.coordinate("bind", "address")?,
                chains: "ecdsa",
                authorization_reuse: 0,
                external_account_required: false,
            },
            Instance {
                name: "external_account",
                resolver: mock_dns.to_string(),
                chains: "rsa",
                authorization_reuse: 100,
                external_account_required: true,
            },
        ];
        let mut coordinates = json!({ "challenge_server": mock });
        for instance in instances {
            coordinates[instance.name] = start_instance(&instance, &common, site)?;
        }
        Ok(coordinates)
    }
}

/// Starts the mock DNS server, which also answers challenges on `127.0.0.1`.
///
/// Tests that answer challenges themselves do so on the same ports of another loopback address, to which
/// they point the name. There is no IPv6 default answer, because Pebble would prefer it.
fn start_mock(
    programs: &Path,
    site: &mut Site,
    http_port: u16,
    tls_port: u16,
) -> Result<(SocketAddr, Value)> {
    let dns = loopback(site.ports.take()?);
    let management = loopback(site.ports.take()?);
    let (http, tls) = (loopback(http_port), loopback(tls_port));
    let mut mock = Command::new(programs.join("pebble-challtestsrv"));
    mock.args(["-doh", "", "-https01", "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]);
    for (option, address) in
        [("-dnsserver", dns), ("-management", management), ("-http01", http), ("-tlsalpn01", tls)]
    {
        mock.args([option, &address.to_string()]);
    }
    site.launch("challtestsrv", &mock, || [dns, management, http, tls].into_iter().all(accepts))?;
    Ok((dns, json!({ "management_url": format!("http://{management}/"), "dns": dns })))
}

fn start_instance(instance: &Instance, common: &Common<'_>, site: &mut Site) -> Result<Value> {
    let folder = site.folder("pebble")?;
    let acme = loopback(site.ports.take()?);
    let management = loopback(site.ports.take()?);
    let external_accounts: &[(&str, &str)] =
        if instance.external_account_required { &EXTERNAL_ACCOUNTS } else { &[] };
    let config = json!({ "pebble": {
        "listenAddress": acme,
        "managementListenAddress": management,
        "certificate": common.tls.certificate,
        "privateKey": common.tls.key,
        "httpPort": common.http_port,
        "tlsPort": common.tls_port,
        "externalAccountBindingRequired": instance.external_account_required,
        "externalAccountMACKeys":
            external_accounts.iter().map(|(id, key)| ((*id).to_owned(), json!(key))).collect::<serde_json::Map<_, _>>(),
        "domainBlocklist": ["blocked.test"],
        "retryAfter": { "authz": 1, "order": 1 },
        "keyAlgorithm": instance.chains,
        "profiles": {
            "default": { "description": "ninety days", "validityPeriod": 90 * 86_400 },
            "shortlived": { "description": "six days", "validityPeriod": 6 * 86_400 },
        },
    }});
    let config_path = folder.join(format!("{}.json", instance.name));
    fs::write(&config_path, serde_json::to_vec_pretty(&config)?)?;

    let mut pebble = Command::new(common.program);
    pebble.arg("-strict").args(["-dnsserver", &instance.resolver]).arg("-config").arg(config_path);
    pebble.envs(ENVIRONMENT).env("PEBBLE_AUTHZREUSE", instance.authorization_reuse.to_string());
    site.launch(&format!("pebble-{}", instance.name), &pebble, || accepts(acme) && accepts(management))?;
    Ok(json!({
        "directory_url": format!("https://{acme}/dir"),
        "management_url": format!("https://{management}/"),
        "tls_roots": common.tls.root,
        "http_port": common.http_port,
        "tls_port": common.tls_port,
        "external_accounts": external_accounts
            .iter()
            .map(|(id, key)| json!({ "key_id": id, "hmac_key": key }))
            .collect::<Vec<_>>(),
    }))
}

fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
