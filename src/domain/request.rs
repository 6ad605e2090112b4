//! What is asked of a server, and whether what it granted is within that (G8).

use std::collections::BTreeSet;

use crate::api::{OAuthClient, OAuthClientSpec, REQUESTED_BY_ANNOTATION, RegistrationRequest, TokenEndpointAuthMethod};
use crate::domain::{merge_patch, names};

/// What the server says that it registered; `None` where it did not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// Scopes.
    pub scopes: Option<Vec<String>>,
    /// Grant types.
    pub grant_types: Option<Vec<String>>,
    /// Redirect URIs.
    pub redirect_uris: Option<Vec<String>>,
    /// Audiences that its tokens may be for.
    pub audiences: Option<Vec<String>>,
    /// Authentication method.
    pub token_endpoint_auth_method: Option<String>,
}

/// What is to be registered for a spec.
pub fn of(spec: &OAuthClientSpec) -> RegistrationRequest {
    let own_key = spec.token_endpoint_auth_method == TokenEndpointAuthMethod::PrivateKeyJwt && spec.jwks.is_none();
    RegistrationRequest {
        scopes: sorted(&spec.scopes),
        grant_types: sorted(&spec.grant_types),
        redirect_uris: sorted(&spec.redirect_uris),
        audiences: sorted(&spec.audiences),
        token_endpoint_auth_method: spec.token_endpoint_auth_method,
        signing_alg: own_key.then_some(spec.token_endpoint_auth_signing_alg),
        jwks: spec.jwks.clone(),
        contact: spec.owner.email.clone(),
    }
}

/// A request as a JSON merge patch.
pub fn patch(request: &RegistrationRequest) -> serde_json::Value {
    merge_patch::replacing(request, &["audiences", "signingAlg", "jwks"])
}

/// Whether the change from one request to another needs a new registration: the credential itself is of another
/// kind.
pub fn needs_replacement(from: &RegistrationRequest, to: &RegistrationRequest) -> bool {
    from.token_endpoint_auth_method != to.token_endpoint_auth_method
        || from.signing_alg != to.signing_alg
        || from.jwks.is_some() != to.jwks.is_some()
}

/// Identifies a request.
pub fn hash(request: &RegistrationRequest) -> String {
    names::hash(request)
}

/// Everything governed in an object's request, with the object's and the workload's identity and who asked: what an
/// approval is bound to.
pub fn governed_hash(client: &OAuthClient, workload_uid: Option<&str>) -> String {
    let spec = &client.spec;
    let requesters = client.metadata.annotations.as_ref().and_then(|a| a.get(REQUESTED_BY_ANNOTATION));
    names::hash(&serde_json::json!({
        "uid": client.metadata.uid,
        "workloadUid": workload_uid,
        "server": spec.authorization_server_ref,
        "owner": spec.owner,
        "purpose": spec.purpose,
        "lifetime": spec.lifetime,
        "workload": spec.workload_ref,
        "request": of(spec),
        "requestedBy": requesters,
    }))
}

/// What the server granted beyond what was asked, in words; `None` when it kept within. Scopes of a server that
/// did not say are taken for what was asked, since `scope` was sent (RFC 7591 section 3.2.1 has the server return
/// what it changed).
pub fn granted_too_much(request: &RegistrationRequest, granted: &Grant) -> Option<String> {
    let mut found = Vec::new();
    let mut compare = |what: &str, asked: &[String], got: Option<&Vec<String>>| {
        let asked: BTreeSet<&str> = asked.iter().map(String::as_str).collect();
        let extra: Vec<&str> = got.into_iter().flatten().map(String::as_str).filter(|g| !asked.contains(g)).collect();
        if !extra.is_empty() {
            found.push(format!("{what} {}", cut(&extra.join(" "))));
        }
    };
    compare("scopes", &request.scopes, granted.scopes.as_ref());
    compare("grant types", &request.grant_types, granted.grant_types.as_ref());
    compare("redirect URIs", &request.redirect_uris, granted.redirect_uris.as_ref());
    compare("audiences", &request.audiences, granted.audiences.as_ref());
    let method = request.token_endpoint_auth_method.as_str();
    if let Some(got) = granted.token_endpoint_auth_method.as_deref().filter(|got| *got != method) {
        found.push(format!("authentication method {} instead of {method}", cut(got)));
    }
    (!found.is_empty()).then(|| found.join("; "))
}

/// A server's words, short and in one line.
pub fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

fn sorted(list: &[String]) -> Vec<String> {
    list.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect()
}
