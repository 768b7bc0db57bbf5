//! What can be known of a wish before anything is stored or sent: accounts, capabilities, routes, keys, options.

use std::collections::BTreeMap;

use super::{Context, routes};
use crate::{
    ca::{CaCapabilities, OrderRequest, Purpose, PurposeKind},
    error::{Error, Operation, Result},
    input::InputError,
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
    if !capabilities.key_algorithms.contains(&algorithm) && spec.key.source == KeySource::Generated {
        let rule = format!("this CA certifies {:?}", capabilities.key_algorithms);
        let (field, value) = ("key algorithm".into(), algorithm.to_string().into());
        return Err(fail(InputError::Value { field, value, rule: rule.into() }));
    }
    for target in &spec.deploy {
        let target = context.accounts.target(target).map_err(fail)?;
        if !target.provider.capabilities().install {
            let rule = "this target takes no certificates";
            return Err(fail(InputError::setting(target.name.to_string(), rule)));
        }
    }
    let mappings = context.mappings().await?;
    let default = policy.route.as_ref().or(ca.options.default_route.as_ref());
    let proofs = routes::check(context, spec, &mappings, default, &capabilities).map_err(fail)?;
    let names = spec.identifiers.iter().cloned().collect();
    let key_algorithm = match &spec.key.source {
        KeySource::Elsewhere(csr) => {
            csr.check_against(&names, None).map_err(fail)?;
            csr.key_algorithm()
        }
        KeySource::Brought(id) => Some(context.open_key(*id).await?.algorithm()),
        KeySource::Generated => Some(algorithm),
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
