//! Plays PowerShell: takes what the bootstrap takes, knows the scripts byte for byte, and does what the head of
//! each says, step by step. Parameters that a head does not name are refused.

use aws_lc_rs::digest::SHA256;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use certlife_core::{Error, ErrorKind, Operation, Result, SecretBytes, async_trait};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    super::{
        WINDOWS,
        script::{LIBRARY, Rebind, Reference, SCRIPTS, Thumbprint},
        transport::PowerShell,
    },
    contract::{Import, Keep, Look, Probe, Remove, Switch},
    machine::{CENTRAL_PATH, Entry, Machine, SiteBinding, World, hex},
};

/// Why a script ends early.
pub(super) enum Stop {
    /// It says so.
    Failed(&'static str, String),
    /// It is killed.
    Killed,
}

pub(super) type Played<T = Value> = std::result::Result<T, Stop>;

pub(super) fn failed<T>(kind: &'static str, message: impl Into<String>) -> Played<T> {
    Err(Stop::Failed(kind, message.into()))
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Machine")
    }
}

#[async_trait]
impl PowerShell for Machine {
    fn name(&self) -> String {
        "test".to_owned()
    }

    async fn run(&self, operation: Operation, document: &SecretBytes) -> Result<Vec<u8>> {
        let machine = self.clone();
        let document = document.expose().to_vec();
        let running = async move { machine.play(&document).await };
        let goes_on = self.orders().goes_on;
        let printed = if goes_on { tokio::spawn(running).await.unwrap() } else { running.await };
        printed.map_err(|kind| Error::new(WINDOWS, operation, kind))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    library: String,
    script: String,
    parameters: Value,
}

impl Machine {
    async fn play(&self, document: &[u8]) -> Result<Vec<u8>, ErrorKind> {
        tokio::task::yield_now().await;
        if self.orders().offline {
            return Err(ErrorKind::Unreachable);
        }
        assert!(document.is_ascii() && document.ends_with(b"\n"), "one line of ASCII");
        let json = STANDARD.decode(document.trim_ascii_end()).unwrap();
        let document: Document = serde_json::from_slice(&json).unwrap();
        assert_eq!(document.library, LIBRARY, "the library is sent as it is in the repository");
        let script = SCRIPTS.iter().find(|script| script.text == document.script);
        let name = script.expect("scripts are sent as they are in the repository").name;
        self.world().calls.push((name, document.parameters.clone()));
        if let Some(printed) = self.orders().prints.clone() {
            return Ok(printed);
        }
        let answer = {
            let _alone = self.0.mutex.lock().await;
            match self.script(name, document.parameters).await {
                Ok(result) => json!({ "result": result }),
                Err(Stop::Failed(kind, message)) => json!({ "error": { "kind": kind, "message": message } }),
                Err(Stop::Killed) => return Err(ErrorKind::Timeout),
            }
        };
        tokio::task::yield_now().await;
        let mut orders = self.orders();
        if orders.answers_to_lose > 0 {
            orders.answers_to_lose -= 1;
            return Err(ErrorKind::Timeout);
        }
        let encoded = STANDARD.encode(answer.to_string());
        Ok(format!("Last login: today\r\n-----BEGIN CERTLIFE-----{encoded}-----END CERTLIFE-----\r\n")
            .into_bytes())
    }

    async fn script(&self, name: &str, parameters: Value) -> Played {
        match name {
            "probe" => self.probe(&read(parameters)).await,
            "look" => self.look(&read(parameters)).await,
            "import" => self.import(&read(parameters)).await,
            "keep" => self.keep(&read(parameters)).await,
            "switch" => self.switch(&read(parameters)).await,
            "remove" => self.remove(&read(parameters)).await,
            "put-challenge" => self.put_challenge(&read(parameters)).await,
            "remove-challenge" => self.remove_challenge(&read(parameters)).await,
            other => panic!("nobody plays {other}"),
        }
    }

    /// The moment before something changes: here a script may be killed.
    pub(super) async fn step(&self) -> Played<()> {
        tokio::task::yield_now().await;
        match &mut self.orders().steps_left {
            Some(0) => Err(Stop::Killed),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }
}

fn read<T: DeserializeOwned>(parameters: Value) -> T {
    serde_json::from_value(parameters).unwrap_or_else(|error| panic!("the contract says otherwise: {error}"))
}

impl World {
    fn store(&mut self, name: &str) -> Played<&mut Vec<Entry>> {
        match self.stores.get_mut(name) {
            Some(store) => Ok(store),
            None => failed("not-found", format!("the certificate store {name}")),
        }
    }

    fn check_account(&self, account: &str) -> Played<()> {
        if self.accounts.contains(account) {
            Ok(())
        } else {
            failed("not-found", format!("the account {account}"))
        }
    }

    pub(super) fn check_site(&mut self, name: &str) -> Played<()> {
        if self.site(name).is_some() { Ok(()) } else { failed("not-found", format!("the IIS site {name}")) }
    }
}

impl Machine {
    async fn probe(&self, wanted: &Probe) -> Played {
        self.step().await?;
        let mut world = self.world();
        world.store(&wanted.store)?;
        wanted.accounts.iter().try_for_each(|account| world.check_account(account))?;
        wanted.sites.iter().chain(&wanted.roots).try_for_each(|site| world.check_site(site))?;
        if wanted.central.as_deref().is_some_and(|path| path != CENTRAL_PATH) {
            return failed("failed", "Could not find a part of the path");
        }
        Ok(json!({
            "computer": "TEST", "user": r"TEST\deploy", "windows": "Microsoft Windows NT 10.0.20348.0",
            "powershell": "5.1.20348.2760", "iis": world.sites.as_ref().map(|_| "Version 10.0"), "warnings": [],
        }))
    }

    async fn look(&self, wanted: &Look) -> Played {
        self.step().await?;
        let mut world = self.world();
        let mut certificates = Vec::new();
        for name in &wanted.stores {
            for entry in world.store(name)?.iter().filter(|entry| entry.name.contains(&wanted.marker)) {
                certificates.push(json!({
                    "store": name, "thumbprint": entry.thumbprint(), "fingerprint": entry.fingerprint(),
                    "name": entry.name, "has_key": entry.key.is_some(), "archived": entry.archived,
                }));
            }
        }
        let bindings = world.bindings().into_iter().map(|(site, binding)| {
            let entry = binding.store.as_deref().zip(binding.thumbprint.as_deref());
            let entry = entry.and_then(|(store, thumbprint)| world.entry(store, thumbprint));
            json!({
                "site": site, "information": binding.information, "flags": binding.flags,
                "thumbprint": binding.thumbprint, "store": binding.store,
                "fingerprint": entry.map(Entry::fingerprint), "name": entry.map(|entry| entry.name.clone()),
                "has_key": entry.is_some_and(|entry| entry.key.is_some()),
            })
        });
        let bindings: Vec<_> = bindings.collect();
        let kept = world.kept.get(&wanted.certificate).cloned().unwrap_or_default();
        let mut files = Vec::new();
        for name in &wanted.files {
            let central = wanted.central.as_ref().expect("files lie in the central store");
            assert_eq!(central.path, CENTRAL_PATH);
            let Some(content) = world.central.get(name).cloned() else { continue };
            let same = kept.iter().find(|(_, other)| **other == content).map(|(name, _)| name);
            let opened = if same.is_none() { world.open(&content, &central.password) } else { None };
            files.push(json!({
                "name": name, "digest": hex(&SHA256, &content), "kept": same,
                "fingerprint": opened.map(|pfx| pfx.chain.fingerprint()),
            }));
        }
        Ok(json!({
            "state": world.states.get(&wanted.certificate), "certificates": certificates,
            "iis": world.sites.is_some(), "bindings": bindings, "files": files,
            "kept": kept.into_keys().collect::<Vec<_>>(),
        }))
    }

    async fn import(&self, wanted: &Import) -> Played {
        self.step().await?;
        let added = {
            let mut world = self.world();
            wanted.accounts.iter().try_for_each(|account| world.check_account(account))?;
            let there = world.store(&wanted.store)?.iter_mut();
            let mut there =
                there.filter(|entry| entry.fingerprint() == wanted.fingerprint && entry.key.is_some());
            if let Some(entry) = there.next() {
                entry.name.clone_from(&wanted.name);
                None
            } else {
                let content = STANDARD.decode(&wanted.pfx).unwrap();
                let Some(pfx) = world.open(&content, &wanted.password) else {
                    return failed("bad-pfx", "The specified network password is not correct.");
                };
                let fits = pfx.key.public_key_hash() == pfx.chain.info().unwrap().key_hash;
                let mut entry = Entry::new(&pfx, &wanted.name);
                if entry.fingerprint() != wanted.fingerprint || !fits {
                    return failed("bad-pfx", "the PFX holds another certificate, or no key for it");
                }
                entry.archived = true;
                entry.exportable = wanted.exportable;
                let store = world.store(&wanted.store)?;
                store.retain(|old| old.der != entry.der);
                store.push(entry);
                Some(pfx)
            }
        };
        if let Some(pfx) = added {
            self.step().await?;
            let mut world = self.world();
            for authority in pfx.chain.intermediates() {
                let authorities = world.store("CA")?;
                if authorities.iter().all(|known| known.der != authority.as_ref()) {
                    let mut entry = Entry::new(&pfx, "");
                    entry.der = authority.to_vec();
                    entry.key = None;
                    authorities.push(entry);
                }
            }
        }
        self.step().await?;
        let mut world = self.world();
        let entry = world.store(&wanted.store)?.iter_mut().find(|it| it.fingerprint() == wanted.fingerprint);
        let entry = entry.unwrap();
        entry.readers.extend(wanted.accounts.iter().cloned());
        Ok(json!({ "thumbprint": entry.thumbprint() }))
    }

    async fn keep(&self, wanted: &Keep) -> Played {
        self.step().await?;
        let content = STANDARD.decode(&wanted.pfx).unwrap();
        let mut world = self.world();
        world.kept.entry(wanted.certificate.clone()).or_default().insert(wanted.name.clone(), content);
        Ok(json!({}))
    }

    async fn switch(&self, wanted: &Switch) -> Played {
        let before = self.orders().before_switch.take();
        if let Some(before) = before {
            before(&mut self.world());
        }
        if self.world().states.get(&wanted.certificate) != wanted.expects.as_ref() {
            return failed("changed", "the state changed meanwhile");
        }
        assert!(wanted.files.is_empty() || wanted.central.as_deref() == Some(CENTRAL_PATH));
        for file in &wanted.files {
            self.step().await?;
            let mut world = self.world();
            if let (Some(save), Some(content)) = (&file.save, world.central.get(&file.name).cloned()) {
                world.kept.entry(wanted.certificate.clone()).or_default().insert(save.clone(), content);
            }
        }
        if let Some(state) = &wanted.before {
            self.step().await?;
            self.world().states.insert(wanted.certificate.clone(), state.clone());
        }
        for reference in &wanted.show {
            self.archive(reference, false, true).await?;
        }
        if !wanted.bindings.is_empty() {
            self.step().await?;
            self.world().rebind(&wanted.bindings)?;
        }
        for file in &wanted.files {
            self.step().await?;
            let mut world = self.world();
            match &file.kept {
                None => world.central.remove(&file.name),
                Some(kept) => {
                    let content =
                        world.kept.get(&wanted.certificate).and_then(|files| files.get(kept)).cloned();
                    let Some(content) = content else { return failed("failed", "Could not find file") };
                    world.central.insert(file.name.clone(), content)
                }
            };
        }
        for reference in &wanted.hide {
            self.archive(reference, true, false).await?;
        }
        self.step().await?;
        let mut world = self.world();
        match &wanted.after {
            Some(state) => world.states.insert(wanted.certificate.clone(), state.clone()),
            None => world.states.remove(&wanted.certificate),
        };
        Ok(json!({}))
    }

    async fn archive(&self, reference: &Reference, archived: bool, needed: bool) -> Played<()> {
        self.step().await?;
        let Reference { store, thumbprint } = reference;
        let thumbprint = text(thumbprint);
        let mut world = self.world();
        match world.store(store)?.iter_mut().find(|entry| entry.thumbprint() == thumbprint) {
            Some(entry) => entry.archived = archived,
            None if needed => return failed("not-found", format!("the certificate {thumbprint}")),
            None => {}
        }
        Ok(())
    }

    async fn remove(&self, wanted: &Remove) -> Played {
        for Reference { store, thumbprint } in &wanted.certificates {
            let thumbprint = text(thumbprint);
            for whole in [false, true] {
                self.step().await?;
                let mut world = self.world();
                let store = world.store(store)?;
                let Some(at) = store.iter().position(|it| it.thumbprint() == thumbprint) else { continue };
                store[at].key = None;
                if whole {
                    store.remove(at);
                }
            }
        }
        self.step().await?;
        let mut world = self.world();
        let kept = world.kept.entry(wanted.certificate.clone()).or_default();
        kept.retain(|name, _| !wanted.kept.contains(name));
        if kept.is_empty() {
            world.kept.remove(&wanted.certificate);
        }
        Ok(json!({}))
    }
}

impl World {
    /// All bindings in one commit, or none.
    fn rebind(&mut self, wanted: &[Rebind]) -> Played<()> {
        let mut sites = self.sites.clone();
        for one in wanted {
            let mut present = one.present;
            let thumbprint = one.thumbprint.as_ref().map(text);
            if let (true, Some(thumbprint)) = (present, &thumbprint) {
                match self.entry(one.store.as_deref().expect("with its store"), thumbprint) {
                    Some(entry) if entry.key.is_some() => {}
                    Some(_) => return failed("failed", "A specified logon session does not exist."),
                    None if one.or_absent => present = false,
                    None => return failed("not-found", format!("the certificate {thumbprint}")),
                }
            }
            let site =
                sites.iter_mut().flatten().find(|site| site.name.to_lowercase() == one.site.to_lowercase());
            let Some(site) = site else {
                if present {
                    return failed("not-found", format!("the IIS site {}", one.site));
                }
                continue;
            };
            site.bindings.retain(|it| it.information.to_lowercase() != one.information.to_lowercase());
            if present {
                site.bindings.push(SiteBinding {
                    information: one.information.clone(),
                    flags: one.flags,
                    thumbprint,
                    store: one.store.clone(),
                });
            }
        }
        self.sites = sites;
        self.commits += 1;
        Ok(())
    }
}

fn text(thumbprint: &Thumbprint) -> String {
    serde_json::to_value(thumbprint).unwrap().as_str().unwrap().to_owned()
}
