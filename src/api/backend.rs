//! How clients are registered at an authorization server, and with which credential of the operator's.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::SecretKeyRef;

/// How clients are registered: exactly one. Addresses are immutable, so that the operator's credentials never follow an
/// edit to another host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("[has(self.dynamicRegistration), has(self.keycloak), has(self.hydra)].filter(x, x).size() == 1", "backend needs exactly one way to register: dynamicRegistration, keycloak or hydra"))]
#[x_kube(validation = ("has(self.dynamicRegistration) == has(oldSelf.dynamicRegistration) && has(self.keycloak) == has(oldSelf.keycloak) && has(self.hydra) == has(oldSelf.hydra)", "the way to register is immutable: create another AuthorizationServer"))]
pub struct Backend {
    /// Dynamic client registration (RFC 7591) and its management (RFC 7592).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dynamic_registration: Option<DynamicRegistration>,
    /// Keycloak's Admin REST API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keycloak: Option<Keycloak>,
    /// Ory Hydra's admin API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hydra: Option<Hydra>,
}

impl Backend {
    /// Whether the caller chooses the client_id here, so that registering may be repeated after any doubt.
    pub fn chooses_id(&self) -> bool {
        self.dynamic_registration.is_none()
    }

    /// Whether the audiences that a client's tokens may be for can be set for it.
    pub fn restricts_audiences(&self) -> bool {
        self.hydra.is_some()
    }

    /// Whether clients of ours can be listed by our marker.
    pub fn lists(&self) -> bool {
        self.dynamic_registration.is_none()
    }
}

/// Dynamic client registration (RFC 7591).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DynamicRegistration {
    /// The initial access token that allows registering, where the server wants one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initial_access_token: Option<SecretKeyRef>,
    /// A software statement (RFC 7591 section 2.3) to send along.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16384))]
    pub software_statement: Option<String>,
}

/// Keycloak's Admin REST API, with a client of the operator's own in that realm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.clientSecret) != has(self.privateKey)", "keycloak needs exactly one of clientSecret and privateKey"))]
#[x_kube(validation = ("self.url == oldSelf.url && self.realm == oldSelf.realm", "url and realm are immutable, so that the operator's credential never follows an edit to another host: create another AuthorizationServer"))]
pub struct Keycloak {
    /// Base URL of Keycloak, without `/admin` and `/realms`, such as https://sso.corp.example.
    #[schemars(length(min = 8, max = 1024))]
    #[x_kube(validation = ("isURL(self) && self.matches(r'^https?://[^/?#@]+(/[^?#]*)?$')", "url must be a URL with a host and without user information, query and fragment"))]
    pub url: String,
    /// Name of the realm.
    #[schemars(length(min = 1, max = 255), regex(pattern = "^[^/?#%]+$"))]
    pub realm: String,
    /// The operator's own client in that realm: a service account that may manage clients.
    #[schemars(length(min = 1, max = 255))]
    pub client_id: String,
    /// Its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<SecretKeyRef>,
    /// Its private key (PKCS#8, PEM, ES256 or RS256), when it authenticates by private_key_jwt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_key: Option<SecretKeyRef>,
}

/// Ory Hydra's admin API. It asks for no credential of its own; what stands before it may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.bearerToken) || !has(self.basicAuth)", "hydra takes at most one of bearerToken and basicAuth"))]
#[x_kube(validation = ("self.adminUrl == oldSelf.adminUrl", "adminUrl is immutable, so that the operator's credential never follows an edit to another host: create another AuthorizationServer"))]
pub struct Hydra {
    /// Base URL of the admin API, without `/admin`, such as https://hydra-admin.corp.example.
    #[schemars(length(min = 8, max = 1024))]
    #[x_kube(validation = ("isURL(self) && self.matches(r'^https?://[^/?#@]+(/[^?#]*)?$')", "adminUrl must be a URL with a host and without user information, query and fragment"))]
    pub admin_url: String,
    /// A bearer token for a proxy before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bearer_token: Option<SecretKeyRef>,
    /// User name and password for a proxy before it: a Secret of type kubernetes.io/basic-auth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub basic_auth: Option<BasicAuth>,
}

/// User name and password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BasicAuth {
    /// Name of a Secret in the operator's namespace with the keys `username` and `password`.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
}
