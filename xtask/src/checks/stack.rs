//! One TLS stack, one crypto library: what a host compiles when it switches everything on.

use std::collections::BTreeSet;

use crate::process::{cargo, output};
use crate::workspace::FACADE;
use crate::{Result, Workspace};

/// Present in exactly one version, because two do not share types, providers or a build.
const ONE: [&str; 3] = ["rustls", "aws-lc-rs", "aws-lc-sys"];
/// Second stacks, and their usual ways in.
const NONE: [&str; 6] = ["ring", "openssl", "openssl-sys", "native-tls", "boring", "hickory-client"];
/// Each platform resolves to its own graph.
const TARGETS: [&str; 3] = ["x86_64-unknown-linux-gnu", "x86_64-pc-windows-msvc", "aarch64-apple-darwin"];

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let mut wrong = Vec::new();
    for target in TARGETS {
        let packages = packages(workspace, target)?;
        let versions = |name: &str| -> Vec<&str> {
            packages
                .iter()
                .filter(|(package, _)| package == name)
                .map(|(_, version)| version.as_str())
                .collect()
        };
        for name in ONE {
            let found = versions(name);
            if found.len() != 1 {
                wrong.push(format!("{target}: wanted one {name}, found {found:?}"));
            }
        }
        for name in NONE {
            if let [version, ..] = versions(name)[..] {
                wrong.push(format!(
                    "{target}: {name} {version} came in; see cargo tree -p {FACADE} --all-features -e normal \
                     --target {target} -i {name}"
                ));
            }
        }
        println!("{target}: {} packages", packages.len());
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n").into()) }
}

/// Every package that ends up in a host's binary, with its version.
fn packages(workspace: &Workspace, target: &str) -> Result<BTreeSet<(String, String)>> {
    let mut tree = cargo(&workspace.root);
    tree.args(["tree", "-p", FACADE, "--all-features", "-e", "normal", "--prefix", "none"]);
    tree.args(["--format", "{p}", "--target", target]);
    let listing = String::from_utf8(output(&mut tree)?)?;
    let package = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()))
    };
    Ok(listing.lines().filter_map(package).collect())
}
