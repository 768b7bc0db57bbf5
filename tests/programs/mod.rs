//! Runs the examples as processes, as a user does.

use std::{
    path::PathBuf,
    process::{Command, Output},
};

/// The features that this build has, so that building an example compiles nothing anew.
const FEATURES: [(&str, bool); 22] = [
    ("acme", cfg!(feature = "acme")),
    ("entrust", cfg!(feature = "entrust")),
    ("private-ca", cfg!(feature = "private-ca")),
    ("sectigo", cfg!(feature = "sectigo")),
    ("sslstore", cfg!(feature = "sslstore")),
    ("azure", cfg!(feature = "azure")),
    ("cloudflare", cfg!(feature = "cloudflare")),
    ("cloudns", cfg!(feature = "cloudns")),
    ("dnsmadeeasy", cfg!(feature = "dnsmadeeasy")),
    ("godaddy", cfg!(feature = "godaddy")),
    ("rfc2136", cfg!(feature = "rfc2136")),
    ("route53", cfg!(feature = "route53")),
    ("agent", cfg!(feature = "agent")),
    ("local", cfg!(feature = "local")),
    ("rustls", cfg!(feature = "rustls")),
    ("ssh", cfg!(feature = "ssh")),
    ("ssh-rsa", cfg!(feature = "ssh-rsa")),
    ("windows", cfg!(feature = "windows")),
    ("sqlite", cfg!(feature = "sqlite")),
    ("jks", cfg!(feature = "jks")),
    ("pkcs12", cfg!(feature = "pkcs12")),
    ("http", cfg!(feature = "http")),
];

/// Builds an example, if that is not done yet, and returns its path.
pub(crate) fn example(name: &str) -> PathBuf {
    let features: Vec<_> = FEATURES.iter().filter(|(_, on)| *on).map(|(feature, _)| *feature).collect();
    let mut build = Command::new(env!("CARGO"));
    build
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["build", "--package", "certlife", "--example", name, "--message-format", "json"])
        .args(["--features", &features.join(",")]);
    if !cfg!(feature = "default") {
        build.arg("--no-default-features");
    }
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    let output = build.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).unwrap();
    let messages = messages.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut found = messages.filter(|message| message["target"]["name"] == name);
    let path = found.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    path.unwrap_or_else(|| panic!("cargo names no program for the example {name}"))
}

/// What a process printed, standard output first.
pub(crate) fn printed(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
