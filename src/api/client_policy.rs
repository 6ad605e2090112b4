//! `ClientPolicy`: what the platform allows. Nothing is allowed that no policy allows.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{NamespaceSelector, Span, TokenEndpointAuthMethod};

/// What clients may be registered, for whom and for how long. One policy must allow the whole of a request; what no
/// policy allows is refused. Only platform administrators write it.
///
/// Patterns: `*` stands for any run of characters, none included; everything else for itself. Redirect URIs and e-mail
/// addresses are matched part by part, so that a `*` never reaches into another part.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "oauthclient.dev",
    version = "v1alpha1",
    kind = "ClientPolicy",
    plural = "clientpolicies",
    shortname = "oacpolicy",
    category = "oauth",
    derive = "PartialEq",
    doc = "What clients may be registered, for whom and for how long. What no policy allows is refused.",
    printcolumn(name = "Servers", type_ = "string", json_path = ".spec.appliesTo.authorizationServers"),
    printcolumn(name = "Approval", type_ = "string", json_path = ".spec.approval.mode"),
    printcolumn(name = "Longest", type_ = "string", json_path = ".spec.limits.maxLifetime"),
    printcolumn(name = "On violation", type_ = "string", json_path = ".spec.onViolation"),
    printcolumn(name = "Denies", type_ = "string", json_path = ".spec.deny.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ClientPolicySpec {
    /// Which requests it is about. A policy that is about none allows nothing.
    #[serde(default)]
    pub applies_to: AppliesTo,
    /// What it allows. A field left out allows nothing.
    #[serde(default)]
    pub allow: Allow,
    /// How much of it.
    #[serde(default)]
    pub limits: PolicyLimits,
    /// What a request must have.
    #[serde(default)]
    pub require: Require,
    /// Whether a person has to say yes as well.
    #[serde(default)]
    pub approval: Approval,
    /// What becomes of a running client that a changed policy no longer allows.
    #[serde(default)]
    pub on_violation: OnViolation,
    /// Break-glass: what is denied whatever any policy allows. Running clients are revoked at once, and none comes back as
    /// long as this stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<Deny>,
}

/// What is denied: a client that any one of the lists names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self.all || self.clients.size() + self.owners.size() + self.namespaces.size() + self.authorizationServers.size() > 0", "deny names nothing: give clients, owners, namespaces or authorizationServers, or set all"))]
#[x_kube(validation = ("self.reason.trim() != ''", "deny.reason must not be blank: it is what the ledger says"))]
pub struct Deny {
    /// Clients, as `namespace/name`; `*` stands for a run of characters within either.
    #[serde(default)]
    #[schemars(length(max = 1000), inner(length(min = 3, max = 317)))]
    #[x_kube(validation = ("self.all(c, c.matches(r'^[^/]+/[^/]+$'))", "a client is namespace/name"))]
    pub clients: Vec<String>,
    /// Owners, by e-mail pattern as in allow.ownerEmails.
    #[serde(default)]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 254)))]
    #[x_kube(validation = ("self.all(p, p == '*' || p.matches(r'^[^@]+@[^@]+$'))", "an owner's pattern is an e-mail address with one @, such as *@corp.example, or * alone"))]
    pub owners: Vec<String>,
    /// Namespaces, by name.
    #[serde(default)]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 63)))]
    pub namespaces: Vec<String>,
    /// AuthorizationServers, by name.
    #[serde(default)]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 253)))]
    pub authorization_servers: Vec<String>,
    /// Every client.
    #[serde(default)]
    pub all: bool,
    /// Why, for the ledger.
    #[schemars(length(min = 1, max = 512))]
    pub reason: String,
}

/// Which requests a policy is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("!has(self.namespaces) || !has(self.namespaces.matchLabels) || self.namespaces.matchLabels.all(k, k.startsWith('oauthclient.dev/') || k == 'kubernetes.io/metadata.name')", "labels that a policy reads begin with oauthclient.dev/, which only the platform may set on a namespace"))]
pub struct AppliesTo {
    /// Namespaces, by name or by label. Left empty: none. A label that is read here begins with oauthclient.dev/, which
    /// only the platform may set on a namespace.
    #[serde(default)]
    pub namespaces: NamespaceSelector,
    /// Names of AuthorizationServers; `*` alone means every one. Left empty: none.
    #[serde(default)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 253)))]
    pub authorization_servers: Vec<String>,
}

/// What a policy allows. A field left out allows nothing; `*` alone allows anything there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Allow {
    /// Owners, by e-mail: `*` stands for a run of characters on one side of the `@`, as in `*@corp.example`.
    #[serde(default)]
    #[schemars(length(max = 200), inner(length(min = 1, max = 254)))]
    #[x_kube(validation = ("self.all(p, p == '*' || p.matches(r'^[^@]+@[^@]+$'))", "an owner's pattern is an e-mail address with one @, such as *@corp.example, or * alone"))]
    pub owner_emails: Vec<String>,
    /// Scopes, such as `reports.*`.
    #[serde(default)]
    #[schemars(length(max = 200), inner(length(min = 1, max = 256)))]
    pub scopes: Vec<String>,
    /// Grant types, by name.
    #[serde(default)]
    #[schemars(length(max = 20), inner(length(min = 1, max = 128)))]
    pub grant_types: Vec<String>,
    /// Authentication methods at the token endpoint.
    #[serde(default)]
    #[schemars(length(max = 10))]
    pub token_endpoint_auth_methods: Vec<TokenEndpointAuthMethod>,
    /// Redirect URIs, matched by scheme, host, port and path: `https://*.corp.example/*` means any host below
    /// corp.example and any path; `http://127.0.0.1:*/callback` any port. A query is allowed where the pattern has the
    /// same one. A URI of another scheme than http and https is allowed by the very same text only.
    #[serde(default)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 2048)))]
    #[x_kube(validation = ("self.all(p, p == '*' || p.matches(r'^[A-Za-z][A-Za-z0-9+.-]*:[^*\\s][^\\s]*$') || p.matches(r'^https?://[*]'))", "a redirect URI's pattern is a URI with its scheme, such as https://*.corp.example/*, or * alone"))]
    pub redirect_uris: Vec<String>,
    /// Audiences.
    #[serde(default)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 512)))]
    pub audiences: Vec<String>,
    /// Kinds of workloads that a client may be bound to, as `batch/v1/Job`. A client that is bound to none needs none.
    #[serde(default)]
    #[schemars(length(max = 100), inner(length(min = 1, max = 381)))]
    pub workload_kinds: Vec<String>,
}

/// How much of what it allows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyLimits {
    /// The longest life of a client, from its first registration. Left out: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime: Option<Span>,
    /// How many clients may live in one namespace, whatever policy allowed them. Left out: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_clients_per_namespace: Option<u32>,
    /// How many clients may live that have one owner (by e-mail), in all namespaces. Left out: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub max_clients_per_owner: Option<u32>,
}

/// What a request must have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Require {
    /// A workload that it ends with.
    #[serde(default)]
    pub workload_ref: bool,
    /// Rotation, at least as often as this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Span>,
    /// The owner's team is what this label of the namespace says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 317))]
    #[x_kube(validation = ("self.startsWith('oauthclient.dev/')", "a label that a policy reads begins with oauthclient.dev/, which only the platform may set on a namespace"))]
    pub owner_matches_namespace_label: Option<String>,
    /// This authentication method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_endpoint_auth_method: Option<TokenEndpointAuthMethod>,
}

/// Whether a person has to say yes as well, by a ClientApproval.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("(self.mode == 'WhenScopes') == (self.scopes.size() > 0)", "approval.scopes goes with mode WhenScopes, which needs them"))]
pub struct Approval {
    /// Never, Always, or WhenScopes.
    #[serde(default)]
    pub mode: ApprovalMode,
    /// With WhenScopes: the scopes that need it, such as `*.write`.
    #[serde(default)]
    #[schemars(length(max = 200), inner(length(min = 1, max = 256)))]
    pub scopes: Vec<String>,
    /// How long an approval holds from when it was given, at most. Left out: as long as it says itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_validity: Option<Span>,
}

/// When a person has to say yes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalMode {
    /// The policy is enough.
    #[default]
    Never,
    /// For every client.
    Always,
    /// For clients that ask for certain scopes.
    WhenScopes,
}

/// What becomes of a running client that a changed policy no longer allows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnViolation {
    /// It goes on, and is shown as not compliant.
    #[default]
    Warn,
    /// It is revoked.
    Revoke,
}
