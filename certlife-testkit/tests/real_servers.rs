//! The servers of `cargo xtask test` do what `certlife_testkit::servers` says of them.
#![expect(clippy::unwrap_used, reason = "helpers of tests are tests to us, if not to the lint")]

use certlife_testkit::servers::{NameServer, Pebble, Servers};
use reqwest::{Certificate, Client};
use serde_json::Value;

fn name_servers() -> [NameServer; 2] {
    let servers = Servers::from_env();
    [servers.bind.name_server, servers.knot]
}

/// Whether a key lacks a right, as BIND says it and as Knot does.
fn is_refusal(words: &str) -> bool {
    words.contains("REFUSED") || words.contains("BADKEY")
}

#[tokio::test]
async fn each_tsig_key_adds_a_value_and_removes_it() {
    for server in name_servers() {
        assert!(server.keys.len() >= 4, "at least SHA-224 to SHA-512 are supported: {:?}", server.keys);
        for key in &server.keys {
            let name = format!("_acme-challenge.{}.{}", key.algorithm, server.zone);
            let record = format!("{name} 1 TXT \"value of {}\"", key.algorithm);
            server.update(key, &server.zone, &[&format!("update add {record}")]).await.unwrap();
            assert_eq!(server.txt_values(&name).await, [format!("value of {}", key.algorithm)]);
            server.update(key, &server.zone, &[&format!("update delete {record}")]).await.unwrap();
            assert_eq!(server.txt_values(&name).await, [""; 0]);
        }
    }
}

#[tokio::test]
async fn a_key_with_another_secret_is_refused() {
    for server in name_servers() {
        let mut forged = server.key("hmac-sha256").clone();
        forged.secret = server.limited.key.secret.clone();
        let refusal =
            server.update(&forged, &server.zone, &["update add forged.certlife.test 1 TXT x"]).await;
        assert!(refusal.unwrap_err().contains("BADSIG"));
    }
}

#[tokio::test]
async fn the_limited_key_changes_challenge_names_only() {
    for server in name_servers() {
        let limited = &server.limited;
        for owner in &limited.owners {
            let add = format!("update add {owner} 1 TXT \"mine\"");
            server.update(&limited.key, &limited.zone, &[&add]).await.unwrap();
            assert_eq!(server.txt_values(owner).await, ["mine"]);
            let delete = format!("update delete {owner} TXT");
            server.update(&limited.key, &limited.zone, &[&delete]).await.unwrap();
        }
        assert_eq!(server.txt_count(&limited.zone).await, 0);

        let elsewhere = format!("update add other.{} 1 TXT \"not mine\"", limited.zone);
        let other_type = format!("update add {} 1 CAA 0 issue \"ca.test\"", limited.owners[0]);
        for change in [elsewhere, other_type] {
            let refusal = server.update(&limited.key, &limited.zone, &[&change]).await.unwrap_err();
            assert!(is_refusal(&refusal), "{refusal}");
        }
    }
}

#[tokio::test]
async fn the_read_only_zone_refuses_every_key() {
    for server in name_servers() {
        let add = format!("update add a.{} 1 TXT \"x\"", server.read_only_zone);
        for key in server.keys.iter().chain([&server.limited.key]) {
            let refusal = server.update(key, &server.read_only_zone, &[&add]).await.unwrap_err();
            assert!(is_refusal(&refusal), "{refusal}");
        }
    }
}

#[tokio::test]
async fn a_spare_zone_is_empty_and_counts_what_is_added() {
    let bind = Servers::from_env().bind;
    let (key, zone) = (bind.key("hmac-sha256"), &bind.spare_zones[0]);
    assert_eq!(bind.txt_count(zone).await, 0);
    let add = |value: &str| format!("update add a.{zone} 1 TXT \"{value}\"");
    bind.update(key, zone, &[&add("one"), &add("two")]).await.unwrap();
    assert_eq!(bind.txt_count(zone).await, 2);
    bind.update(key, zone, &[&format!("update delete a.{zone}")]).await.unwrap();
    assert_eq!(bind.txt_count(zone).await, 0);
}

#[tokio::test]
async fn the_zones_hang_together_as_described() {
    let bind = Servers::from_env().bind;
    let records = bind.records(&bind.zone).await;
    let has = |owner: &str, kind: &str, data: &str| {
        let found = records.iter().any(|record| {
            record.owner == owner && record.kind == kind && record.data.trim_end_matches('.') == data
        });
        assert!(found, "{owner} {kind} {data} is not among {records:?}");
    };
    has(&bind.sub_zone, "NS", "ns1.certlife.test");
    has("ns1.certlife.test", "A", "127.0.0.1");
    has(&format!("_acme-challenge.{}", bind.delegation.identifier), "CNAME", &bind.delegation.target);
    assert!(bind.delegation.target.ends_with(&bind.delegation.alias_zone));
}

#[tokio::test]
async fn the_resolver_follows_an_alias_into_another_zone() {
    let bind = Servers::from_env().bind;
    let (key, delegation) = (bind.key("hmac-sha512"), &bind.delegation);
    let record = format!("{} 1 TXT \"seen through the alias\"", delegation.target);
    bind.update(key, &delegation.alias_zone, &[&format!("update add {record}")]).await.unwrap();
    let alias = format!("_acme-challenge.{}", delegation.identifier);
    assert_eq!(bind.resolve_txt(&alias).await, ["seen through the alias"]);
    assert_eq!(bind.txt_values(&alias).await, [""; 0]);
    bind.update(key, &delegation.alias_zone, &[&format!("update delete {record}")]).await.unwrap();
    assert_eq!(bind.resolve_txt(&alias).await, [""; 0]);
}

#[tokio::test]
async fn each_pebble_has_a_directory_with_the_two_profiles() {
    let pebble = Servers::from_env().pebble;
    for (server, bound) in
        [(&pebble.mock_dns, false), (&pebble.bind_dns, false), (&pebble.external_account, true)]
    {
        let meta = &directory(server).await["meta"];
        assert_eq!(meta["externalAccountRequired"].as_bool().unwrap_or_default(), bound);
        assert_eq!(!server.external_accounts.is_empty(), bound);
        let profiles: Vec<_> = meta["profiles"].as_object().unwrap().keys().collect();
        assert_eq!(profiles, ["default", "shortlived"]);
    }
}

#[tokio::test]
async fn each_pebble_shows_three_chains_and_knows_no_foreign_certificate() {
    let pebble = Servers::from_env().pebble;
    for server in [&pebble.mock_dns, &pebble.bind_dns, &pebble.external_account] {
        let roots = server.roots_pem().await;
        assert_eq!(roots.len(), 3, "the default chain and two alternate ones");
        assert!(roots.iter().all(|root| root.starts_with("-----BEGIN CERTIFICATE-----")));
        assert_eq!(server.intermediates_pem().await.len(), 3);
        assert_eq!(server.certificate_status("abc123").await, None);
    }
}

#[tokio::test]
async fn the_challenge_server_serves_http_01_where_pebble_asks() {
    let pebble = Servers::from_env().pebble;
    let mock = &pebble.challenge_server;
    mock.add_http01("token-of-this-test", "token-of-this-test.thumbprint").await;
    let host = format!("127.0.0.1:{}", pebble.mock_dns.http_port);
    let url = format!("http://{host}/.well-known/acme-challenge/token-of-this-test");
    let body = client(&pebble.mock_dns).get(&url).send().await.unwrap().text().await.unwrap();
    assert_eq!(body, "token-of-this-test.thumbprint");
    assert!(mock.http_requests("127.0.0.1").await + mock.http_requests(&host).await >= 1);
    mock.remove_http01("token-of-this-test").await;
}

#[tokio::test]
async fn tests_listen_beside_the_challenge_server() {
    let pebble = Servers::from_env().pebble.mock_dns;
    let ((first, one), (second, two)) = (pebble.listen_http().await, pebble.listen_http().await);
    assert_ne!(first, second);
    assert_eq!(one.local_addr().unwrap().port(), pebble.http_port);
    assert_eq!(two.local_addr().unwrap().port(), pebble.http_port);
}

async fn directory(pebble: &Pebble) -> Value {
    let answer = client(pebble).get(&pebble.directory_url).send().await.unwrap();
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

fn client(pebble: &Pebble) -> Client {
    let root = Certificate::from_pem(pebble.tls_roots_pem().as_bytes()).unwrap();
    let builder = Client::builder().tls_certs_only([root]).no_proxy();
    builder.user_agent("certlife-tests").build().unwrap()
}

#[tokio::test]
async fn the_machine_has_users_places_and_small_disks() {
    let machine = Servers::from_env().openssh;
    let place = machine.place();
    let script =
        format!("id -un; sudo -n id -un; cd {} && echo text > file && ls {}", place.inside(), place.inside());
    assert_eq!(machine.run(&script).await, format!("{}\nroot\nfile\n", machine.user));
    assert_eq!(std::fs::read_to_string(place.outside().join("file")).unwrap(), "text\n");
    let full = format!(
        "dd if=/dev/zero of={0}/filler bs=1k count=1024 2>&1 | grep -c 'No space'; rm {0}/filler; \
         touch {1}/x 2>&1 | grep -c 'Read-only'",
        machine.small_disk(),
        machine.read_only_disk()
    );
    assert_eq!(machine.run(&full).await, "1\n1\n");
}
