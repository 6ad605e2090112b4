//! Authorization servers as they are asked about clients, with the operator's own credentials for them. Those are read
//! from their Secrets each time, so that a change is picked up at once.

use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use secrecy::{ExposeSecret, SecretString};

use super::Context;
use crate::api::{SecretKeyRef, ServerSnapshot};
use crate::authorization_server::Backend;
use crate::authorization_server::dynamic_registration::DynamicRegistration;
use crate::authorization_server::hydra::{self, Hydra};
use crate::authorization_server::keycloak::{AdminCredential, Keycloak, Settings};
use crate::authorization_server::limits::Priority;
use crate::kubernetes::look::explain;

/// What the server is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Registering too.
    Registering,
    /// Looking up and changing: what only registering takes is not needed, and may be gone.
    Managing,
    /// Ending a client, which goes before everything else.
    Ending,
}

/// The server, ready to be asked. The error says which Secret lacks what.
pub async fn open(ctx: &Context, server: &ServerSnapshot, purpose: Use) -> Result<Arc<dyn Backend>, String> {
    let priority = if purpose == Use::Ending { Priority::Ending } else { Priority::Other };
    let http = ctx.servers.of(server, priority).map_err(|e| e.to_string())?;
    if let Some(keycloak) = &server.backend.keycloak {
        let client_id = keycloak.client_id.clone();
        let (secret, by_key) = match (&keycloak.client_secret, &keycloak.private_key) {
            (Some(reference), _) => (value(ctx, reference).await?, false),
            (None, Some(reference)) => (value(ctx, reference).await?, true),
            (None, None) => return Err("the AuthorizationServer names no credential for Keycloak".into()),
        };
        let clock = ctx.clock.clone();
        let own = http.clone();
        let opened = ctx.servers.keycloak(server, &secret.clone(), move || {
            let credential = if by_key {
                AdminCredential::PrivateKeyJwt { client_id, key: secret }
            } else {
                AdminCredential::ClientSecret { client_id, secret }
            };
            let settings = Settings {
                base_url: keycloak.url.clone(),
                realm: keycloak.realm.clone(),
                issuer: server.issuer.clone(),
                credential,
            };
            Keycloak::new(own, settings, Arc::new(move || clock.now()))
        });
        return Ok(Arc::new(opened.over(http)));
    }
    if let Some(hydra) = &server.backend.hydra {
        let auth = match (&hydra.bearer_token, &hydra.basic_auth) {
            (Some(reference), _) => hydra::AdminCredential::Bearer(value(ctx, reference).await?),
            (None, Some(basic)) => {
                let part = |key: &str| SecretKeyRef { secret_name: basic.secret_name.clone(), key: key.to_owned() };
                let (username, password) = (value(ctx, &part("username")).await?, value(ctx, &part("password")).await?);
                hydra::AdminCredential::Basic { username: username.expose_secret().to_owned(), password }
            }
            (None, None) => hydra::AdminCredential::None,
        };
        return Ok(Arc::new(Hydra::new(http, &hydra.admin_url, auth)));
    }
    let registration = server.backend.dynamic_registration.clone().unwrap_or_default();
    let initial_access_token = match &registration.initial_access_token {
        Some(reference) if purpose == Use::Registering => Some(value(ctx, reference).await?),
        _ => None,
    };
    Ok(Arc::new(DynamicRegistration {
        http,
        registration_endpoint: server.endpoints.registration_endpoint.clone().unwrap_or_default(),
        initial_access_token,
        software_statement: registration.software_statement,
    }))
}

/// A value in a Secret of the operator's namespace, without white space around it.
async fn value(ctx: &Context, reference: &SecretKeyRef) -> Result<SecretString, String> {
    let place = format!("Secret {}/{}", ctx.namespace, reference.secret_name);
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let secret = secrets
        .get(&reference.secret_name)
        .await
        .map_err(|e| format!("read the operator's credential in {place}: {}", explain(&e)))?;
    let ByteString(bytes) = secret
        .data
        .unwrap_or_default()
        .remove(&reference.key)
        .ok_or_else(|| format!("{place} has no key {}", reference.key))?;
    let text = String::from_utf8(bytes).map_err(|_| format!("{}, key {}, is not text", place, reference.key))?;
    Ok(text.trim().to_owned().into())
}
