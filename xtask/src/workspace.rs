//! Where things are in this repository, and what cargo knows about its packages.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Result;
use crate::process;

/// The package that hosts depend on; its features are the ones that users see.
pub(crate) const FACADE: &str = "certlife";

/// This repository, as cargo describes it.
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    target: PathBuf,
    packages: Vec<Value>,
}

impl Workspace {
    /// Asks cargo.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("xtask has no parent folder")?;
        let mut metadata = process::cargo(root);
        metadata.args(["metadata", "--no-deps", "--format-version", "1"]);
        let metadata: Value = serde_json::from_slice(&process::output(&mut metadata)?)?;
        let target =
            metadata["target_directory"].as_str().ok_or("cargo metadata names no target directory")?;
        let packages = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
        Ok(Self { root: root.to_owned(), target: target.into(), packages: packages.clone() })
    }

    /// A folder of our own that `cargo clean` removes.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.target.join("xtask")
    }

    /// The features of one package with what each switches on, sorted by name.
    pub(crate) fn features(&self, package: &str) -> Result<Vec<(String, Vec<String>)>> {
        let package = self
            .packages
            .iter()
            .find(|candidate| candidate["name"] == package)
            .ok_or_else(|| format!("no package {package} in this workspace"))?;
        let features = package["features"].as_object().ok_or("cargo metadata lists no features")?;
        let enables = |value: &Value| {
            let names = value.as_array().into_iter().flatten();
            names.filter_map(|name| name.as_str().map(str::to_owned)).collect()
        };
        Ok(features.iter().map(|(name, value)| (name.clone(), enables(value))).collect())
    }
}
