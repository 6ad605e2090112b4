//! The server that an entry is about, and what it is asked to register.

use std::sync::Arc;

use super::observe::Work;
use crate::authorization_server::{Backend, ClientMetadata, Mark};
use crate::controller::{Context, backends};
use crate::domain::names;

/// The server as registering needs it.
pub(super) async fn for_registering(ctx: &Context, work: &Work) -> Result<Arc<dyn Backend>, String> {
    backends::open(ctx, &work.observed.spec.server, backends::Use::Registering).await
}

/// The server as looking up, changing and deleting need it: without what registering takes besides.
pub(super) async fn for_managing(ctx: &Context, work: &Work) -> Result<Arc<dyn Backend>, String> {
    let ends = work.observed.status.end.is_some();
    let purpose = if ends { backends::Use::Ending } else { backends::Use::Managing };
    backends::open(ctx, &work.observed.spec.server, purpose).await
}

/// Whose client it is.
pub(super) fn mark(work: &Work) -> Mark {
    Mark { installation: work.observed.spec.installation.clone(), entry: work.observed.name.clone() }
}

/// What is asked for, with our marker.
pub(super) fn metadata(work: &Work, jwks: Option<serde_json::Value>) -> ClientMetadata {
    let spec = &work.observed.spec;
    let r = &spec.request;
    ClientMetadata {
        mark: mark(work),
        client_name: names::marker(&spec.installation, &work.observed.name),
        scopes: r.scopes.clone(),
        grant_types: r.grant_types.clone(),
        redirect_uris: r.redirect_uris.clone(),
        audiences: r.audiences.clone(),
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
