//! Whether the API server keeps true who asked and who approved, and since when: tried, by forging both in a dry run.

use std::time::Duration;

use chrono::{DateTime, Utc};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PartialObjectMeta, PostParams};
use kube::{Client, Error, Resource};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::api::{ClientApproval, OAuthClient, REQUESTED_BY_ANNOTATION};

/// How long an answer holds where nothing is decided by it.
const KEPT: Duration = Duration::from_secs(30);
/// Nobody has this name.
const NOBODY: &str = "nobody@forged.invalid";
/// The policy that compares the approver with who writes an approval, and its binding.
const APPROVERS: &str = "oauthclient-approvers";

/// Whether they are kept true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// Since then: what was written before may be forged.
    Since(DateTime<Utc>),
    /// They are not.
    Not,
    /// The API server gave no answer.
    Unknown,
}

impl Kept {
    /// Since when they are kept true, where that is known.
    pub fn since(self) -> Option<DateTime<Utc>> {
        match self {
            Self::Since(since) => Some(since),
            Self::Not | Self::Unknown => None,
        }
    }
}

/// What was found out last, and when.
#[derive(Debug, Default)]
pub struct Stamps(Mutex<Option<(Instant, Kept)>>);

impl Stamps {
    /// Whether they are kept true. What may not be tried is not. Asked `anew` where an approval hangs on it.
    pub async fn kept(&self, client: &Client, namespace: &str, anew: bool) -> Kept {
        let mut known = self.0.lock().await;
        if let Some((at, answer)) = *known
            && !anew
            && at.elapsed() < KEPT
        {
            return answer;
        }
        let found = try_them(client, namespace).await.unwrap_or(Kept::Unknown);
        if found != Kept::Unknown {
            *known = Some((Instant::now(), found));
        }
        found
    }
}

/// `None` where there was no answer.
async fn try_them(client: &Client, namespace: &str) -> Option<Kept> {
    if !requesters_are(client, namespace).await? || !approvers_are(client, namespace).await? {
        return Some(Kept::Not);
    }
    let policy = changed::<ValidatingAdmissionPolicy>(client).await?;
    let binding = changed::<ValidatingAdmissionPolicyBinding>(client).await?;
    Some(policy.zip(binding).map_or(Kept::Not, |(policy, binding)| Kept::Since(policy.max(binding))))
}

/// Whether it is an answer to what was tried, and no sign of trouble.
fn is_answer(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code < 500 && !matches!(status.code, 408 | 429))
}

/// When it was last changed, where it is there.
async fn changed<K>(client: &Client) -> Option<Option<DateTime<Utc>>>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::ClusterResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let found: PartialObjectMeta<K> = match Api::<K>::all(client.clone()).get_metadata(APPROVERS).await {
        Ok(found) => found,
        Err(error) => return is_answer(&error).then_some(None),
    };
    let meta = found.metadata;
    let writes = meta.managed_fields.into_iter().flatten().filter_map(|f| f.time);
    let last = writes.chain(meta.creation_timestamp).map(|t| t.0.as_second()).max();
    Some(last.and_then(|last| DateTime::from_timestamp(last, 0)))
}

fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..crate::kubernetes::writer::post() }
}

/// An OAuthClient that says that nobody asked for it.
async fn requesters_are(client: &Client, namespace: &str) -> Option<bool> {
    let forged = serde_json::from_value::<OAuthClient>(json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "OAuthClient",
        "metadata": {"generateName": "forged-", "annotations": {REQUESTED_BY_ANNOTATION: NOBODY}},
        "spec": {
            "authorizationServerRef": {"name": "none"}, "owner": {"team": "none", "email": "none@forged.invalid"},
            "purpose": "A dry run", "scopes": ["none"], "lifetime": {"ttl": "1s"},
        },
    }));
    let Ok(mut forged) = forged else { return Some(false) };
    forged.metadata = ObjectMeta { namespace: Some(namespace.to_owned()), ..forged.metadata };
    match Api::<OAuthClient>::namespaced(client.clone(), namespace).create(&dry_run(), &forged).await {
        Ok(made) => {
            let stamp = made.metadata.annotations.as_ref().and_then(|a| a.get(REQUESTED_BY_ANNOTATION));
            Some(stamp.is_some_and(|s| !s.is_empty() && s != NOBODY))
        }
        // Where the asker writes the name, the API server compares.
        Err(error) => is_answer(&error).then(|| names(&error, "requested-by")),
    }
}

/// An approval that says that nobody gave it.
async fn approvers_are(client: &Client, namespace: &str) -> Option<bool> {
    let forged = serde_json::from_value::<ClientApproval>(json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "ClientApproval",
        "metadata": {"generateName": "forged-"},
        "spec": {
            "client": "none", "authorizationServer": "none", "decision": "Denied", "approver": NOBODY,
            "reason": "A dry run",
        },
    }));
    let Ok(forged) = forged else { return Some(false) };
    let made = Api::<ClientApproval>::namespaced(client.clone(), namespace).create(&dry_run(), &forged).await;
    match made {
        Ok(_) => Some(false),
        Err(error) => is_answer(&error).then(|| names(&error, "spec.approver must be")),
    }
}

/// Whether a refusal is for this.
fn names(error: &Error, what: &str) -> bool {
    matches!(error, Error::Api(status) if matches!(status.code, 403 | 422) && status.message.contains(what))
}
