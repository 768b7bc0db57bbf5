//! What is checked before a connection is made. What needs a server is in `tests/real_ssh`, with the conformance suite.

use std::sync::Arc;

use certlife_core::{
    CertificateId, CsrTemplate, Deployer as _, ErrorKind, KeyAlgorithm, KeyId, PrivateKey, SystemClock,
    Timestamp, deploy::KeyRequest,
};
use serde_json::{Value, json};

use super::{HostKey, Login, Preset, Server, Settings, Ssh};

const HOST: &str = include_str!("../remote/fixtures/ed25519.pub");

fn settings() -> Value {
    let key = PrivateKey::generate(KeyAlgorithm::Ed25519).unwrap().to_pkcs8_pem().unwrap();
    json!({
        "server": {
            "host": "www.example.org",
            "user": "deploy",
            "login": { "method": "key", "private_key": key.expose() },
            "host_key": { "pinned": [HOST] },
        },
        "directory": "/srv/certificates",
    })
}

fn build(settings: Value) -> Result<Ssh, String> {
    let settings: Settings = serde_json::from_value(settings).map_err(|error| error.to_string())?;
    Ssh::from_settings(settings, Arc::new(SystemClock::default())).map_err(|error| error.to_string())
}

#[test]
fn bad_settings_are_named() {
    build(settings()).unwrap();
    for (setting, value) in [
        ("directory", json!("certificates")),
        ("directory", json!("/")),
        ("directory", json!("/srv/../etc")),
        ("directory", json!("/srv//certificates")),
        ("directory", json!("/srv/\n")),
        ("web_root", json!("htdocs")),
        ("key_mode", json!("0644")),
        ("certificate_mode", json!("0666")),
        ("directory_mode", json!("0777")),
        ("owner", json!("a:b")),
        ("group", json!("")),
        ("keep", json!(101)),
        ("command_timeout_seconds", json!(0)),
        ("connect_timeout_seconds", json!(301)),
        ("check", json!(["bin/check"])),
        ("check", json!(["{directory}/check"])),
        ("reload", json!(["systemctl", "reload\u{0}"])),
        ("files[0].name", json!([{ "name": "privkey.pem", "form": { "format": "pkcs7" } }])),
    ] {
        let mut changed = settings();
        changed[setting.split('[').next().unwrap()] = value.clone();
        let error = build(changed).unwrap_err();
        assert!(error.starts_with(&format!("setting `{setting}`")), "{value}: {error}");
    }
    for missing in ["server", "directory"] {
        let mut changed = settings();
        changed.as_object_mut().unwrap().remove(missing);
        assert!(build(changed).unwrap_err().contains(missing));
    }
    for part in ["login", "host_key", "user", "host"] {
        let mut changed = settings();
        changed["server"].as_object_mut().unwrap().remove(part);
        assert!(build(changed).unwrap_err().contains(part), "{part}");
    }
}

#[test]
fn settings_and_builder_say_the_same() {
    let mut stored = settings();
    let login = Login::key(stored["server"]["login"]["private_key"].as_str().unwrap());
    for (setting, value) in [
        ("preset", json!("nginx")),
        ("sudo", json!("commands")),
        ("group", json!("ssl-cert")),
        ("key_mode", json!("0640")),
        ("command_timeout_seconds", json!(2)),
        ("connect_timeout_seconds", json!(5)),
        ("web_root", json!("/srv/web")),
        ("reload", json!(["true"])),
    ] {
        stored[setting] = value;
    }
    let server = Server::new("www.example.org", "deploy", login, HostKey::pinned([HOST]));
    let built = Ssh::builder(server, "/srv/certificates/")
        .preset(Preset::Nginx)
        .sudo(super::Sudo::Commands)
        .group("ssl-cert")
        .key_mode(0o640)
        .command_timeout(std::time::Duration::from_millis(1_500))
        .connect_timeout(std::time::Duration::from_secs(5))
        .web_root("/srv/web")
        .reload(["true"])
        .build()
        .unwrap();
    assert_eq!(format!("{built:?}"), format!("{:?}", build(stored).unwrap()));
}

#[test]
fn a_preset_fills_in_what_is_left_out_and_nothing_else() {
    for (preset, program, combined) in [
        ("nginx", "nginx", false),
        ("apache", "apachectl", false),
        ("haproxy", "haproxy", true),
        ("postfix", "postfix", true),
        ("dovecot", "doveconf", false),
    ] {
        let mut chosen = settings();
        chosen["preset"] = json!(preset);
        let usual = format!("{:?}", build(chosen.clone()).unwrap());
        assert!(usual.contains(&format!("program: \"{program}\"")), "{preset}: {usual}");
        assert_eq!(usual.contains("combined.pem"), combined, "{preset}");
        chosen["check"] = json!([]);
        chosen["reload"] = json!(["/opt/reload"]);
        chosen["combined"] = json!(!combined);
        let own = format!("{:?}", build(chosen).unwrap());
        assert!(own.contains("check: None") && own.contains("/opt/reload"), "{preset}: {own}");
        assert_eq!(own.contains("combined.pem"), !combined, "{preset}");
    }
}

#[tokio::test]
async fn keys_are_not_made_there() {
    let ssh = build(settings()).unwrap();
    let wanted = KeyRequest {
        certificate: CertificateId::new("www").unwrap(),
        key: KeyId::new(Timestamp::from_unix_seconds(0), [7; 10]),
        algorithm: KeyAlgorithm::EcdsaP256,
        template: CsrTemplate::default(),
    };
    let error = ssh.make_key(&wanted).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Unsupported(_)), "{error}");
    assert!(ssh.capabilities().keys.is_empty());
}

#[test]
fn the_kind_is_registered_with_its_schema_and_secrets_are_write_only() {
    let mut registry = certlife_core::Registry::new();
    crate::register(&mut registry);
    let kinds = registry.kinds();
    let kind = kinds.iter().find(|kind| kind.kind == "ssh").unwrap();
    let properties = kind.settings["properties"].as_object().unwrap();
    assert!(properties.values().all(|property| property["description"].is_string()), "{properties:?}");
    assert_eq!(kind.settings["required"], json!(["server", "directory"]));
    assert_eq!(kind.settings["additionalProperties"], Value::Bool(false));
    let schema = kind.settings.to_string();
    assert_eq!(
        schema.matches("\"writeOnly\":true").count(),
        schema.matches("\"format\":\"password\"").count()
    );
    let login = &kind.settings["$defs"]["Login"]["oneOf"];
    for secret in ["private_key", "passphrase", "password"] {
        let found = login.as_array().unwrap().iter().find_map(|kind| kind["properties"].get(secret)).unwrap();
        assert!(found.to_string().contains("writeOnly"), "{secret}: {found}");
    }
}
