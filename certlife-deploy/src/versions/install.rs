//! What an install, a rollback and a removal consist of.

use certlife_core::{
    CertificateId, ErrorKind, Result,
    deploy::{Bundle, Installed, Receipt},
};
use serde_json::Value;

use super::{
    layout::Layout,
    place::{self, Place, Prepared, Retreat},
    tree::Tree,
    version::AllRights,
};

/// A machine while nobody else changes its certificates: its files, and its commands.
pub(crate) trait Machine: Sync {
    type Tree: Tree;

    /// The directory of the certificates.
    fn tree(&self) -> &Self::Tree;

    fn layout(&self) -> &Layout;

    /// The rights on what is written, with the machine's own users and groups.
    fn rights(&self) -> impl Future<Output = Result<AllRights, ErrorKind>> + Send;

    /// Runs a command of the host, if there is one, for the version in `directory`.
    fn run(
        &self,
        step: Step,
        directory: &str,
        certificate: &CertificateId,
    ) -> impl Future<Output = Result<(), ErrorKind>> + Send;
}

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Whether a version may go live.
    Check,
    /// To make the server read what is live.
    Reload,
}

/// Writes a version, has it checked, switches to it, and tells the server.
pub(crate) async fn install(machine: &impl Machine, bundle: &Bundle) -> Result<Receipt, ErrorKind> {
    let (tree, layout, rights) = (machine.tree(), machine.layout(), machine.rights().await?);
    let prepared = place::prepare(tree, layout, &rights, bundle).await?;
    let receipt = Receipt {
        certificate: bundle.certificate.clone(),
        version: bundle.version,
        replaced: prepared.replaced,
        vendor: Value::Null,
    };
    let place = Place::existing(tree, layout, &bundle.certificate).await?;
    let directory = tree.name(&place.path(&prepared.dir));
    let mut is_live = prepared.is_live;
    if matches!(prepared.retreat, Retreat::ToNothing) {
        // A check that reads what the server's configuration names would not find the files.
        place.switch(Some(&prepared.dir)).await?;
        is_live = true;
    }
    let mut accepted = machine.run(Step::Check, &directory, &bundle.certificate).await;
    if accepted.is_ok() {
        place.switch(Some(&prepared.dir)).await?;
        is_live = true;
        accepted = machine.run(Step::Reload, &directory, &bundle.certificate).await;
    }
    match accepted {
        Ok(()) => place.complete(&prepared.dir, &rights).await?,
        Err(ErrorKind::CommandFailed(words)) if is_live => {
            let outcome = undo(machine, &place, &prepared, &bundle.certificate).await;
            return Err(ErrorKind::CommandFailed(format!("{words}{outcome}").into()));
        }
        Err(kind) => return Err(kind),
    }
    Ok(receipt)
}

/// Puts back what was live before, and tells the server.
async fn undo<M: Machine>(
    machine: &M,
    place: &Place<'_, M::Tree>,
    prepared: &Prepared,
    certificate: &CertificateId,
) -> String {
    let back_to = match &prepared.retreat {
        Retreat::Stay => return "; it had been installed before, and stays".to_owned(),
        Retreat::ToNothing => None,
        Retreat::To(dir) => Some(dir),
    };
    if let Err(kind) = place.switch(back_to).await {
        return format!("; and the previous version could not be put back: {kind}");
    }
    let Some(back_to) = back_to else {
        return "; nothing was installed before, and nothing is now".to_owned();
    };
    let directory = machine.tree().name(&place.path(back_to));
    match machine.run(Step::Reload, &directory, certificate).await {
        Ok(()) => "; the previous version is back".to_owned(),
        Err(again) => format!("; the previous version is back, but reloading it failed too: {again}"),
    }
}

/// Goes back to what was live before the install that `receipt` stands for, and tells the server.
pub(crate) async fn roll_back(machine: &impl Machine, receipt: &Receipt) -> Result<(), ErrorKind> {
    let back = place::roll_back(machine.tree(), machine.layout(), receipt).await?;
    let Some(back) = back else { return Ok(()) };
    machine.run(Step::Reload, &machine.tree().name(&back), &receipt.certificate).await
}

/// Reads what is live. Nobody has to be kept out for that.
pub(crate) async fn installed(
    tree: &impl Tree,
    layout: &Layout,
    certificate: &CertificateId,
) -> Result<Option<Installed>, ErrorKind> {
    match Place::open(tree, layout, certificate).await? {
        Some(place) => place.installed().await,
        None => Ok(None),
    }
}

/// Removes everything of a certificate that is ours.
pub(crate) async fn uninstall(
    tree: &impl Tree,
    layout: &Layout,
    certificate: &CertificateId,
) -> Result<(), ErrorKind> {
    place::remove_unnamed(tree).await?;
    match Place::open(tree, layout, certificate).await? {
        Some(place) => place.remove().await,
        None => Ok(()),
    }
}

/// Tests that files can be made in the directory, with their rights.
pub(crate) async fn probe(tree: &impl Tree, rights: &AllRights) -> Result<(), ErrorKind> {
    place::probe(tree, rights).await
}
