//! Whether the API server keeps true who asked and who approved: tried, by forging both in a dry run.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, PostParams};
use kube::{Client, Error};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::api::{ClientApproval, OAuthClient, REQUESTED_BY_ANNOTATION};

/// How long an answer holds.
const KEPT: Duration = Duration::from_secs(5);
/// Nobody has this name.
const NOBODY: &str = "nobody@forged.invalid";

/// What was found out last, and when.
#[derive(Debug, Default)]
pub struct Stamps(Mutex<Option<(Instant, bool)>>);

impl Stamps {
    /// Whether they are kept true. What cannot be tried is not.
    pub async fn are_true(&self, client: &Client, namespace: &str) -> bool {
        let mut known = self.0.lock().await;
        if let Some((at, answer)) = *known
            && at.elapsed() < KEPT
        {
            return answer;
        }
        let answer = requesters_are(client, namespace).await && approvers_are(client, namespace).await;
        *known = Some((Instant::now(), answer));
        answer
    }
}

fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..crate::kubernetes::writer::post() }
}

/// An OAuthClient that says that nobody asked for it.
async fn requesters_are(client: &Client, namespace: &str) -> bool {
    let mut forged: OAuthClient = match serde_json::from_value(json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "OAuthClient",
        "metadata": {"generateName": "forged-", "annotations": {REQUESTED_BY_ANNOTATION: NOBODY}},
        "spec": {
            "authorizationServerRef": {"name": "none"}, "owner": {"team": "none", "email": "none@forged.invalid"},
            "purpose": "A dry run", "scopes": ["none"], "lifetime": {"ttl": "1s"},
        },
    })) {
        Ok(forged) => forged,
        Err(_) => return false,
    };
    forged.metadata = ObjectMeta { namespace: Some(namespace.to_owned()), ..forged.metadata };
    match Api::<OAuthClient>::namespaced(client.clone(), namespace).create(&dry_run(), &forged).await {
        Ok(made) => {
            let stamp = made.metadata.annotations.as_ref().and_then(|a| a.get(REQUESTED_BY_ANNOTATION));
            stamp.is_some_and(|s| !s.is_empty() && s != NOBODY)
        }
        // Where the asker writes the name, the API server compares.
        Err(error) => names(&error, "requested-by"),
    }
}

/// An approval that says that nobody gave it.
async fn approvers_are(client: &Client, namespace: &str) -> bool {
    let forged = serde_json::from_value(json!({
        "apiVersion": "oauthclient.dev/v1alpha1", "kind": "ClientApproval",
        "metadata": {"generateName": "forged-"},
        "spec": {
            "client": "none", "authorizationServer": "none", "decision": "Denied", "approver": NOBODY,
            "reason": "A dry run",
        },
    }));
    let Ok(forged) = forged else { return false };
    let made = Api::<ClientApproval>::namespaced(client.clone(), namespace).create(&dry_run(), &forged).await;
    made.is_err_and(|error| names(&error, "spec.approver must be"))
}

/// Whether a refusal is for this.
fn names(error: &Error, what: &str) -> bool {
    matches!(error, Error::Api(status) if matches!(status.code, 403 | 422) && status.message.contains(what))
}
