//! `ClientRegistration`: the ledger. One entry for every client that ever existed at a server.

use chrono::{DateTime, Utc};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::authorization_server::{EvidenceLevel, RequestLimits, ServerEndpoints};
use super::backend::Backend;
use super::client_policy::OnViolation;
use super::common::{Condition, JsonWebKeySet, Owner, PinnedWorkload, SigningAlg, Span, TokenEndpointAuthMethod};

/// A ledger entry: one client at one authorization server. Written before the server is first called, kept
/// after revocation with its evidence. Only the operator writes it.
#[derive(CustomResource, Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "oauthclient.dev",
    version = "v1alpha1",
    kind = "ClientRegistration",
    plural = "clientregistrations",
    shortname = "oacreg",
    category = "oauth",
    namespaced,
    status = "ClientRegistrationStatus",
    derive = "PartialEq",
    doc = "A ledger entry: one client at one authorization server, with the evidence of its end.",
    printcolumn(name = "Namespace", type_ = "string", json_path = ".spec.clientRef.namespace"),
    printcolumn(name = "Client", type_ = "string", json_path = ".spec.clientRef.name"),
    printcolumn(name = "Server", type_ = "string", json_path = ".spec.server.name"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(name = "Ended", type_ = "string", json_path = ".status.end.reason"),
    printcolumn(name = "Evidence", type_ = "string", json_path = ".status.evidence.level"),
    printcolumn(name = "Owner", type_ = "string", json_path = ".spec.owner.team"),
    printcolumn(name = "Policy", type_ = "string", json_path = ".spec.policy.name", priority = 1),
    printcolumn(name = "Approved by", type_ = "string", json_path = ".spec.approval.approver", priority = 1),
    printcolumn(name = "Client ID", type_ = "string", json_path = ".status.clientId", priority = 1),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.clientRef == oldSelf.clientRef && self.attempt == oldSelf.attempt && self.installation == oldSelf.installation && self.server == oldSelf.server", "clientRef, attempt, installation and server of a ledger entry are immutable"))]
pub struct ClientRegistrationSpec {
    /// The OAuthClient it was made for.
    pub client_ref: ClientRef,
    /// Which attempt at registering that object this is, from 1.
    pub attempt: u32,
    /// Id of the operator's installation; with this entry's name it is the marker at the server.
    pub installation: String,
    /// Generation of the OAuthClient that the entry is in line with. An edit that is refused counts as well.
    pub generation: i64,
    /// Who answers for the client.
    pub owner: Owner,
    /// What the client is for.
    pub purpose: String,
    /// The authorization server as it was when the entry was made: everything that revoking takes.
    pub server: ServerSnapshot,
    /// What is asked for now.
    pub request: RegistrationRequest,
    /// The policy that allowed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,
    /// The approval that it runs on, where its policy asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<ApprovalRef>,
    /// The workload that bounds the client's life.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<PinnedWorkload>,
    /// When the object was first registered; lifetimes count from here.
    pub first_registered_at: DateTime<Utc>,
    /// When the client ends at the latest.
    pub expires_at: DateTime<Utc>,
    /// Not to be registered earlier: back-off after an attempt whose outcome is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<DateTime<Utc>>,
    /// The rotation that it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<RotationOf>,
    /// The rotation of the client's key in place: another key beside it, until the overlap is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_rotation: Option<KeyRotation>,
    /// Rotated away: it ends then, when the overlap with its successor is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retires_at: Option<DateTime<Utc>>,
    /// An end that was decided elsewhere, such as being replaced by a later entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

/// The policy that a client runs on, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyRef {
    /// Name of the ClientPolicy.
    pub name: String,
    /// What becomes of the client when no policy allows it any more; it holds where that policy is deleted.
    pub on_violation: OnViolation,
}

/// The approval that a client runs on, as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalRef {
    /// Name of the ClientApproval, in the client's namespace.
    pub name: String,
    /// What was approved.
    pub request_hash: String,
    /// By whom.
    pub approver: String,
    /// Why.
    pub reason: String,
    /// When.
    pub approved_at: DateTime<Utc>,
    /// Until when it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<DateTime<Utc>>,
}

/// Why a registration was made beside another that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RotationOf {
    /// Why the credential is rotated.
    pub reason: RotationReason,
    /// When that was asked for, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<DateTime<Utc>>,
}

/// Another key for a client that authenticates by `private_key_jwt`, beside the one that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRotation {
    /// When it was decided on; tells it from others.
    pub begun_at: DateTime<Utc>,
    /// Why the key is rotated.
    pub reason: RotationReason,
    /// When that was asked for, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested_at: Option<DateTime<Utc>>,
    /// When the key before is taken from the server: the new one is published, and the overlap is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retires_at: Option<DateTime<Utc>>,
}

/// What became of a rotation in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyRotationStatus {
    /// `begunAt` of the rotation that this is about.
    pub begun_at: DateTime<Utc>,
    /// When the new key was shown to work, and took the place of the one before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotated_at: Option<DateTime<Utc>>,
    /// When the key before was shown to be refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_at: Option<DateTime<Utc>>,
    /// Why the server did not take another key: a second registration has to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl KeyRotation {
    /// What became of this rotation, by the entry's status; `None` while another key is on its way to the server.
    pub fn became<'a>(&self, status: &'a ClientRegistrationStatus) -> Option<&'a KeyRotationStatus> {
        status.key_rotation.as_ref().filter(|s| s.begun_at == self.begun_at)
    }
}

impl KeyRotationStatus {
    /// Whether nothing is left to be done: the server took no second key, or the key before is gone.
    pub fn is_over(&self) -> bool {
        self.refused.is_some() || self.retired_at.is_some()
    }
}

/// Why a credential is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RotationReason {
    /// `rotation.every` is over.
    Scheduled,
    /// Somebody asked for it.
    Requested,
    /// The server lets the secret expire.
    SecretExpires,
}

/// Names an OAuthClient for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClientRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID: another object of that name is another client.
    pub uid: String,
}

/// An authorization server as it was when an entry was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerSnapshot {
    /// Name of the AuthorizationServer.
    pub name: String,
    /// Its generation.
    pub generation: i64,
    /// Its issuer.
    pub issuer: String,
    /// Its endpoints.
    pub endpoints: ServerEndpoints,
    /// How clients are registered.
    pub backend: Backend,
    /// PEM certificates to trust instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// Whether http URLs are permitted.
    pub allow_plain_http: bool,
    /// What the server is asked to bear.
    pub limits: RequestLimits,
    /// The longest a token may outlive its client.
    pub access_token_lifetime: Span,
    /// How long after an unanswered registration request its effect may still appear.
    pub settle_for: Span,
    /// What counts as revoked.
    pub least_evidence: EvidenceLevel,
}

/// What to register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RegistrationRequest {
    /// Scopes.
    pub scopes: Vec<String>,
    /// Grant types.
    pub grant_types: Vec<String>,
    /// Redirect URIs.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// Audiences that its tokens may be for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// How the client authenticates at the token endpoint.
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    /// Algorithm of the key made for private_key_jwt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing_alg: Option<SigningAlg>,
    /// The tenant's own public keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<JsonWebKeySet>,
    /// The owner's address.
    pub contact: String,
}

/// Why and when a client ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct End {
    /// One CamelCase word.
    pub reason: EndReason,
    /// A sentence for people.
    pub message: String,
    /// When the end was noticed.
    pub at: DateTime<Utc>,
}

/// Why a client ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum EndReason {
    /// The OAuthClient is being deleted.
    ClientDeleted,
    /// The OAuthClient is gone, its finalizers torn off, or another object has its name.
    ClientGone,
    /// The namespace is terminating.
    NamespaceTerminating,
    /// The namespace is gone, or another one has its name.
    NamespaceGone,
    /// The lifetime is over.
    Expired,
    /// `suspend: true`.
    Suspended,
    /// The workload finished.
    WorkloadFinished,
    /// The workload is gone, or another object has its name.
    WorkloadGone,
    /// The ledger entry was deleted.
    RegistrationDeleted,
    /// A later entry took its place.
    Replaced,
    /// The server granted more than was asked.
    GrantedTooMuch,
    /// The server no longer has the client, and it was not the operator who deleted it.
    GoneAtServer,
    /// No policy allows it any more, and the one that did says that it is to be revoked.
    PolicyViolation,
    /// A policy denies it.
    Denied,
    /// Nothing tells a live credential at this server from others, so an end that has to be Proven never could be.
    EvidenceUnobtainable,
}

impl EndReason {
    /// The name as it stands in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientDeleted => "ClientDeleted",
            Self::ClientGone => "ClientGone",
            Self::NamespaceTerminating => "NamespaceTerminating",
            Self::NamespaceGone => "NamespaceGone",
            Self::Expired => "Expired",
            Self::Suspended => "Suspended",
            Self::WorkloadFinished => "WorkloadFinished",
            Self::WorkloadGone => "WorkloadGone",
            Self::RegistrationDeleted => "RegistrationDeleted",
            Self::Replaced => "Replaced",
            Self::GrantedTooMuch => "GrantedTooMuch",
            Self::GoneAtServer => "GoneAtServer",
            Self::PolicyViolation => "PolicyViolation",
            Self::Denied => "Denied",
            Self::EvidenceUnobtainable => "EvidenceUnobtainable",
        }
    }
}

/// Where an entry stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// Written down; the server was not called yet.
    #[default]
    Pending,
    /// The server is being asked; without an answer on record, its outcome is unknown.
    Registering,
    /// The client exists.
    Registered,
    /// The end has come; revocation is not final yet. Lasting, it is a debt.
    Revoking,
    /// Gone, with evidence.
    Revoked,
    /// The server refused; there never was a client.
    Rejected,
    /// The end came before the server was called; there never was a client.
    Cancelled,
    /// A registration request had no answer: a client that nobody holds a credential of may exist.
    PossibleOrphan,
}

impl Phase {
    /// Whether nothing is left to be done at the server.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Revoked | Self::Rejected | Self::Cancelled)
    }

    /// The name as it stands in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Registering => "Registering",
            Self::Registered => "Registered",
            Self::Revoking => "Revoking",
            Self::Revoked => "Revoked",
            Self::Rejected => "Rejected",
            Self::Cancelled => "Cancelled",
            Self::PossibleOrphan => "PossibleOrphan",
        }
    }
}

/// What is known of the client at the server.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientRegistrationStatus {
    /// Generation of the spec that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where the entry stands.
    #[serde(default)]
    pub phase: Phase,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When the server was about to be asked to register.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempted_at: Option<DateTime<Utc>>,
    /// The client's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// When the client came to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registered_at: Option<DateTime<Utc>>,
    /// When the server lets the client's secret expire (RFC 7591 `client_secret_expires_at`), where it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_expires_at: Option<DateTime<Utc>>,
    /// Hash of the request that the server last took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<String>,
    /// Scopes that the client has: those that the server granted when it last took a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// Until then a registration request without an answer may still take effect; a revocation before is repeated
    /// after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settles_at: Option<DateTime<Utc>>,
    /// A change that the server did not take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_change: Option<FailedChange>,
    /// How the client at the server differs from what was asked, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
    /// What became of the last rotation of its key in place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_rotation: Option<KeyRotationStatus>,
    /// How this credential is told to be alive, and when it last was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acceptance: Option<Acceptance>,
    /// Why and when the client ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
    /// What became of asking the server to delete it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
    /// When revocation became final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<DateTime<Utc>>,
    /// Tokens already issued are dead from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens_expire_at: Option<DateTime<Utc>>,
    /// How the revocation is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// Why a client that cannot be revoked by this entry may exist at the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub possible_orphan: Option<PossibleOrphan>,
    /// Why the server refused the registration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
    /// Back-off after failures; survives restarts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Registered, Revoked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A change that the server did not take; the client goes on as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct FailedChange {
    /// Hash of the request.
    pub request: String,
    /// True: the server cannot change clients in place; a new registration has to replace this one.
    pub unsupported: bool,
    /// What the server answered.
    pub message: String,
}

/// How a client at the server differs from what was asked: somebody changed it there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drift {
    /// When that was found.
    pub since: DateTime<Utc>,
    /// What kind of difference it is.
    pub kind: DriftKind,
    /// What differs, in words.
    pub message: String,
}

/// Kinds of difference, by what is done about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum DriftKind {
    /// It may do more than was asked, or less: it is brought back at once.
    Changed,
    /// It was not among the server's clients: it is looked up, and is an end where it is really gone.
    Missing,
    /// An administrator of the server has switched it off: left alone, and shown.
    Disabled,
    /// It does not carry this installation's mark any more: left alone, and shown.
    Foreign,
}

impl DriftKind {
    /// The name as it stands in status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "Changed",
            Self::Missing => "Missing",
            Self::Disabled => "Disabled",
            Self::Foreign => "Foreign",
        }
    }
}

/// An answer to a probe: does this credential authenticate?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeRecord {
    /// When it was asked.
    pub at: DateTime<Utc>,
    /// HTTP status.
    pub status: u16,
    /// OAuth error code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// That the credential was accepted, and how that was found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Acceptance {
    /// What was asked: Revocation (RFC 7009), Introspection (RFC 7662) or AuthorizationCode (RFC 6749 4.1.3), each
    /// with a made-up token or code.
    pub method: String,
    /// The answer to a live credential.
    pub answer: ProbeRecord,
}

/// What became of asking the server to delete a client (RFC 7592 section 2.3).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    /// When it was first about to be asked, put on record before it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked_at: Option<DateTime<Utc>>,
    /// When it answered conclusively.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<DateTime<Utc>>,
    /// HTTP status of that answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Probes before it that the server took and answered uselessly. After five it is asked all the same.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub useless_probes: u32,
    /// True: it was an admin API that said 404, and it still answered for its realm: there is no such client.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// When it was repeated, after a registration request without an answer could no longer take effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeated_at: Option<DateTime<Utc>>,
}

impl Deletion {
    /// Whether the server took it, or says that there is no such client where that can be believed.
    pub fn is_taken(&self) -> bool {
        self.status.is_some_and(|s| (200..300).contains(&s) || (s == 404 && self.absent))
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// How a revocation is known: what was asked and what was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Proven, ServerConfirmed or Unverifiable.
    pub level: EvidenceLevel,
    /// What it rests on, in a sentence.
    pub statement: String,
    /// The credential was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Acceptance>,
    /// The deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion: Option<Deletion>,
    /// The same credential afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<ProbeRecord>,
    /// A client that never existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub never_existed: Option<ProbeRecord>,
}

/// A client that may exist and that this entry cannot revoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PossibleOrphan {
    /// Since when.
    pub since: DateTime<Utc>,
    /// Why, and how to look for it.
    pub message: String,
    /// True: the server answered, but with nothing to revoke the client by.
    #[serde(default)]
    pub unmanageable: bool,
}

/// Why the server refused a registration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rejection {
    /// HTTP status.
    pub status: u16,
    /// What the server said.
    pub message: String,
}

/// Back-off after failures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Retry {
    /// Failures in a row.
    pub failures: u32,
    /// Not before.
    pub next_at: DateTime<Utc>,
    /// The last failure.
    pub last_error: String,
}

impl ClientRegistration {
    /// The status, or that of an entry that has none yet.
    pub fn state(&self) -> ClientRegistrationStatus {
        self.status.clone().unwrap_or_default()
    }

    /// Whether something may be left at the server.
    pub fn is_live(&self) -> bool {
        self.status.as_ref().is_none_or(|s| !s.phase.is_final())
    }
}
