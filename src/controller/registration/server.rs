//! The server that an entry is about, and what it is asked to register.

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;

use super::observe::Work;
use crate::authorization_server::dynamic_registration::DynamicRegistration;
use crate::authorization_server::{ClientMetadata, Mark};
use crate::controller::Context;
use crate::domain::names;
use crate::kubernetes::look::explain;

/// The server as registering needs it.
pub(super) async fn for_registering(ctx: &Context, work: &Work) -> Result<DynamicRegistration, String> {
    let server = &work.observed.spec.server;
    let token = match &server.dynamic_registration.initial_access_token {
        None => None,
        Some(reference) => {
            let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
            let secret = secrets.get(&reference.secret_name).await.map_err(|e| {
                format!(
                    "read the initial access token in Secret {}/{}: {}",
                    ctx.namespace,
                    reference.secret_name,
                    explain(&e)
                )
            })?;
            let bytes = secret.data.unwrap_or_default().remove(&reference.key).ok_or_else(|| {
                format!("Secret {}/{} has no key {}", ctx.namespace, reference.secret_name, reference.key)
            })?;
            let text = String::from_utf8(bytes.0).map_err(|_| "the initial access token is not text".to_owned())?;
            Some(text.trim().to_owned().into())
        }
    };
    Ok(DynamicRegistration {
        initial_access_token: token,
        software_statement: server.dynamic_registration.software_statement.clone(),
        ..for_managing(ctx, work)?
    })
}

/// The server as changing and deleting need it: without what registering takes.
pub(super) fn for_managing(ctx: &Context, work: &Work) -> Result<DynamicRegistration, String> {
    let server = &work.observed.spec.server;
    Ok(DynamicRegistration {
        http: ctx.servers.of(server).map_err(|e| e.to_string())?,
        registration_endpoint: server.endpoints.registration_endpoint.clone().unwrap_or_default(),
        initial_access_token: None,
        software_statement: None,
    })
}

/// What is asked for, with our marker.
pub(super) fn metadata(work: &Work, jwks: Option<serde_json::Value>) -> ClientMetadata {
    let spec = &work.observed.spec;
    let r = &spec.request;
    ClientMetadata {
        mark: Mark { installation: spec.installation.clone(), entry: work.observed.name.clone() },
        client_name: names::marker(&spec.installation, &work.observed.name),
        scopes: r.scopes.clone(),
        grant_types: r.grant_types.clone(),
        redirect_uris: r.redirect_uris.clone(),
        token_endpoint_auth_method: r.token_endpoint_auth_method.as_str().into(),
        token_endpoint_auth_signing_alg: r.signing_alg.map(|a| a.as_str().into()),
        jwks: jwks.or_else(|| r.jwks.as_ref().and_then(|j| serde_json::to_value(j).ok())),
        owner_team: spec.owner.team.clone(),
        owner_email: r.contact.clone(),
        purpose: spec.purpose.clone(),
        object: format!("{}/{}", spec.client_ref.namespace, spec.client_ref.name),
        access_token_lifetime: spec.server.access_token_lifetime.get(),
    }
}
