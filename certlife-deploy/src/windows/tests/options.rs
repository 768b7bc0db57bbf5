//! Settings, and what is printed of them.

use certlife_core::Deployer as _;
use serde_json::{Value, json};

use super::super::*;

fn settings(change: impl FnOnce(&mut Value)) -> Value {
    let mut settings = json!({ "connection": { "kind": "local" } });
    change(&mut settings);
    settings
}

fn refusal(settings: &Value) -> String {
    let settings: Settings = serde_json::from_value(settings.clone()).unwrap();
    let clock = std::sync::Arc::new(certlife_core::SystemClock::default());
    Windows::from_settings(settings, clock).unwrap_err().to_string()
}

#[test]
fn bad_settings_are_named() {
    let long = "x".repeat(1_001);
    for (setting, value) in [
        ("store", json!("")),
        ("store", json!(r"My\..")),
        ("store", json!("My/*")),
        ("accounts", json!([""])),
        ("accounts", json!(["a\u{0}"])),
        ("friendly_name", json!("a [certlife:www:1]")),
        ("friendly_name", json!("x".repeat(501))),
        ("central_store.path", json!({ "path": "certificates", "password": "x" })),
        ("central_store.path", json!({ "path": r"C:\a\..\b", "password": "x" })),
        ("central_store.path", json!({ "path": r"\\?\C:\a", "password": "x" })),
        ("central_store.path", json!({ "path": r"\\server", "password": "x" })),
        ("central_store.password", json!({ "path": r"C:\certificates", "password": "" })),
        ("central_store.password", json!({ "path": r"\\server\share", "password": "pässword" })),
        ("keep", json!(21)),
        ("challenge_site", json!("")),
        ("challenge_site", json!(long)),
        ("timeout_seconds", json!(9)),
        ("connection.program", json!({ "kind": "local", "program": "powershell.exe" })),
        ("bindings.site", json!([{ "site": " ", "each_name": true }])),
        ("bindings.port", json!([{ "site": "a", "each_name": true, "port": 0 }])),
        ("bindings.host", json!([{ "site": "a", "each_name": true, "host": "www.example.org" }])),
        ("bindings.host", json!([{ "site": "a", "host": "192.0.2.1" }])),
        ("bindings.host", json!([{ "site": "a", "host": "a b" }])),
        ("bindings.sni", json!([{ "site": "a", "sni": true, "certificate": "www" }])),
        ("bindings.certificate", json!([{ "site": "a" }])),
        ("bindings.certificate", json!([{ "site": "a", "certificate": "../www" }])),
        ("bindings.central", json!([{ "site": "a", "host": "www.example.org", "central": true }])),
        ("bindings.central", json!([{ "site": "a", "certificate": "www", "central": true }])),
    ] {
        let field = setting.split('.').next().unwrap();
        let message = refusal(&settings(|all| all[field] = value.clone()));
        assert!(message.starts_with(&format!("setting `{setting}`")), "{value}: {message}");
        assert!(!message.contains("pässword"), "{message}");
    }
    for unknown in [
        json!({}),
        json!({ "connection": { "kind": "winrm" } }),
        settings(|all| all["shell"] = json!("cmd")),
        settings(|all| all["bindings"] = json!([{ "site": "a", "ssl": true }])),
        settings(|all| all["connection"]["user"] = json!("x")),
    ] {
        assert!(serde_json::from_value::<Settings>(unknown.clone()).is_err(), "{unknown}");
    }
}

#[test]
fn settings_and_builder_say_the_same() {
    let built = Windows::builder(Connection::local())
        .store("WebHosting")
        .exportable(true)
        .account(r"IIS AppPool\www")
        .friendly_name("Web")
        .binding(
            Binding::new("Shop").host("shop.example.org").address("192.0.2.1".parse().unwrap()).port(8443),
        )
        .binding(Binding::new("Shop").each_name(true).central(true).certificate("www"))
        .central_store(CentralStore::new(r"\\files\certificates$\iis", "secret phrase"))
        .keep(3)
        .challenge_site("Shop")
        .pfx(Pfx::Legacy)
        .timeout(std::time::Duration::from_millis(59_500))
        .build()
        .unwrap();
    let stored: Settings = serde_json::from_value(json!({
        "connection": { "kind": "local" }, "store": "WebHosting", "exportable": true,
        "accounts": [r"IIS AppPool\www"], "friendly_name": "Web",
        "bindings": [
            { "site": "Shop", "host": "shop.example.org", "address": "192.0.2.1", "port": 8443 },
            { "site": "Shop", "each_name": true, "central": true, "certificate": "www" },
        ],
        "central_store": { "path": r"\\files\certificates$\iis", "password": "secret phrase" },
        "keep": 3, "challenge_site": "Shop", "pfx": "legacy", "timeout_seconds": 60,
    }))
    .unwrap();
    let clock = std::sync::Arc::new(certlife_core::SystemClock::default());
    let again = Windows::from_settings(stored, clock).unwrap();
    assert_eq!(format!("{built:?}"), format!("{again:?}"));
    assert!(!format!("{built:#?}").contains("secret phrase"));
}

#[test]
fn the_kind_is_registered_with_its_schema() {
    let mut registry = certlife_core::Registry::new();
    crate::register(&mut registry);
    let kinds = registry.kinds();
    let kind = kinds.iter().find(|kind| kind.kind == "windows").unwrap();
    let properties = kind.settings["properties"].as_object().unwrap();
    assert!(properties.values().all(|property| property["description"].is_string()), "{properties:?}");
    assert_eq!(kind.settings["required"], json!(["connection"]));
    assert_eq!(kind.settings["additionalProperties"], Value::Bool(false));
    let password = &kind.settings["$defs"]["CentralStore"]["properties"]["password"];
    assert_eq!(password["writeOnly"], Value::Bool(true));
}

#[test]
fn capabilities_follow_the_settings() {
    let plain = Windows::builder(Connection::local()).build().unwrap();
    assert!(plain.capabilities().challenges.is_empty() && plain.capabilities().keys.is_empty());
    let shown = Windows::builder(Connection::local()).challenge_site("a").build().unwrap();
    assert_eq!(shown.capabilities().challenges, [ChallengeKind::Http].into());
}
