//! The tenant's Secret: what it holds, and whose one that is already there is.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;
use kube::api::ObjectMeta;
use secrecy::ExposeSecret;

use super::management_secret::Stored;
use crate::api::{
    CHECKSUM_ANNOTATION, CLIENT_NAME_LABEL, CLIENT_UID_LABEL, ClientRegistration, INSTALLATION_LABEL, MANAGED_BY_LABEL,
    MANAGER, OAuthClient,
};
use crate::domain::names;

/// The Secret to publish for a client: its credential, and what using it takes.
pub fn build(
    client: &OAuthClient,
    entry: &ClientRegistration,
    stored: &Stored,
    key_id: Option<&str>,
) -> Option<Secret> {
    let object = client.metadata.name.clone().unwrap_or_default();
    if entry.spec.request.jwks.is_some() {
        return None;
    }
    let name = client.spec.secret_name(&object);
    let keys = client.spec.secret_keys();
    let mut data = BTreeMap::new();
    let mut put = |chosen: &Option<String>, default: &str, value: &str| {
        data.insert(chosen.clone().unwrap_or_else(|| default.to_owned()), ByteString(value.as_bytes().to_vec()));
    };
    put(&keys.client_id, "client_id", &stored.management.client_id);
    if let Some(secret) = &stored.client_secret {
        put(&keys.client_secret, "client_secret", secret.expose_secret());
    }
    if let Some(key) = &stored.private_key {
        put(&keys.private_key, "private_key.pem", key.expose_secret());
        put(&keys.key_id, "key_id", key_id.unwrap_or_default());
    }
    put(&keys.issuer, "issuer", &entry.spec.server.issuer);
    put(&keys.token_endpoint, "token_endpoint", &entry.spec.server.endpoints.token_endpoint);
    // What the client has, not what was asked for since: a change may be under way, or refused.
    let mut scopes = entry.state().scopes.unwrap_or_else(|| entry.spec.request.scopes.clone());
    scopes.sort_unstable();
    put(&keys.scopes, "scopes", &scopes.join(" "));
    let method = entry.spec.request.token_endpoint_auth_method.as_str();
    put(&keys.token_endpoint_auth_method, "token_endpoint_auth_method", method);
    put(&keys.expires_at, "expires_at", &entry.spec.expires_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true));
    // The Service Binding Specification for Kubernetes asks for these two.
    put(&None, "type", "oauth2");
    put(&None, "provider", &entry.spec.server.name);
    let uid = client.metadata.uid.clone().unwrap_or_default();
    Some(Secret {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: client.metadata.namespace.clone(),
            labels: Some(
                [
                    (MANAGED_BY_LABEL.into(), MANAGER.into()),
                    (CLIENT_NAME_LABEL.into(), names::label(&object)),
                    (CLIENT_UID_LABEL.into(), uid.clone()),
                    (INSTALLATION_LABEL.into(), entry.spec.installation.clone()),
                ]
                .into(),
            ),
            annotations: Some([(CHECKSUM_ANNOTATION.into(), checksum(&data))].into()),
            owner_references: Some(vec![OwnerReference {
                api_version: OAuthClient::api_version(&()).into(),
                kind: OAuthClient::kind(&()).into(),
                name: object,
                uid,
                controller: Some(true),
                block_owner_deletion: None,
            }]),
            ..ObjectMeta::default()
        },
        type_: Some("Opaque".into()),
        data: Some(data),
        ..Secret::default()
    })
}

fn checksum(data: &BTreeMap<String, ByteString>) -> String {
    let digests: BTreeMap<_, _> = data.iter().map(|(k, v)| (k, names::hex(&v.0))).collect();
    names::hash(&digests)
}

/// Whether a Secret holds what was last published in it.
pub fn is_intact(secret: &Secret) -> bool {
    let noted = secret.metadata.annotations.as_ref().and_then(|a| a.get(CHECKSUM_ANNOTATION));
    noted == Some(&checksum(secret.data.as_ref().unwrap_or(&BTreeMap::new())))
}

/// Whether a Secret was made for this very object: by its controller reference or, where somebody took that off, by the
/// object's UID in its labels.
pub fn is_ours(secret: &Secret, client_uid: &str) -> bool {
    if let Some(controller) = controller(secret) {
        return controller.uid == client_uid;
    }
    let label = |key: &str| secret.metadata.labels.as_ref().and_then(|l| l.get(key)).map(String::as_str);
    label(MANAGED_BY_LABEL) == Some(MANAGER) && label(CLIENT_UID_LABEL) == Some(client_uid)
}

fn controller(secret: &Secret) -> Option<&OwnerReference> {
    secret.metadata.owner_references.iter().flatten().find(|o| o.controller == Some(true))
}

/// Whose a Secret that is not ours is, in words.
pub fn whose(secret: &Secret) -> String {
    match controller(secret) {
        Some(o) => format!("belongs to {} {}", o.kind, o.name),
        None => "was not made by this operator".into(),
    }
}

/// Whether what is there is what should be: data, checksum, labels and owner.
pub fn is_up_to_date(found: &Secret, wanted: &Secret) -> bool {
    let holds = |have: &Option<BTreeMap<String, String>>, want: &Option<BTreeMap<String, String>>| {
        want.iter().flatten().all(|(k, v)| have.as_ref().and_then(|h| h.get(k)) == Some(v))
    };
    found.data == wanted.data
        && holds(&found.metadata.labels, &wanted.metadata.labels)
        && holds(&found.metadata.annotations, &wanted.metadata.annotations)
        && found.metadata.owner_references == wanted.metadata.owner_references
}
