//! Plays the script that makes another version the one that is served, line by line as in `play`.

use serde_json::json;

use super::{
    super::script::{Rebind, Reference},
    console::{Console, Played, failed},
    contract::Switch,
    machine::{CENTRAL_PATH, SiteBinding, World},
    play::text,
};

impl Console {
    pub(super) async fn switch(&self, wanted: &Switch) -> Played {
        let certificate = wanted.certificate.as_str();
        self.state_path(certificate).await;
        let before = self.machine.orders().before_switch.take();
        if let Some(before) = before {
            self.world(before);
        }
        if self.world(|world| world.states.get(certificate) != wanted.expects.as_ref()) {
            return failed("changed", "the state changed meanwhile");
        }
        assert!(wanted.files.is_empty() || wanted.central.as_deref() == Some(CENTRAL_PATH));
        self.kept_directory(certificate).await;
        for file in &wanted.files {
            let content = self.world(|world| world.central.get(&file.name).cloned());
            if let (Some(save), Some(content)) = (&file.save, content) {
                self.make_kept_directory(certificate).await;
                self.write_file(|world| world.kept.get_mut(certificate).unwrap(), save, content).await;
            }
        }
        if let Some(state) = &wanted.before {
            self.write_state(certificate, Some(state)).await;
        }
        for reference in &wanted.show {
            self.archive(reference, false, true).await?;
        }
        if !wanted.bindings.is_empty() {
            self.step().await;
            self.world(|world| world.rebind(&wanted.bindings))?;
        }
        for file in &wanted.files {
            let Some(kept) = &file.kept else {
                for name in [file.name.clone(), format!("{}.new", file.name)] {
                    let there = |world: &World| world.central.contains_key(&name);
                    self.change(there, |world| world.central.remove(&name)).await;
                }
                continue;
            };
            let Some(content) = self.world(|world| world.kept.get(certificate)?.get(kept).cloned()) else {
                return failed("failed", "Could not find file");
            };
            self.write_file(|world| &mut world.central, &file.name, content).await;
        }
        for reference in &wanted.hide {
            self.archive(reference, true, false).await?;
        }
        self.write_state(certificate, wanted.after.as_ref()).await;
        Ok(json!({}))
    }

    async fn archive(&self, reference: &Reference, archived: bool, needed: bool) -> Played<()> {
        let Reference { store, thumbprint } = reference;
        let thumbprint = text(thumbprint);
        self.world(|world| world.store(store).map(drop))?;
        match self.world(|world| world.entry(store, &thumbprint).map(|entry| entry.archived)) {
            None if needed => return failed("not-found", format!("the certificate {thumbprint}")),
            Some(now) if now != archived => {
                self.step().await;
                self.world(|world| world.at((store, &thumbprint)).archived = archived);
            }
            _ => {}
        }
        Ok(())
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
