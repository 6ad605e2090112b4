//! `ClientApproval`: a person's decision on one client.

use chrono::{DateTime, Utc};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A decision on one client, bound to exactly what was asked. It never changes: decide anew by another one.
#[derive(CustomResource, Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "oauthclient.dev",
    version = "v1alpha1",
    kind = "ClientApproval",
    plural = "clientapprovals",
    shortname = "oacapproval",
    category = "oauth",
    namespaced,
    derive = "PartialEq",
    doc = "A decision on one client, bound to exactly what was asked.",
    printcolumn(name = "Client", type_ = "string", json_path = ".spec.client"),
    printcolumn(name = "Decision", type_ = "string", json_path = ".spec.decision"),
    printcolumn(name = "Approver", type_ = "string", json_path = ".spec.approver"),
    printcolumn(name = "Not after", type_ = "string", json_path = ".spec.notAfter"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = ("self == oldSelf", "an approval is immutable: decide anew by another ClientApproval"))]
#[x_kube(validation = ("self.decision == 'Denied' || has(self.requestHash)", "an approval needs requestHash: it is in the OAuthClient's status"))]
#[x_kube(validation = ("self.decision == 'Approved' || !has(self.notAfter)", "notAfter goes with Approved only: a denial stands as long as it exists"))]
pub struct ClientApprovalSpec {
    /// Name of the OAuthClient, in this namespace.
    #[schemars(length(min = 1, max = 253))]
    pub client: String,
    /// The AuthorizationServer that it is for: who decides needs the verb approve on it.
    #[schemars(length(min = 1, max = 253))]
    pub authorization_server: String,
    /// What is approved: `status.requestHash` of the OAuthClient. A denial is about the client by its name, whatever is
    /// asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^v1:sha256:[0-9a-f]{64}$"))]
    pub request_hash: Option<String>,
    /// Approved or Denied. A denial revokes what runs, and stands as long as it exists.
    pub decision: ApprovalDecision,
    /// Who decides: you. The API server compares.
    #[schemars(length(min = 1, max = 253))]
    pub approver: String,
    /// Why, such as a ticket.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = ("self.trim() != '' && !self.matches(r'[\\pC\\x{2028}\\x{2029}]')", "reason must not be blank and must not hold control or bidirectional characters"))]
    pub reason: String,
    /// The client ends then at the latest, unless another approval follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<DateTime<Utc>>,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ApprovalDecision {
    /// It may run as asked.
    Approved,
    /// It may not, whatever is asked.
    Denied,
}
