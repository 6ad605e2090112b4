//! `AuthorizationServer`: an issuer, how to register there, and who may.

use chrono::{DateTime, Utc};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::backend::Backend;
use super::common::{Condition, NamespaceSelector, Span};

/// An authorization server: its issuer, how to register clients there, and which namespaces may. Only platform
/// administrators write it; its credentials are Secrets in the operator's own namespace.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "oauthclient.dev",
    version = "v1alpha1",
    kind = "AuthorizationServer",
    plural = "authorizationservers",
    shortname = "authserver",
    category = "oauth",
    status = "AuthorizationServerStatus",
    derive = "PartialEq",
    doc = "An authorization server: its issuer, how to register clients there, and which namespaces may.",
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Issuer", type_ = "string", json_path = ".spec.issuer"),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].message",
        priority = 1
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.issuer == oldSelf.issuer", "issuer is immutable, so that management tokens never follow an edit to another host: create another AuthorizationServer"))]
#[x_kube(validation = ("self.issuer.startsWith('https://') || self.?allowPlainHttp.orValue(false)", "issuer must be an https URL; allowPlainHttp permits http inside a mesh or on loopback"))]
#[x_kube(validation = ("!has(self.backend.keycloak) || self.backend.keycloak.url.startsWith('https://') || self.?allowPlainHttp.orValue(false)", "backend.keycloak.url must be an https URL; allowPlainHttp permits http inside a mesh or on loopback"))]
#[x_kube(validation = ("!has(self.backend.hydra) || self.backend.hydra.adminUrl.startsWith('https://') || self.?allowPlainHttp.orValue(false)", "backend.hydra.adminUrl must be an https URL; allowPlainHttp permits http inside a mesh or on loopback"))]
#[x_kube(validation = ("!has(self.tls) || !self.issuer.startsWith('http://')", "tls has no meaning for an http issuer"))]
pub struct AuthorizationServerSpec {
    /// The issuer identifier, exactly as its metadata document says it (RFC 8414 section 2).
    #[schemars(length(min = 8, max = 1024))]
    #[x_kube(validation = ("isURL(self) && self.matches(r'^https?://[^/?#@]+(/[^?#]*)?$')", "issuer must be a URL with a host and without user information, query and fragment"))]
    pub issuer: String,
    /// How clients are registered: exactly one.
    pub backend: Backend,
    /// How the server's certificate is checked. Checking cannot be switched off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Permits http URLs, for a mesh or loopback; leaves a standing warning condition.
    #[serde(default)]
    pub allow_plain_http: bool,
    /// Namespaces whose OAuthClients may register here. Left empty: none.
    #[serde(default)]
    pub allowed_namespaces: NamespaceSelector,
    /// What this server is asked to bear.
    #[serde(default)]
    pub limits: RequestLimits,
    /// The longest a token may outlive its client.
    #[serde(default = "default_access_token_lifetime")]
    pub access_token_lifetime: Span,
    /// What revocation has to show.
    #[serde(default)]
    pub revocation: Revocation,
    /// Looking for clients of this installation that no ledger entry claims, where the server can list them.
    #[serde(default)]
    pub orphan_sweep: OrphanSweep,
    /// How often what the server has is compared with what was asked for; `0s` is never. Only where the server can list
    /// clients: reading one by RFC 7592 may replace its registration access token.
    #[serde(default = "default_drift_check")]
    pub drift_check: Span,
}

fn default_drift_check() -> Span {
    "1h".into()
}

/// Looking for clients of this installation that no ledger entry claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OrphanSweep {
    /// How often; `0s` is never but by the annotation oauthclient.dev/sweep.
    pub every: Span,
    /// How long an orphan is only reported before it is revoked.
    pub grace: Span,
    /// What becomes of orphans.
    pub action: OrphanAction,
    /// Revoke revokes no orphan, loudly, while more than this share (percent) of all clients is unclaimed: that is what
    /// a lost ledger looks like.
    #[schemars(range(min = 0, max = 100))]
    pub most_unclaimed_percent: u8,
}

impl Default for OrphanSweep {
    fn default() -> Self {
        Self { every: "1h".into(), grace: "24h".into(), action: OrphanAction::Report, most_unclaimed_percent: 20 }
    }
}

/// What becomes of orphans.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrphanAction {
    /// They are reported.
    #[default]
    Report,
    /// They are reported, and revoked after the grace.
    Revoke,
}

fn default_access_token_lifetime() -> Span {
    "1h".into()
}

/// Certificate checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// PEM certificates to trust instead of the system's.
    #[schemars(length(min = 1, max = 65536))]
    pub ca_bundle: String,
}

/// What a server is asked to bear.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestLimits {
    /// Requests a second, on average.
    #[schemars(range(min = 1, max = 10000))]
    pub requests_per_second: u32,
    /// Requests at once after a quiet time.
    #[schemars(range(min = 1, max = 10000))]
    pub burst: u32,
    /// Requests waiting for their answer at any time.
    #[schemars(range(min = 1, max = 1000))]
    pub max_in_flight: u32,
    /// Longest wait for an answer: from `1s` to `60s`.
    #[schemars(extend("x-kubernetes-validations" = [{
        "rule": "duration(self) >= duration('1s') && duration(self) <= duration('60s')",
        "message": "limits.requestTimeout must be from 1s to 60s",
    }]))]
    pub request_timeout: Span,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { requests_per_second: 20, burst: 40, max_in_flight: 8, request_timeout: "10s".into() }
    }
}

/// What revocation has to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Revocation {
    /// How long `kubectl delete` of an OAuthClient waits for proof; then the object goes and the debt stays in
    /// the ledger.
    pub hold_deletion_for: Span,
    /// How long after an unanswered registration request its effect may still appear.
    pub settle_for: Span,
    /// What counts as done. Left out: Proven, and ServerConfirmed for clients whose keys the tenant alone holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub least_evidence: Option<EvidenceLevel>,
}

impl Default for Revocation {
    fn default() -> Self {
        Self { hold_deletion_for: "5m".into(), settle_for: "15m".into(), least_evidence: None }
    }
}

/// How well a revocation is known, from weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum EvidenceLevel {
    /// Nothing says that the client is gone.
    Unverifiable,
    /// The server says so; there was no credential of ours to try.
    ServerConfirmed,
    /// The server took the deletion, and the credential that it accepted shortly before is now refused like one
    /// of a client that never existed.
    Proven,
}

impl EvidenceLevel {
    /// The name as it stands in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unverifiable => "Unverifiable",
            Self::ServerConfirmed => "ServerConfirmed",
            Self::Proven => "Proven",
        }
    }
}

/// What is known of the server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizationServerStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What the server's metadata document says (RFC 8414).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<ServerEndpoints>,
    /// What the server can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// When discovery first failed since it last worked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreachable_since: Option<DateTime<Utc>>,
    /// What the last survey of the server's clients found, where the server can list them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub survey: Option<Survey>,
    /// What the last comparison of the server's clients with what was asked for found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift_check: Option<DriftCheck>,
    /// Ready, PlainHttp, Orphans, CircuitOpen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// What a survey of the server's clients found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Survey {
    /// When.
    pub at: DateTime<Utc>,
    /// The installation whose clients were looked for: part of their marker, and of their client_id.
    #[serde(default)]
    pub installation: String,
    /// How many clients carry this installation's marker, without those that were revoked again.
    pub clients: u32,
    /// How many of them no live ledger entry claims.
    pub unclaimed: u32,
    /// Why orphans are not revoked although they should be: too many are unclaimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
    /// The oldest of those, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orphans: Vec<Orphan>,
}

/// What a comparison of the server's clients with what was asked for found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftCheck {
    /// When.
    pub at: DateTime<Utc>,
    /// How many clients were compared.
    pub clients: u32,
    /// How many of them were not as asked.
    pub drifted: u32,
}

/// A client with this installation's marker that no live ledger entry claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Orphan {
    /// Its client_id.
    pub client_id: String,
    /// The ledger entry that its marker names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// When it was first seen without an entry; the grace counts from here.
    pub since: DateTime<Utc>,
    /// When the server says that it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
}

/// The server's endpoints and identity (RFC 8414 section 2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerEndpoints {
    /// `token_endpoint`.
    pub token_endpoint: String,
    /// `registration_endpoint` (RFC 7591).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_endpoint: Option<String>,
    /// `revocation_endpoint` (RFC 7009).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation_endpoint: Option<String>,
    /// `introspection_endpoint` (RFC 7662).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub introspection_endpoint: Option<String>,
    /// SHA-256 thumbprints (RFC 7638) of the server's signing keys: another server of this name has others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key_thumbprints: Vec<String>,
}

/// What the server can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// It takes registrations.
    pub registration: bool,
    /// It lets registered clients be changed and deleted (RFC 7592). Nothing advertises this: true until a
    /// registration shows otherwise.
    pub management: bool,
    /// `token_endpoint_auth_methods_supported`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub token_endpoint_auth_methods: Vec<String>,
    /// `grant_types_supported`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grant_types: Vec<String>,
}
