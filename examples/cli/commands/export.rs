//! Writing a version to files. A private key goes to a new file and nowhere else.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::Path,
};

use certlife::{CertificateId, VersionId};
use serde_json::json;

use super::Session;
use crate::{Failure, Outcome};

impl Session<'_> {
    pub(super) async fn export(
        &self,
        name: &CertificateId,
        version: Option<VersionId>,
        chain: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<Outcome, Failure> {
        let version = self.host.engine.version(self.version(name, version).await?).await?;
        if let Some(path) = key {
            // The audit trail shows that a key left.
            let export = self.host.engine.export(version.id).await?;
            let key =
                export.key.ok_or_else(|| Failure::Usage(format!("the key of {name} is not kept here")))?;
            write_key(path, key.to_pkcs8_pem()?.expose())
                .map_err(|error| Failure::File(path.display().to_string(), error))?;
        }
        if let Some(path) = chain {
            fs::write(path, version.chain.pem())
                .map_err(|error| Failure::File(path.display().to_string(), error))?;
        }
        let pem = (chain.is_none() && key.is_none()).then(|| version.chain.pem());
        let written = json!({ "version": version.id, "chain_file": chain, "key_file": key, "chain": pem });
        self.output.result(&written, || {
            pem.unwrap_or_else(|| format!("version {} of {name} is written", version.id))
        });
        Ok(Outcome::Done)
    }
}

/// Writes to a file that does not exist yet, so that no link leads the key elsewhere and no mode is inherited.
fn write_key(path: &Path, pem: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()
}
