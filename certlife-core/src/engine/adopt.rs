//! Certificates that exist already, put under the engine's care with their keys.

use std::collections::BTreeSet;

use super::{Principal, certificate, targets, wish};
use crate::{
    ca::PurposeKind,
    error::{Error, Operation, Result},
    id::KeyId,
    input::InputError,
    journal::{Changes, Stored, StoredKey, lost_race},
    key::PrivateKey,
    model::{Certificate, CertificateSpec, EventKind, KeySource, Version},
    store::{Field, Kind, Query},
    x509::{CertificateInfo, Chain, Expectation, check_issued},
};

impl Principal {
    /// Puts a certificate that exists already under the engine's care: it starts with this version as the current one
    /// instead of with an order. The key is sealed, the version is deployed to the targets of `spec`, and the next
    /// one is ordered at the CA of `spec` when renewal is due. [`keystore::read`](crate::keystore::read) reads
    /// `chain` and `key` from files.
    ///
    /// Without a key it is tracked and renewed all the same, and targets get it without key; a key that the host
    /// brought before under [`KeySource::Brought`] is found again. Asked again with the same wish and certificate it
    /// changes nothing, also when it was renewed since.
    ///
    /// Everything is checked as for a certificate that a CA has just issued, before anything is stored: the key fits,
    /// the identifiers are those of `spec` and no others, every certificate is within its validity period.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadCertificate`](crate::ErrorKind::BadCertificate) names everything that disagrees; an
    /// [`InputError`] as [`ensure`](Self::ensure); [`InputError::AlreadyExists`] if there is a certificate of that name
    /// with another wish, and [`InputError::Value`] if it has other versions.
    pub async fn adopt(
        &self,
        spec: CertificateSpec,
        chain: &Chain,
        key: Option<&PrivateKey>,
    ) -> Result<Certificate> {
        let context = self.context();
        let fail = |input| Error::input(Operation::Adopt, input);
        let info = chain.info().map_err(fail)?;
        loop {
            if let Some(stored) = context.journal.load::<Certificate>(&spec.id).await? {
                self.is_same(&stored.value, &spec, chain).await?;
                return Ok(stored.value);
            }
            wish::check(context, &spec, PurposeKind::Renewal).await?;
            let identifiers: BTreeSet<_> = spec.identifiers.iter().cloned().collect();
            let key_hash = key.map_or(info.key_hash, PrivateKey::public_key_hash);
            check_issued(chain, &Expectation::new(key_hash, identifiers.clone(), context.now()))?;

            let mut changes = Changes::new();
            let key = self.adopted_key(&spec, &info, key, &mut changes).await?;
            let now = context.now();
            let version = Version {
                id: context.new_version_id(),
                certificate: spec.id.clone(),
                order: None,
                purpose: PurposeKind::Import,
                ca: spec.ca.clone(),
                handle: None,
                key,
                target_key: None,
                chain: chain.clone(),
                info: info.clone(),
                received_at: now,
                term_ends: None,
                revoked: None,
                suspended: None,
                deactivated: None,
            };
            let mut certificate = Certificate::wanted(spec.clone(), now);
            certificate::became_current(&mut certificate, &version, &identifiers, now);
            let adopted = EventKind::CertificateAdopted {
                identifiers: spec.identifiers.clone(),
                with_key: key.is_some(),
            };
            let (fingerprint, not_after) = (chain.fingerprint(), version.info.not_after);
            let current = EventKind::VersionCurrent { version: version.id, fingerprint, not_after };
            changes.event(&self.event(adopted).on(&spec.id)).event(&self.event(current).on(&spec.id));
            // Without its key it goes nowhere that the wish does not name.
            if key.is_some() || !spec.deploy.is_empty() {
                targets::settle(context, &mut changes, &mut certificate).await?;
            }
            let due = certificate::settle(&mut certificate, &context.policy(&spec.ca).await?, now);
            changes.insert(&certificate, due).insert(&version, None);
            match context.journal.commit(changes).await {
                Ok(()) => return Ok(certificate),
                // Somebody else adopted it in the same moment.
                Err(error) if lost_race(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a certificate that is here came from the same call.
    async fn is_same(&self, here: &Certificate, spec: &CertificateSpec, chain: &Chain) -> Result<()> {
        let refuse = |input| Err(Error::input(Operation::Adopt, input));
        if here.spec != *spec {
            return refuse(InputError::AlreadyExists { id: spec.id.to_string() });
        }
        let fingerprint = chain.fingerprint().to_string();
        let versions = Query::all(Kind::Version).having(Field::Reference, fingerprint.clone());
        let versions = self.context().journal.all::<Version>(versions).await?;
        if versions.iter().any(|version| version.value.certificate == spec.id) {
            return Ok(());
        }
        refuse(InputError::Value {
            field: "certificate".into(),
            value: fingerprint.into(),
            rule: format!("{} exists with other versions; adopt this one under another name", spec.id).into(),
        })
    }

    /// The id of the key: of one that is here already, or of one that is sealed now.
    async fn adopted_key(
        &self,
        spec: &CertificateSpec,
        leaf: &CertificateInfo,
        key: Option<&PrivateKey>,
        changes: &mut Changes,
    ) -> Result<Option<KeyId>> {
        let context = self.context();
        let Some(key) = key else {
            let KeySource::Brought(id) = spec.key.source else { return Ok(None) };
            let brought = context.journal.load::<StoredKey>(id).await?;
            return Ok(brought.filter(|brought| brought.value.hash == leaf.key_hash).map(|_| id));
        };
        let here = Query::all(Kind::Key).having(Field::KeyHash, key.public_key_hash().to_string()).limit(1);
        if let Some(record) = context.journal.store.list(&here).await?.items.first() {
            return Ok(Some(Stored::<StoredKey>::read(record)?.value.id));
        }
        let sealed = context.seal_key(key).await?;
        changes.insert(&sealed, None);
        Ok(Some(sealed.id))
    }
}
