//! Writing a version to files. A private key goes to a new file and nowhere else.

use std::path::PathBuf;

use certlife::{CertificateId, VersionId};
use clap::Args;
use serde_json::json;

use super::Session;
use crate::{
    Failure, Outcome,
    forms::{self, Format, Protection},
};

/// Which files are written.
#[derive(Debug, Args)]
pub(crate) struct Files {
    /// Write leaf and intermediates to this file.
    #[arg(long, value_name = "FILE")]
    chain: Option<PathBuf>,
    /// Write the private key to this new file, readable by its owner only.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Write to the file of --out in this format.
    #[arg(long, value_enum, requires = "out", hide_possible_values = false)]
    format: Option<Format>,
    /// Where --format goes: a new file, readable by its owner only, if it holds the key.
    #[arg(long, value_name = "FILE", requires = "format")]
    out: Option<PathBuf>,
    /// The friendly name in PKCS#12, the alias in JKS; otherwise the first name of the certificate.
    #[arg(long, value_name = "NAME", requires = "format")]
    alias: Option<String>,
    #[command(flatten)]
    protection: Protection,
}

impl Session<'_> {
    pub(super) async fn export(
        &self,
        name: &CertificateId,
        version: Option<VersionId>,
        files: &Files,
    ) -> Result<Outcome, Failure> {
        let form = match files.format {
            Some(format) => Some(format.form(files.protection.password()?.as_ref(), files.alias.as_deref())?),
            None => None,
        };
        let version = self.host.engine.version(self.version(name, version).await?).await?;
        let with_key = files.key.is_some() || form.as_ref().is_some_and(certlife::keystore::Form::holds_key);
        let export = if with_key {
            // The audit trail shows that a key left.
            let export = self.host.engine.export(version.id).await?;
            if export.key.is_none() {
                return Err(Failure::Usage(format!("the key of {name} is not kept here")));
            }
            Some(export)
        } else {
            None
        };
        if let (Some(path), Some(key)) = (&files.key, export.as_ref().and_then(|export| export.key.as_ref()))
        {
            forms::write_secret(path, key.to_pkcs8_pem()?.expose().as_bytes())?;
        }
        if let Some(path) = &files.chain {
            forms::write_open(path, version.chain.pem().as_bytes())?;
        }
        if let (Some(path), Some(form)) = (&files.out, &form) {
            match &export {
                Some(export) if form.holds_key() => forms::write_secret(path, export.encode(form)?.expose())?,
                _ => {
                    let open = certlife::Keystore::new(version.chain.clone(), None)?;
                    forms::write_open(path, open.encode(form)?.expose())?;
                }
            }
        }
        let nowhere = files.chain.is_none() && files.key.is_none() && files.out.is_none();
        let pem = nowhere.then(|| version.chain.pem());
        let written = json!({
            "version": version.id, "chain_file": files.chain, "key_file": files.key, "out_file": files.out, "chain": pem,
        });
        self.output.result(&written, || {
            pem.unwrap_or_else(|| format!("version {} of {name} is written", version.id))
        });
        Ok(Outcome::Done)
    }
}
