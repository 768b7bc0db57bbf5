//! Plays what the scripts have in common, and those that bring and remove: what the text of each does, line by line,
//! with a step before each line that changes something. Parameters that a head does not name are refused.

use std::collections::BTreeMap;

use aws_lc_rs::digest::SHA256;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;

use super::{
    super::script::{Reference, Thumbprint},
    console::{Console, Played, failed},
    contract::{Import, Keep, Look, Probe, Remove},
    machine::{CENTRAL_PATH, Entry, LooseKey, World, hex},
};

/// A certificate of a store, by the names of both.
pub(super) type Place<'a> = (&'a str, &'a str);

impl World {
    pub(super) fn store(&mut self, name: &str) -> Played<&mut Vec<Entry>> {
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

    pub(super) fn at(&mut self, (store, thumbprint): Place<'_>) -> &mut Entry {
        let mut entries = self.stores.get_mut(store).unwrap().iter_mut();
        entries.find(|entry| entry.thumbprint() == thumbprint).unwrap()
    }

    fn has_key(&self, (store, thumbprint): Place<'_>) -> bool {
        self.entry(store, thumbprint).is_some_and(|entry| entry.key.is_some())
    }

    fn drop_entry(&mut self, (store, thumbprint): Place<'_>) {
        self.stores.get_mut(store).unwrap().retain(|entry| entry.thumbprint() != thumbprint);
    }

    /// Gives an entry the key that belongs to it.
    fn attach(&mut self, place: Place<'_>, at: usize) {
        let LooseKey { key, exportable } = self.loose_keys.remove(at);
        let entry = self.at(place);
        (entry.key, entry.exportable) = (Some(key), exportable);
    }
}

/// The library.
impl Console {
    async fn own_directory(&self) {
        let missing = |world: &World| !world.has_own_directory;
        self.change(missing, |world| world.has_own_directory = true).await;
    }

    pub(super) async fn state_path(&self, certificate: &str) {
        self.own_directory().await;
        let unfinished = |world: &World| world.new_states.contains(certificate);
        self.change(unfinished, |world| world.new_states.remove(certificate)).await;
    }

    pub(super) async fn kept_directory(&self, certificate: &str) {
        self.own_directory().await;
        let names: Vec<_> = self.world(|world| {
            world.kept.get(certificate).into_iter().flatten().map(|it| it.0.clone()).collect()
        });
        for name in names.iter().filter(|name| name.strip_suffix(".new").is_some()) {
            self.step().await;
            self.world(|world| world.kept.get_mut(certificate).unwrap().remove(name));
        }
        let empty = |world: &World| world.kept.get(certificate).is_some_and(BTreeMap::is_empty);
        self.change(empty, |world| world.kept.remove(certificate)).await;
    }

    pub(super) async fn make_kept_directory(&self, certificate: &str) {
        let missing = |world: &World| !world.kept.contains_key(certificate);
        self.change(missing, |world| world.kept.insert(certificate.to_owned(), BTreeMap::new())).await;
    }

    /// Writes a file of a directory.
    pub(super) async fn write_file(
        &self,
        directory: impl Fn(&mut World) -> &mut BTreeMap<String, Vec<u8>> + Send,
        name: &str,
        content: Vec<u8>,
    ) {
        let new = format!("{name}.new");
        self.step().await;
        self.world(|world| directory(world).insert(new.clone(), content));
        self.step().await;
        self.world(|world| {
            let files = directory(world);
            let content = files.remove(&new).unwrap();
            files.insert(name.to_owned(), content);
        });
    }

    pub(super) async fn write_state(&self, certificate: &str, text: Option<&String>) {
        let Some(text) = text else {
            let there = |world: &World| world.states.contains_key(certificate);
            return self.change(there, |world| world.states.remove(certificate)).await;
        };
        if self.world(|world| world.states.get(certificate) == Some(text)) {
            return;
        }
        self.step().await;
        self.world(|world| world.new_states.insert(certificate.to_owned()));
        self.step().await;
        self.world(|world| {
            world.new_states.remove(certificate);
            world.states.insert(certificate.to_owned(), text.clone());
        });
    }

    /// Gives a certificate that has no key the one on the machine that belongs to it.
    async fn restore_key(&self, place: Place<'_>) {
        let found = self.world(|world| {
            let entry = world.entry(place.0, place.1)?;
            world.loose_keys.iter().position(|loose| entry.key.is_none() && entry.fits(&loose.key))
        });
        if let Some(at) = found {
            self.step().await;
            self.world(|world| world.attach(place, at));
        }
    }
}

impl Console {
    /// What it tries leaves nothing, wherever it is killed.
    pub(super) fn probe(&self, wanted: &Probe) -> Played {
        let mut world = self.machine.world();
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

    pub(super) async fn look(&self, wanted: &Look) -> Played {
        self.kept_directory(&wanted.certificate).await;
        self.state_path(&wanted.certificate).await;
        let mut world = self.machine.world();
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

    pub(super) async fn import(&self, wanted: &Import) -> Played {
        self.world(|world| wanted.accounts.iter().try_for_each(|account| world.check_account(account)))?;
        for der in &wanted.authorities {
            let authority = Entry::new(STANDARD.decode(der).unwrap(), "");
            let info = authority.info();
            let missing = |world: &World| {
                info.subject != info.issuer
                    && world.stores["CA"].iter().all(|known| known.der != authority.der)
            };
            self.change(missing, |world| world.stores.get_mut("CA").unwrap().push(authority.clone())).await;
        }
        let mut bare = Entry::new(STANDARD.decode(&wanted.certificate).unwrap(), &wanted.name);
        bare.archived = true;
        let thumbprint = bare.thumbprint();
        let place: Place<'_> = (&wanted.store, &thumbprint);
        let added = self.world(|world| {
            world.store(place.0)?;
            Ok(world.entry(place.0, place.1).is_none())
        })?;
        if !added {
            self.restore_key(place).await;
        }
        if self.world(|world| world.has_key(place)) {
            let other = |world: &World| world.entry(place.0, place.1).unwrap().name != wanted.name;
            self.change(other, |world| world.at(place).name.clone_from(&wanted.name)).await;
        } else {
            if added {
                self.step().await;
                self.world(|world| world.stores.get_mut(place.0).unwrap().push(bare.clone()));
            }
            if let Err(complaint) = self.bring_key(wanted, bare).await {
                if added {
                    self.step().await;
                    self.world(|world| world.drop_entry(place));
                }
                return failed("bad-pfx", complaint);
            }
        }
        if !wanted.accounts.is_empty() {
            self.step().await;
            self.world(|world| world.at(place).readers.extend(wanted.accounts.iter().cloned()));
        }
        Ok(json!({ "thumbprint": thumbprint }))
    }

    /// Opens the PFX and puts its certificate in place of the one without a key.
    async fn bring_key(&self, wanted: &Import, bare: Entry) -> Result<(), &'static str> {
        let content = STANDARD.decode(&wanted.pfx).unwrap();
        let Some(pfx) = self.world(|world| world.open(&content, &wanted.password)) else {
            return Err("The specified network password is not correct.");
        };
        if *pfx.chain.leaf().as_ref() != *bare.der || !bare.fits(&pfx.key) {
            return Err("the PFX holds another certificate, or no key for it");
        }
        self.step().await;
        let loose = LooseKey { key: pfx.key, exportable: wanted.exportable };
        self.world(|world| world.loose_keys.push(loose));
        self.step().await;
        self.world(|world| {
            let thumbprint = bare.thumbprint();
            let place: Place<'_> = (&wanted.store, &thumbprint);
            *world.at(place) = bare;
            world.attach(place, world.loose_keys.len() - 1);
        });
        Ok(())
    }

    pub(super) async fn keep(&self, wanted: &Keep) -> Played {
        let certificate = wanted.certificate.as_str();
        self.kept_directory(certificate).await;
        self.make_kept_directory(certificate).await;
        let content = STANDARD.decode(&wanted.pfx).unwrap();
        self.write_file(|world| world.kept.get_mut(certificate).unwrap(), &wanted.name, content).await;
        Ok(json!({}))
    }

    pub(super) async fn remove(&self, wanted: &Remove) -> Played {
        for Reference { store, thumbprint } in &wanted.certificates {
            let thumbprint = text(thumbprint);
            let place: Place<'_> = (store, &thumbprint);
            self.world(|world| world.store(store).map(drop))?;
            if self.world(|world| world.entry(place.0, place.1).is_none()) {
                continue;
            }
            self.restore_key(place).await;
            self.change(|world| world.has_key(place), |world| world.at(place).key = None).await;
            self.step().await;
            self.world(|world| world.drop_entry(place));
        }
        let certificate = wanted.certificate.as_str();
        self.kept_directory(certificate).await;
        for name in &wanted.kept {
            let there =
                |world: &World| world.kept.get(certificate).is_some_and(|kept| kept.contains_key(name));
            self.change(there, |world| world.kept.get_mut(certificate).unwrap().remove(name)).await;
        }
        self.kept_directory(certificate).await;
        Ok(json!({}))
    }
}

pub(super) fn text(thumbprint: &Thumbprint) -> String {
    serde_json::to_value(thumbprint).unwrap().as_str().unwrap().to_owned()
}
