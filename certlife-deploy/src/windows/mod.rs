//! Certificates on a Windows machine: in its certificate store, at the bindings of IIS, and in the central
//! certificate store, by Windows PowerShell 5.1 over SSH or on the machine itself.
//!
//! What is done there stands in `scripts/`, as texts that never change: names, certificates and passwords reach
//! them as data on standard input. The scripts do single things; what is to be done is decided here, from what
//! `look` read, and the one step that readers notice is `switch`. Every script can be repeated.

mod binding;
mod change;
mod names;
mod script;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod transport;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use certlife_core::{
    AccountSummary, CertificateId, Clock, Csr, Deployer, Error, ErrorKind, InputError, KeyAlgorithm,
    Operation, ProviderName, Result, Retry, Secret, VersionId, async_trait,
    challenge::{ChallengeKind, HttpFile},
    deploy::{Bundle, ChallengeHandle, DeployCapabilities, Installed, KeyRequest, Receipt, TargetResponse},
    keystore::{Form, Keystore, Protection},
};
use serde_json::Value;

use self::{
    change::{Goal, Places},
    script::{
        Call, Central, Challenge, Import, Keep, Look, Probe, PutChallenge, Reference, Refusal,
        RemoveChallenge, Switch,
    },
    settings::Plan,
    state::{Version, View},
    transport::PowerShell,
};

pub use crate::remote::{HostKey, Login, Server};

pub use self::{
    binding::Binding,
    settings::{CentralStore, Connection, Pfx, Settings, WindowsBuilder},
};

const WINDOWS: ProviderName = ProviderName::new("windows");

/// How often a change is decided anew because another process changed the same certificate in between.
const ATTEMPTS: usize = 20;
/// How often a machine is looked at until everything that its state names was looked at.
const LOOKS: usize = 4;

/// A Windows machine as a [`Deployer`]: Windows Server 2016, Windows 10, and newer.
///
/// | script | what it does there |
/// | --- | --- |
/// | `probe` | tries rights, store, accounts, sites and directories |
/// | `look` | reads store, bindings and central store: the evidence |
/// | `import` | puts a PFX into the store, key not exportable unless asked, and lets accounts read the key |
/// | `keep` | keeps a PFX for the central store, readable by administrators alone |
/// | `switch` | binds another version, in one commit of IIS's configuration; also back |
/// | `remove` | removes superseded certificates with their keys |
/// | `put-challenge`, `remove-challenge` | a file in a site's directory, shown without an extension |
///
/// The friendly name of a certificate ends in `[certlife:<certificate>:<version>]`. What was bound before is kept
/// in `%ProgramData%\certlife`, where administrators alone have access, so that a rollback needs no more than the
/// receipt. A binding that existed gets back what it showed when the certificate is given up; one that was made
/// is removed. Where no binding is configured, the store itself says which version is served: the others are
/// archived, as Windows does with certificates that it renewed, and programs do not find them.
///
/// Intermediates go into the machine's store `CA`, from where Windows takes what it sends along; roots are left to
/// whoever trusts them. Ed25519 keys are refused, for Windows has none in certificates.
///
/// # On the machine
///
/// The account that runs the scripts has to be an administrator, with a full token: stores of the machine, its
/// keys and IIS belong to administrators. For SSH: `Add-WindowsCapability -Online -Name OpenSSH.Server~~~~0.0.1.0`,
/// `Start-Service sshd`, and the public key in `%ProgramData%\ssh\administrators_authorized_keys`, which only
/// `SYSTEM` and `Administrators` may access. The default shell stays `cmd.exe`. Where an application control policy
/// restricts PowerShell to its constrained language, the scripts do not run; [`probe`](Deployer::probe) tells.
///
/// <https://learn.microsoft.com/en-us/windows-server/administration/openssh/openssh_install_firstuse>
#[derive(Debug, Clone)]
pub struct Windows(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    plan: Plan,
    shell: Arc<dyn PowerShell>,
    /// In front of the lock on the machine, so that calls of one process do not use up their time there.
    turn: tokio::sync::Mutex<()>,
}

impl Windows {
    /// Starts the description of a machine that is reached in this way.
    pub fn builder(connection: Connection) -> WindowsBuilder {
        WindowsBuilder::from(Settings::new(connection))
    }

    /// Checks the settings and returns the deployer. Opens no connection and reads no file.
    ///
    /// `clock` tells the time by which certificates of SSH servers are judged.
    ///
    /// # Errors
    ///
    /// [`InputError::Setting`] names the setting that is wrong and what it should look like.
    pub fn from_settings(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, InputError> {
        let (plan, shell) = settings.check(clock)?;
        Ok(Self::new(plan, shell))
    }

    fn new(plan: Plan, shell: Arc<dyn PowerShell>) -> Self {
        Self(Arc::new(Shared { plan, shell, turn: tokio::sync::Mutex::default() }))
    }

    /// Runs a script; none if the state has changed since it was looked at.
    async fn try_to<C: Call + Sync>(&self, operation: Operation, call: &C) -> Result<Option<C::Answer>> {
        let failed = |kind| Error::new(WINDOWS, operation, kind);
        let document = script::document(call).map_err(failed)?;
        let printed = self.0.shell.run(operation, &document).await?;
        match script::answer::<C>(&printed) {
            Ok(answer) => Ok(Some(answer)),
            Err(Refusal::Changed) => Ok(None),
            Err(Refusal::Failed(kind)) => Err(failed(kind)),
        }
    }

    async fn run<C: Call + Sync>(&self, operation: Operation, call: &C) -> Result<C::Answer> {
        self.try_to(operation, call).await?.ok_or_else(|| overtaken(operation))
    }

    /// Looks at everything that concerns a certificate: what the settings name, and what its state names.
    async fn look(
        &self,
        operation: Operation,
        certificate: &CertificateId,
        files: &[String],
    ) -> Result<View> {
        let plan = &self.0.plan;
        let marker = names::marker(certificate);
        let mut stores = BTreeSet::from([plan.store.clone()]);
        let mut files: BTreeSet<String> = files.iter().cloned().collect();
        for _ in 0..LOOKS {
            let central = plan.central.as_ref();
            if central.is_none() && !files.is_empty() {
                let rule = format!("state it as long as {certificate} is in it");
                return Err(Error::new(
                    WINDOWS,
                    operation,
                    InputError::setting("central_store", rule).into(),
                ));
            }
            // Its password is sent where there is something to be opened, and nowhere else.
            let central = central.filter(|_| !files.is_empty());
            let look = Look {
                certificate,
                marker: &marker,
                stores: stores.iter().map(String::as_str).collect(),
                central: central.map(|it| Central { path: &it.path, password: it.password.expose() }),
                files: files.iter().map(String::as_str).collect(),
            };
            let looked = self.run(operation, &look).await?;
            let view = View::new(certificate, looked).map_err(|kind| Error::new(WINDOWS, operation, kind))?;
            let known = (stores.len(), files.len());
            for record in view.state.versions.values() {
                stores.extend(record.certificate.iter().map(|reference| reference.store.clone()));
                files.extend(record.files.iter().cloned());
            }
            files.extend(view.state.files.iter().map(|original| original.name.clone()));
            if known == (stores.len(), files.len()) {
                return Ok(view);
            }
        }
        Err(overtaken(operation))
    }

    /// Carries out what has to change; false if it has to be decided anew.
    async fn switch(&self, operation: Operation, switch: Option<Switch<'_>>) -> Result<bool> {
        match switch {
            Some(switch) => Ok(self.try_to(operation, &switch).await?.is_some()),
            None => Ok(true),
        }
    }

    /// Brings a version to the machine, where nobody uses it yet.
    async fn bring(
        &self,
        bundle: &Bundle,
        keystore: &Keystore,
        places: &Places,
    ) -> Result<Option<Reference>> {
        let operation = Operation::Install;
        let failed = |kind| Error::new(WINDOWS, operation, kind);
        let plan = &self.0.plan;
        if let Some(central) = plan.central.as_ref().filter(|_| !places.files.is_empty()) {
            let pfx = pfx(keystore, &central.password, plan.pfx).map_err(failed)?;
            let name = names::kept_file(bundle.version);
            let keep = Keep { certificate: &bundle.certificate, name: &name, pfx: pfx.expose() };
            self.run(operation, &keep).await?;
        }
        if !places.need_store() {
            return Ok(None);
        }
        let password = password().map_err(failed)?;
        let pfx = pfx(keystore, &password, plan.pfx).map_err(failed)?;
        let import = Import {
            store: &plan.store,
            certificate: STANDARD.encode(bundle.chain.leaf()),
            authorities: bundle.chain.intermediates().iter().map(|der| STANDARD.encode(der)).collect(),
            pfx: pfx.expose(),
            password: password.expose(),
            name: &names::friendly_name(plan.friendly_name.as_deref(), &bundle.certificate, bundle.version),
            exportable: plan.exportable,
            accounts: &plan.accounts,
        };
        let thumbprint = self.run(operation, &import).await?.thumbprint;
        Ok(Some(Reference { store: plan.store.clone(), thumbprint }))
    }

    async fn challenge(&self, operation: Operation, file: &HttpFile) -> Result<()> {
        let Some(site) = self.0.plan.challenge_site.as_deref() else { return Ok(()) };
        let segments = file.path.segments().collect();
        let challenge = Challenge { site, segments, body: file.body.as_str() };
        let _turn = self.0.turn.lock().await;
        if operation == Operation::PutChallenge {
            self.run(operation, &PutChallenge(challenge)).await?;
        } else {
            self.run(operation, &RemoveChallenge(challenge)).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl Deployer for Windows {
    fn provider(&self) -> ProviderName {
        WINDOWS
    }

    fn capabilities(&self) -> DeployCapabilities {
        let http = self.0.plan.challenge_site.is_some().then_some(ChallengeKind::Http);
        DeployCapabilities {
            install: true,
            challenges: BTreeSet::from_iter(http),
            volatile: false,
            keys: BTreeSet::new(),
        }
    }

    async fn probe(&self) -> Result<AccountSummary> {
        let plan = &self.0.plan;
        let sites: BTreeSet<_> = plan.bindings.iter().map(|listener| listener.site.as_str()).collect();
        let probe = Probe {
            store: &plan.store,
            accounts: &plan.accounts,
            sites: sites.into_iter().collect(),
            central: plan.central.as_ref().map(|store| store.path.as_str()),
            roots: plan.challenge_site.as_deref().into_iter().collect(),
        };
        let found = self.run(Operation::Probe, &probe).await?;
        let mut details = BTreeMap::from([
            ("windows".to_owned(), found.windows),
            ("powershell".to_owned(), found.powershell),
        ]);
        details.extend(found.iis.map(|version| ("iis".to_owned(), version)));
        let identity = format!("{} on {}, by {}", found.user, found.computer, self.0.shell.name());
        Ok(AccountSummary { identity: Some(identity.into()), details, warnings: found.warnings })
    }

    async fn make_key(&self, wanted: &KeyRequest) -> Result<Csr> {
        let what = format!("making {} keys on the target", wanted.algorithm);
        Err(Error::new(WINDOWS, Operation::MakeKey, ErrorKind::Unsupported(what.into())))
    }

    async fn install(&self, bundle: &Bundle) -> Result<Receipt> {
        let operation = Operation::Install;
        let failed = |kind| Error::new(WINDOWS, operation, kind);
        let plan = &self.0.plan;
        let keystore = checked(bundle).map_err(failed)?;
        let places = Places::of(plan, bundle);
        let _turn = self.0.turn.lock().await;
        for _ in 0..ATTEMPTS {
            let view = self.look(operation, &bundle.certificate, &places.files).await?;
            places.check(&view).map_err(failed)?;
            let replaced = replaced(&view, bundle);
            let record = Version {
                fingerprint: bundle.chain.fingerprint(),
                certificate: self.bring(bundle, &keystore, &places).await?,
                replaced,
                bindings: places.bindings.clone(),
                files: places.files.clone(),
            };
            let switch = change::switch(&view, &Goal::Serve(bundle.version, &record), plan);
            if !self.switch(operation, switch).await? {
                continue;
            }
            let needed = [Some(bundle.version), replaced];
            let old = plan.keep.and_then(|keep| change::superseded(&view, &needed, keep));
            if let Some(remove) = old {
                self.run(operation, &remove).await?;
            }
            return Ok(Receipt {
                certificate: bundle.certificate.clone(),
                version: bundle.version,
                replaced,
                vendor: Value::Null,
            });
        }
        Err(overtaken(operation))
    }

    async fn installed(&self, certificate: &CertificateId) -> Result<Option<Installed>> {
        Ok(self.look(Operation::Inspect, certificate, &[]).await?.shown())
    }

    async fn rollback(&self, receipt: &Receipt) -> Result<()> {
        let operation = Operation::RollBack;
        let failed = |kind| Err(Error::new(WINDOWS, operation, kind));
        let _turn = self.0.turn.lock().await;
        for _ in 0..ATTEMPTS {
            let view = self.look(operation, &receipt.certificate, &[]).await?;
            let known = [Some(receipt.version), receipt.replaced];
            if view.state.live.is_some_and(|live| !known.contains(&Some(live))) {
                return failed(ErrorKind::NotNow("another version has been installed since".into()));
            }
            let goal = match receipt.replaced {
                None => Goal::Nothing,
                Some(version) => match view.state.versions.get(&version) {
                    Some(record) if view.holds(version, record) => Goal::Serve(version, record),
                    _ => return failed(ErrorKind::NotFound(format!("version {version}").into())),
                },
            };
            // Where nothing was ever installed there is nothing to go back from.
            let nothing =
                matches!(goal, Goal::Nothing) && view.looked.state.is_none() && view.live().is_none();
            if nothing || self.switch(operation, change::switch(&view, &goal, &self.0.plan)).await? {
                return Ok(());
            }
        }
        Err(overtaken(operation))
    }

    async fn uninstall(&self, certificate: &CertificateId) -> Result<()> {
        let operation = Operation::Uninstall;
        let _turn = self.0.turn.lock().await;
        for _ in 0..ATTEMPTS {
            let view = self.look(operation, certificate, &[]).await?;
            if self.switch(operation, change::switch(&view, &Goal::Forget, &self.0.plan)).await? {
                if let Some(remove) = change::everything(&view, certificate) {
                    self.run(operation, &remove).await?;
                }
                return Ok(());
            }
        }
        Err(overtaken(operation))
    }

    async fn put_challenge(&self, response: &TargetResponse) -> Result<ChallengeHandle> {
        let operation = Operation::PutChallenge;
        let unsupported =
            |what: String| Err(Error::new(WINDOWS, operation, ErrorKind::Unsupported(what.into())));
        let file = match response {
            TargetResponse::Http(file) if self.0.plan.challenge_site.is_some() => file,
            other => return unsupported(format!("answering {} challenges", other.kind())),
        };
        let plain = file.path.segments().all(names::is_plain_segment);
        if !plain || !file.path.segments().last().is_some_and(names::is_plain_file) {
            return unsupported(format!("a challenge file at {} on Windows", file.path));
        }
        self.challenge(operation, file).await?;
        Ok(ChallengeHandle::unknown(response.clone()))
    }

    async fn remove_challenge(&self, handle: &ChallengeHandle) -> Result<()> {
        match &handle.response {
            TargetResponse::Http(file) if file.path.segments().all(names::is_plain_segment) => {
                self.challenge(Operation::RemoveChallenge, file).await
            }
            // What cannot be placed is not there.
            _ => Ok(()),
        }
    }
}

/// Puts key and chain together, after checking that Windows can use them.
fn checked(bundle: &Bundle) -> Result<Keystore, ErrorKind> {
    let Some(key) = &bundle.key else {
        return Err(ErrorKind::Unsupported("a certificate whose key is elsewhere".into()));
    };
    let keystore = Keystore::new(bundle.chain.clone(), Some(key.clone()))
        .map_err(|error| ErrorKind::BadCertificate(error.to_string().into()))?;
    if key.algorithm() == KeyAlgorithm::Ed25519 {
        return Err(ErrorKind::Unsupported("an Ed25519 key on Windows".into()));
    }
    Ok(keystore)
}

/// What was served before this version: a repeated install says the same as the first.
fn replaced(view: &View, bundle: &Bundle) -> Option<VersionId> {
    let shown = view.shown().and_then(|shown| shown.version);
    let this = Some(bundle.version);
    if view.state.live != this && shown != this {
        return shown.or(view.state.live);
    }
    match view.state.versions.get(&bundle.version) {
        Some(record) if view.looked.state.is_some() => record.replaced,
        // The state was lost.
        _ => bundle.replaces,
    }
}

/// Writes a PFX, as Base64.
fn pfx(keystore: &Keystore, password: &Secret, form: Pfx) -> Result<Secret, ErrorKind> {
    let protection = match form {
        Pfx::Modern => Protection::Modern,
        Pfx::Legacy => Protection::Legacy,
    };
    let form = Form::Pkcs12 { password: password.clone(), protection, friendly_name: None };
    let bytes = keystore.encode(&form)?;
    Ok(Secret::new(STANDARD.encode(bytes.expose())))
}

/// A password that protects a PFX on its way, and is used for nothing else.
fn password() -> Result<Secret, ErrorKind> {
    let mut bytes = zeroize::Zeroizing::new([0; 24]);
    aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| ErrorKind::Crypto)?;
    Ok(Secret::new(URL_SAFE_NO_PAD.encode(*bytes)))
}

fn overtaken(operation: Operation) -> Error {
    let kind = ErrorKind::NotNow("others keep changing the certificate on the machine".into());
    Error::new(WINDOWS, operation, kind).retry_as(Retry::Backoff)
}
