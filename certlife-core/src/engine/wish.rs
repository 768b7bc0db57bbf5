//! What can be known of a wish before anything is stored or sent: accounts, capabilities, routes, keys, options.

use std::collections::BTreeMap;

use super::{Context, routes, targets};
use crate::{
    ca::{CaCapabilities, OrderRequest, Purpose, PurposeKind},
    error::{Error, Operation, Result},
    id::AccountName,
    input::InputError,
    key::KeyAlgorithm,
    model::{CertificateSpec, KeySource, RenewBefore},
    name::Identifier,
};

/// Checks that a wish can be ordered at all. Nothing is sent.
pub(super) async fn check(
    context: &Context,
    spec: &CertificateSpec,
    purpose: PurposeKind,
) -> Result<(), Error> {
    let fail = |input| Error::input(Operation::Ensure, input);
    let ca = context.accounts.ca(&spec.ca).map_err(fail)?;
    let capabilities = ca.provider.capabilities();
    let policy = context.policy(&spec.ca).await?;
    let algorithm = policy.key_algorithm(spec);
    check_identifiers(spec, &capabilities).map_err(fail)?;
    spec.renewal.before.map_or(Ok(()), RenewBefore::check).map_err(fail)?;
    let made_for_us = matches!(spec.key.source, KeySource::Generated | KeySource::OnTarget(_));
    if made_for_us && !capabilities.key_algorithms.contains(&algorithm) {
        let rule = format!("this CA certifies {:?}", capabilities.key_algorithms);
        let (field, value) = ("key algorithm".into(), algorithm.to_string().into());
        return Err(fail(InputError::Value { field, value, rule: rule.into() }));
    }
    let mappings = context.mappings().await?;
    let chosen = targets::choose(spec, &mappings, &ca.options.default_targets);
    targets::check(context, chosen.keys()).map_err(fail)?;
    if purpose == PurposeKind::New {
        // Later the rollout may name a target that the host no longer has, which is no reason not to renew.
        targets::check(context, spec.rollout.named()).map_err(fail)?;
        spec.rollout.check().map_err(fail)?;
    }
    if let KeySource::OnTarget(holder) = &spec.key.source {
        check_target_key(context, holder, algorithm, chosen.keys()).map_err(fail)?;
    }
    let default = policy.route.as_ref().or(ca.options.default_route.as_ref());
    let proofs = routes::check(context, spec, &mappings, default, &capabilities).map_err(fail)?;
    let names = spec.identifiers.iter().cloned().collect();
    let key_algorithm = match &spec.key.source {
        KeySource::Elsewhere(csr) => {
            csr.check_against(&names, None).map_err(fail)?;
            csr.key_algorithm()
        }
        KeySource::Brought(id) => Some(context.open_key(*id).await?.algorithm()),
        KeySource::Generated | KeySource::OnTarget(_) => Some(algorithm),
    };
    if purpose != PurposeKind::New {
        return Ok(());
    }
    let request = OrderRequest {
        purpose: Purpose::New,
        identifiers: spec.identifiers.clone(),
        key_algorithm,
        validity: spec.validity,
        product: spec.product.clone(),
        organization: spec.organization.clone(),
        contacts: policy.contacts(spec),
        challenges: BTreeMap::new(),
        options: spec.options.clone(),
    };
    super::catalog::admit(context, &ca, request, &proofs).await?.map_err(fail).map(drop)
}

/// Checks that a target can make the key, and that no other of `targets` needs it.
fn check_target_key<'a>(
    context: &Context,
    holder: &AccountName,
    algorithm: KeyAlgorithm,
    mut targets: impl Iterator<Item = &'a AccountName>,
) -> Result<(), InputError> {
    let target = context.accounts.target(holder)?;
    let kinds = target.provider.capabilities().keys;
    if !kinds.contains(&algorithm) {
        let rule = if kinds.is_empty() {
            format!("{holder} makes no keys; have it made here, or name a target that can")
        } else {
            format!("{holder} makes {kinds:?}")
        };
        let (field, value) = ("key algorithm".into(), algorithm.to_string().into());
        return Err(InputError::Value { field, value, rule: rule.into() });
    }
    if let Some(other) = targets.find(|target| *target != holder) {
        let rule = format!("the key is made on {holder} and never leaves it; deploy there alone");
        return Err(InputError::setting(other.to_string(), rule));
    }
    Ok(())
}

fn check_identifiers(spec: &CertificateSpec, capabilities: &CaCapabilities) -> Result<(), InputError> {
    if spec.identifiers.is_empty() {
        return Err(InputError::NoIdentifiers);
    }
    if spec.identifiers.len() > capabilities.max_identifiers {
        let (count, limit) = (spec.identifiers.len(), capabilities.max_identifiers);
        return Err(InputError::TooManyIdentifiers { count, limit });
    }
    for identifier in &spec.identifiers {
        let refused = |rule: &'static str| {
            Err(InputError::Identifier { identifier: identifier.to_string(), rule: rule.into() })
        };
        match identifier {
            Identifier::Wildcard(_) if !capabilities.wildcards => {
                return refused("this CA issues no wildcards");
            }
            Identifier::Ip(_) if !capabilities.addresses => {
                return refused("this CA issues for no IP addresses");
            }
            _ => {}
        }
    }
    if let Some(unknown) = spec.validation.routes.keys().find(|route| !spec.identifiers.contains(route)) {
        let identifier = unknown.to_string();
        return Err(InputError::Identifier {
            identifier,
            rule: "it has a route but is not in the certificate".into(),
        });
    }
    Ok(())
}
