//! Putting things on record: the entry's status, and letting it go.

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch};
use kube::{CustomResourceExt, Resource, ResourceExt};
use serde_json::json;

use super::observe::Work;
use crate::api::{ClientRegistration, ENTRY_FINALIZER, SECRET_FINALIZER};
use crate::controller::{Context, Error, doing, write_status};
use crate::domain::conditions::{self, say};
use crate::kubernetes::look::is_gone;
use crate::kubernetes::writer;

/// Writes the status as it stands in `work`, with conditions, and takes over what the API server made of it.
pub async fn status(ctx: &Context, work: &mut Work, now: DateTime<Utc>) -> Result<(), Error> {
    let generation = work.entry.metadata.generation;
    let s = &mut work.observed.status;
    s.observed_generation = generation;
    let message = s
        .retry
        .as_ref()
        .map(|r| r.last_error.clone())
        .or_else(|| s.possible_orphan.as_ref().map(|p| p.message.clone()))
        .or_else(|| s.rejection.as_ref().map(|r| r.message.clone()))
        .or_else(|| s.evidence.as_ref().map(|e| e.statement.clone()))
        .or_else(|| s.end.as_ref().map(|e| e.message.clone()))
        .or_else(|| s.drift.as_ref().map(|d| d.message.clone()))
        .unwrap_or_else(|| s.phase.as_str().to_owned());
    s.message = Some(message.clone());
    let revoked = s.revoked_at.is_some();
    let exists = s.registered_at.is_some() && !revoked;
    let mut said = vec![say("Registered", exists, s.phase.as_str(), message.clone())];
    if let Some(end) = &s.end {
        said.push(say("Revoked", revoked, end.reason.as_str(), message));
    }
    s.conditions = conditions::merge(&s.conditions, now, generation, said);
    work.entry.status = Some(s.clone());
    work.entry = write_status(&ctx.ledger(), &work.observed.name, &work.entry).await?;
    Ok(())
}

/// Lets a management Secret and its entry go.
pub async fn release(ctx: &Context, work: &Work) -> Result<(), Error> {
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let name = &work.observed.name;
    if work.stored.is_some() {
        drop_finalizer(&secrets, "secrets", name, SECRET_FINALIZER).await?;
        gone_is_fine(secrets.delete(name, &DeleteParams::default()).await, "secrets", name)?;
    }
    let entries = ctx.ledger();
    let resource = ClientRegistration::crd_name();
    drop_finalizer(&entries, resource, name, ENTRY_FINALIZER).await?;
    if work.entry.metadata.deletion_timestamp.is_none() {
        gone_is_fine(entries.delete(name, &DeleteParams::default()).await, resource, name)?;
    }
    Ok(())
}

fn gone_is_fine<T>(result: Result<T, kube::Error>, resource: &str, name: &str) -> Result<(), Error> {
    match result {
        Err(error) if !is_gone(&error, resource, name) => Err(doing("delete")(error)),
        _ => Ok(()),
    }
}

async fn drop_finalizer<K>(api: &Api<K>, resource: &str, name: &str, finalizer: &str) -> Result<(), Error>
where
    K: Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let found = match api.get(name).await {
        Ok(found) => found,
        Err(error) if is_gone(&error, resource, name) => return Ok(()),
        Err(error) => return Err(doing("read finalizers")(error)),
    };
    let left: Vec<&String> = found.finalizers().iter().filter(|f| *f != finalizer).collect();
    if left.len() == found.finalizers().len() {
        return Ok(());
    }
    let patch = json!({"metadata": {"finalizers": left, "resourceVersion": found.resource_version()}});
    gone_is_fine(api.patch(name, &writer::patch(), &Patch::Merge(&patch)).await, resource, name)
}
