//! `OAuthClient`: what a tenant asks for.

use chrono::{DateTime, Utc};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{
    Condition, JsonWebKeySet, Owner, PinnedWorkload, SigningAlg, Span, TokenEndpointAuthMethod, WorkloadRef,
};

/// A request for an OAuth client: who owns it, what it is for, what it may do and when it ends. The operator
/// registers it at an authorization server, publishes its credential in a Secret, and revokes it, with proof,
/// when this object is deleted, its lifetime is over, its workload ends, or it is suspended.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "oauthclient.dev",
    version = "v1alpha1",
    kind = "OAuthClient",
    plural = "oauthclients",
    shortname = "oac",
    category = "all",
    category = "oauth",
    namespaced,
    status = "OAuthClientStatus",
    derive = "PartialEq",
    doc = "A request for an OAuth client: who owns it, what it is for, what it may do and when it ends.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(name = "Until", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(name = "Durability", type_ = "string", json_path = ".status.durability"),
    printcolumn(name = "Owner", type_ = "string", json_path = ".spec.owner.team"),
    printcolumn(name = "Server", type_ = "string", json_path = ".spec.authorizationServerRef.name"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.binding.name", priority = 1),
    printcolumn(name = "Policy", type_ = "string", json_path = ".status.policy", priority = 1),
    printcolumn(name = "Approved by", type_ = "string", json_path = ".status.approval.approver", priority = 1),
    printcolumn(name = "Client ID", type_ = "string", json_path = ".status.clientId", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.authorizationServerRef == oldSelf.authorizationServerRef", "authorizationServerRef is immutable: create another OAuthClient for another server"))]
#[x_kube(validation = ("has(self.workloadRef) == has(oldSelf.workloadRef) && (!has(self.workloadRef) || self.workloadRef == oldSelf.workloadRef)", "workloadRef is immutable: create another OAuthClient for another workload"))]
#[x_kube(validation = ("has(self.secret) == has(oldSelf.secret) && (!has(self.secret) || self.secret.name == oldSelf.secret.name)", "secret.name is immutable: create another OAuthClient to publish elsewhere"))]
#[x_kube(validation = ("self.tokenEndpointAuthMethod != 'none' || !self.grantTypes.exists(g, g == 'client_credentials')", "tokenEndpointAuthMethod none cannot be used with the client_credentials grant: anybody could get tokens"))]
#[x_kube(validation = ("!self.grantTypes.exists(g, g in ['authorization_code', 'implicit']) || self.redirectUris.size() > 0", "redirectUris is required with the authorization_code and implicit grants"))]
#[x_kube(validation = ("!has(self.rotation) || (!has(self.jwks) && self.tokenEndpointAuthMethod != 'none')", "rotation needs a credential that is made here: remove rotation, or jwks, or tokenEndpointAuthMethod none"))]
#[x_kube(validation = ("!has(self.jwks) || self.tokenEndpointAuthMethod == 'private_key_jwt'", "jwks goes with tokenEndpointAuthMethod private_key_jwt only"))]
pub struct OAuthClientSpec {
    /// The authorization server to register at.
    pub authorization_server_ref: AuthorizationServerRef,
    /// Who answers for this client.
    pub owner: Owner,
    /// What this client is for, in words that a reviewer understands a year from now.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = ("self.trim() != ''", "purpose must not be blank"))]
    #[x_kube(validation = ("!self.matches(r'[\\pC\\x{2028}\\x{2029}]')", "purpose must not hold control or bidirectional characters"))]
    pub purpose: String,
    /// Scopes it may ask for, each in RFC 6749 syntax. The least that will do.
    #[schemars(length(min = 1, max = 100), inner(length(min = 1, max = 256)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = ("self.all(s, s.matches(r'^[\\x21\\x23-\\x5B\\x5D-\\x7E]+$'))", "each scope is one RFC 6749 scope token: printable ASCII without space, quotation mark and backslash"))]
    pub scopes: Vec<String>,
    /// Audiences that tokens may be for (RFC 8707 resources, or the server's own names), where the server can
    /// restrict them: Hydra by its admin API. None: none may be asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), inner(length(min = 1, max = 512)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = ("self.all(a, a.matches(r'^[\\x21-\\x7E]+$'))", "each audience is printable ASCII without space, such as https://api.corp.example"))]
    pub audiences: Vec<String>,
    /// OAuth grant types.
    #[serde(default = "default_grant_types")]
    #[schemars(length(min = 1, max = 10), inner(length(min = 1, max = 128)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = ("self.all(g, g.matches(r'^[a-z][a-z0-9_:.-]*$'))", "each grant type is a name such as client_credentials or a urn"))]
    pub grant_types: Vec<String>,
    /// Redirect URIs: absolute, without fragment; required with authorization_code.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 2048)), extend("x-kubernetes-list-type" = "set"))]
    #[x_kube(validation = ("self.all(u, u.matches(r'^[A-Za-z][A-Za-z0-9+.-]*:[\\x21\\x24-\\x3b\\x3d\\x3f-\\x5b\\x5d\\x5f\\x61-\\x7a\\x7e]+$'))", "each redirect URI must be absolute (https://host/path) and have no fragment (#)"))]
    #[x_kube(validation = ("self.all(u, !u.lowerAscii().matches(r'^(javascript|data|vbscript|file|about|blob):'))", "redirect URIs must not use the schemes javascript, data, vbscript, file, about or blob"))]
    #[x_kube(validation = ("self.all(u, !u.matches(r'^[A-Za-z][A-Za-z0-9+.-]*://[^/?]*@'))", "redirect URIs must not hold user information (user@host)"))]
    #[x_kube(validation = ("self.all(u, !u.lowerAscii().matches(r'^https?:') || isURL(u) && url(u).getHost() != '')", "http and https redirect URIs must name a host"))]
    pub redirect_uris: Vec<String>,
    /// How the client authenticates at the token endpoint.
    #[serde(default)]
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    /// Algorithm of the key made for private_key_jwt.
    #[serde(default)]
    pub token_endpoint_auth_signing_alg: SigningAlg,
    /// With private_key_jwt: your own public keys. The private key never leaves you, and no Secret is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<JsonWebKeySet>,
    /// When the client ends.
    pub lifetime: Lifetime,
    /// The workload that the client is for; the client ends when it does. It must exist before the client is
    /// registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_ref: Option<WorkloadRef>,
    /// The Secret to publish the credential in; left out, it is called like this object with `-oauth` appended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretTemplate>,
    /// When the credential is replaced by a new one while the client goes on. At once: the annotation
    /// oauthclient.dev/rotate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// True: revoke now and stay revoked until this is false again.
    #[serde(default)]
    pub suspend: bool,
    /// Delete this object so many seconds after revocation is final. Left out: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub ttl_seconds_after_finished: Option<i64>,
}

/// When and how the credential is rotated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.every) || duration(self.every) >= duration('1m')", "rotation.every must be at least one minute"))]
#[x_kube(validation = ("!has(self.every) || !has(self.overlap) || duration(self.overlap) < duration(self.every)", "rotation.overlap must be shorter than rotation.every"))]
pub struct Rotation {
    /// How often. Left out: only when it is asked for, or when the server's secret is about to expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every: Option<Span>,
    /// How long the credential before goes on working after the new one was published. Default 1h, or half of `every`
    /// where that is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Span>,
}

fn default_grant_types() -> Vec<String> {
    vec!["client_credentials".into()]
}

/// Names an `AuthorizationServer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationServerRef {
    /// Name of the AuthorizationServer.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// When a client ends: exactly one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("has(self.ttl) != has(self.expiresAt)", "lifetime needs exactly one of ttl and expiresAt"))]
#[x_kube(validation = ("!has(self.ttl) || duration(self.ttl) > duration('0s')", "lifetime.ttl must be longer than zero"))]
pub struct Lifetime {
    /// How long, from the first registration, such as `1h` or `720h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// Until when (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
}

/// How to publish the credential.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretTemplate {
    /// Name of the Secret, in this namespace. A Secret that the operator did not make is never touched.
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Other names for keys, such as `clientId: OAUTH_CLIENT_ID`.
    #[serde(default)]
    pub keys: SecretKeys,
}

/// Names of the keys in the published Secret; each left out has its default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("[self.?clientId.orValue('client_id'), self.?clientSecret.orValue('client_secret'), self.?issuer.orValue('issuer'), self.?tokenEndpoint.orValue('token_endpoint'), self.?scopes.orValue('scopes'), self.?tokenEndpointAuthMethod.orValue('token_endpoint_auth_method'), self.?expiresAt.orValue('expires_at'), self.?privateKey.orValue('private_key.pem'), self.?keyId.orValue('key_id'), 'type', 'provider'].all(k, [self.?clientId.orValue('client_id'), self.?clientSecret.orValue('client_secret'), self.?issuer.orValue('issuer'), self.?tokenEndpoint.orValue('token_endpoint'), self.?scopes.orValue('scopes'), self.?tokenEndpointAuthMethod.orValue('token_endpoint_auth_method'), self.?expiresAt.orValue('expires_at'), self.?privateKey.orValue('private_key.pem'), self.?keyId.orValue('key_id'), 'type', 'provider'].exists_one(o, o == k))", "two keys of the Secret would have the same name (type and provider are taken too)"))]
pub struct SecretKeys {
    /// Default `client_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub client_id: Option<String>,
    /// Default `client_secret`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub client_secret: Option<String>,
    /// Default `issuer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub issuer: Option<String>,
    /// Default `token_endpoint`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub token_endpoint: Option<String>,
    /// Default `scopes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub scopes: Option<String>,
    /// Default `token_endpoint_auth_method`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub token_endpoint_auth_method: Option<String>,
    /// Default `expires_at`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub expires_at: Option<String>,
    /// Default `private_key.pem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub private_key: Option<String>,
    /// Default `key_id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = "^[-._a-zA-Z0-9]+$"))]
    pub key_id: Option<String>,
}

/// What became of the request.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OAuthClientStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// One word: Pending (something is waited for), Refused (an edit or an administrator is called for), Registering, Ready,
    /// Disabled (switched off at the server), Overdue (its time is over by a clock that is not to be believed), Revoking or
    /// Revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The most important condition's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The client's id at the authorization server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Hash of everything governed in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_hash: Option<String>,
    /// The ClientPolicy that allows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The approval that it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovedBy>,
    /// When the client was first registered; ttl counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<DateTime<Utc>>,
    /// When it ends at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<DateTime<Utc>>,
    /// Ephemeral: it ends with a workload that runs to completion, or lives at most 24 hours from its first registration.
    /// Durable: anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durability: Option<Durability>,
    /// When it was proven revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
    /// Tokens already issued are dead from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_expire_at: Option<DateTime<Utc>>,
    /// When the credential is to be rotated next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_rotation_at: Option<DateTime<Utc>>,
    /// What became of rotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationStatus>,
    /// The ledger entry, in the operator's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_ref: Option<RegistrationRef>,
    /// How many registrations were begun for this object, ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// The workload found under `workloadRef`; another object of that name is not it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<PinnedWorkload>,
    /// The Secret with the credential (Service Binding Specification for Kubernetes: provisioned service).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// Accepted, Approved, Registered, Ready; Compliant, False where no policy allows any more what runs; Ending ahead of an
    /// end by time; Reconciling while a change is not made yet; Stalled when it takes an edit or an administrator to go
    /// on; Drifted when somebody changed the client at the server; Revoked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// Whether a client is an identity that stays, or one that is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Durability {
    /// It stays until somebody ends it, or for longer than a day.
    Durable,
    /// It ends with a workload that runs to completion, or within a day.
    Ephemeral,
}

impl Durability {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Durable => "Durable",
            Self::Ephemeral => "Ephemeral",
        }
    }
}

/// The approval that a client runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApprovedBy {
    /// Name of the ClientApproval.
    pub name: String,
    /// Who gave it.
    pub approver: String,
}

/// What became of rotations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationStatus {
    /// When one was asked for that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<DateTime<Utc>>,
    /// When the last one brought the credential that is published now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotated_at: Option<DateTime<Utc>>,
    /// Which way it was done: InPlace (another key for the same client), or NewRegistration (the client_id changes as
    /// well).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub way: Option<String>,
}

/// Names a ledger entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationRef {
    /// Name of the ClientRegistration.
    pub name: String,
    /// Which attempt at registering this object it is, from 1.
    pub attempt: u32,
    /// Generation of this object when the entry was made.
    pub generation: i64,
}

/// Names a Secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Binding {
    /// Name of the Secret.
    pub name: String,
}

impl OAuthClientSpec {
    /// Name of the Secret to publish in, for an object of this name. None is made where the tenant holds the key.
    pub fn secret_name(&self, object_name: &str) -> String {
        self.secret.as_ref().map_or_else(|| format!("{object_name}-oauth"), |s| s.name.clone())
    }

    /// Names of the keys to publish under.
    pub fn secret_keys(&self) -> SecretKeys {
        self.secret.as_ref().map(|s| s.keys.clone()).unwrap_or_default()
    }
}
