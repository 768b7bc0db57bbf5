//! Every vendor keeps the promises that all vendors make: tested by the contract's suite, optional by a
//! feature of its crate and of the facade, and listed where users look.
//!
//! A vendor is a folder below the `src` of a vendor crate. Everything is found by looking, so that a
//! forgotten vendor cannot be forgotten here too.

use std::fs;
use std::path::{Path, PathBuf};

use crate::workspace::FACADE;
use crate::{Result, Workspace};

const CRATES: [&str; 4] = ["certlife-ca", "certlife-dns", "certlife-deploy", "certlife-store"];
/// Vendors without a feature: they cost nothing and the engine's own documentation uses them.
const ALWAYS_ON: [(&str, &str); 2] = [("certlife-dns", "manual"), ("certlife-store", "memory")];
/// Folders that are no vendor but what several have in common.
const SHARED: [(&str, &str); 3] =
    [("certlife-deploy", "files"), ("certlife-deploy", "remote"), ("certlife-deploy", "versions")];
/// How the use of a suite of the testkit looks: `dns_conformance!(…)`.
const SUITE: &str = "_conformance!";

struct Vendor {
    package: &'static str,
    name: String,
    folder: PathBuf,
}

pub(super) fn check(workspace: &Workspace) -> Result<()> {
    let readme = fs::read_to_string(workspace.root.join("README.md")).unwrap_or_default();
    let facade = workspace.features(FACADE)?;
    let mut wrong = Vec::new();
    if readme.is_empty() {
        wrong.push("README.md is missing; users look there for the table of vendors".to_owned());
    }
    for package in CRATES {
        let own: Vec<String> = workspace.features(package)?.into_iter().map(|(name, _)| name).collect();
        let source = workspace.root.join(package).join("src");
        let crate_docs = fs::read_to_string(source.join("lib.rs"))?;
        for vendor in vendors(package, &source)? {
            println!("{package}: {}", vendor.name);
            let mut missing = |what: String| wrong.push(format!("{}: {what}", vendor.folder.display()));
            let real = workspace.root.join(package).join("tests").join(format!("real_{}", vendor.name));
            let is_tested = runs_a_suite(&vendor.folder)? || real.is_dir() && runs_a_suite(&real)?;
            if !is_tested {
                missing(format!("no test of its runs a conformance suite (<contract>{SUITE})"));
            }
            let shown_as = match feature(&vendor, &own, &facade) {
                Ok(name) => name,
                Err(problem) => {
                    missing(problem);
                    continue;
                }
            };
            if !has_row(&readme, &shown_as) {
                missing(format!("no table row in README.md has `{shown_as}` in code style"));
            }
            if !is_documented(&crate_docs, &vendor.name) {
                missing(format!("no //! line in {package}/src/lib.rs has `{}` in code style", vendor.name));
            }
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(format!("\n{}", wrong.join("\n")).into()) }
}

fn vendors(package: &'static str, source: &Path) -> Result<Vec<Vendor>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(source)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !SHARED.contains(&(package, name.as_str())) {
                found.push(Vendor { package, name, folder: entry.path() });
            }
        }
    }
    found.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(found)
}

/// The name under which users switch the vendor on; its own name if it is always on.
fn feature(vendor: &Vendor, own: &[String], facade: &[(String, Vec<String>)]) -> Result<String, String> {
    let Vendor { package, name, .. } = vendor;
    if ALWAYS_ON.contains(&(*package, name.as_str())) {
        return Ok(name.clone());
    }
    // Folder names are module names; the feature may have a dash where those cannot.
    let spelled = name.replace('_', "-");
    let Some(own) = own.iter().find(|feature| **feature == *name || **feature == spelled) else {
        return Err(format!("{package} has no feature `{spelled}`"));
    };
    let enabling = format!("{package}/{own}");
    let by_facade =
        facade.iter().find(|(feature, enables)| feature != "default" && enables.contains(&enabling));
    by_facade
        .map(|(feature, _)| feature.clone())
        .ok_or_else(|| format!("no feature of {FACADE} enables {enabling}"))
}

/// Looks through a folder of the vendor: its tests live beside it, or in `tests/real_<vendor>` if they take a server.
fn runs_a_suite(folder: &Path) -> Result<bool> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let runs = if entry.file_type()?.is_dir() {
            runs_a_suite(&path)?
        } else {
            path.extension().is_some_and(|extension| extension == "rs")
                && uses_suite(&fs::read_to_string(&path)?)
        };
        if runs {
            return Ok(true);
        }
    }
    Ok(false)
}

fn uses_suite(source: &str) -> bool {
    source.lines().any(|line| line.contains(SUITE) && !line.trim_start().starts_with("//"))
}

fn has_row(document: &str, name: &str) -> bool {
    document.lines().any(|line| line.trim_start().starts_with('|') && in_code_style(line, name))
}

fn is_documented(source: &str, name: &str) -> bool {
    source.lines().any(|line| line.starts_with("//!") && in_code_style(line, name))
}

fn in_code_style(line: &str, name: &str) -> bool {
    line.contains(&format!("`{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facade() -> Vec<(String, Vec<String>)> {
        vec![
            ("default".into(), vec!["certlife-dns/in_bulk".into()]),
            ("dns-in-bulk".into(), vec!["certlife-dns/in-bulk".into()]),
        ]
    }

    fn vendor(name: &str) -> Vendor {
        Vendor { package: "certlife-dns", name: name.into(), folder: PathBuf::new() }
    }

    #[test]
    fn a_vendor_is_known_by_the_facade_feature_that_enables_its_own() {
        let own = ["in-bulk".to_owned()];
        assert_eq!(feature(&vendor("in_bulk"), &own, &facade()), Ok("dns-in-bulk".into()));
    }

    #[test]
    fn a_feature_missing_in_either_crate_is_told_apart() {
        let own = ["in-bulk".to_owned(), "forgotten".to_owned()];
        let unknown = feature(&vendor("unknown"), &own, &facade()).unwrap_err();
        assert_eq!(unknown, "certlife-dns has no feature `unknown`");
        let forgotten = feature(&vendor("forgotten"), &own, &facade()).unwrap_err();
        assert_eq!(forgotten, "no feature of certlife enables certlife-dns/forgotten");
    }

    #[test]
    fn a_vendor_that_is_always_on_needs_no_feature() {
        assert_eq!(feature(&vendor("manual"), &[], &facade()), Ok("manual".into()));
    }

    #[test]
    fn only_table_rows_and_crate_docs_count_as_documentation() {
        assert!(has_row("| Route 53 | `route53` |", "route53"));
        assert!(!has_row("Try `route53` some day.", "route53"));
        assert!(!has_row("| Route 53 | `route53-beta` |", "route53"));
        assert!(is_documented("//! * [`route53`]: Amazon", "route53"));
        assert!(!is_documented("// `route53`", "route53"));
    }

    #[test]
    fn a_suite_in_a_comment_is_not_a_test() {
        assert!(uses_suite("certlife_testkit::dns_conformance!(Fake::start());"));
        assert!(!uses_suite("// dns_conformance!(Fake::start());"));
    }
}
