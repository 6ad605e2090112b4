//! Doing one step for an `OAuthClient`.

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ObjectMeta, Patch, Preconditions};
use serde_json::{Value, json};

use super::observe::View;
use crate::api::{
    AuthorizationServer, CLIENT_FINALIZER, CLIENT_NAME_LABEL, CLIENT_NAMESPACE_LABEL, CLIENT_UID_LABEL, ClientRef,
    ClientRegistration, ClientRegistrationSpec, ENTRY_FINALIZER, End, KeyRotation, MANAGED_BY_LABEL, MANAGER,
    OAuthClient, PinnedWorkload, ROTATE_ANNOTATION, SERVER_LABEL,
};
use crate::controller::{Context, Error, doing, faults, servers};
use crate::domain::client::{Grounds, Step};
use crate::domain::{merge_patch, names, request, transition};
use crate::kubernetes::look::is_conflict;
use crate::kubernetes::tenant_secret;
use crate::kubernetes::writer;
use crate::telemetry::audit::{Action, Record};

/// Does one step; true when nothing more is to be done before something changes.
pub async fn act(ctx: &Context, view: &View, step: Step) -> Result<bool, Error> {
    let client = &view.observed.client;
    let (namespace, name) = (client.namespace().unwrap_or_default(), client.name_any());
    let clients: Api<OAuthClient> = Api::namespaced(ctx.client.clone(), &namespace);
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &namespace);
    match step {
        Step::AddFinalizer => {
            let all: Vec<_> = client.finalizers().iter().map(String::as_str).chain([CLIENT_FINALIZER]).collect();
            finalizers(&clients, client, &all).await?;
            Ok(false)
        }
        Step::RemoveFinalizer { debt } => {
            if let Some(debt) = debt {
                let record = Record::of_client(Action::DeletionNotHeld, client);
                ctx.record(&record.because("RevocationPending", debt.as_str()));
                ctx.tell(client, true, "RevocationPending", &debt).await;
            } else if let Some(told) = transition::on_leaving(&view.observed) {
                ctx.decided(client, &told).await;
            }
            let left: Vec<_> =
                client.finalizers().iter().map(String::as_str).filter(|f| *f != CLIENT_FINALIZER).collect();
            finalizers(&clients, client, &left).await?;
            Ok(true)
        }
        Step::CreateEntry {
            attempt,
            first_registered_at,
            expires_at,
            not_before,
            workload,
            end,
            rotation,
            grounds,
        } => {
            let Some(server) = &view.observed.server else { return Ok(true) };
            let times = Times { first_registered_at, expires_at, not_before };
            let mut entry = entry(ctx, client, server, attempt, &times, workload);
            entry.spec.end = end;
            entry.spec.rotation = rotation;
            if let Some(Grounds { policy, approval }) = grounds.map(|g| *g) {
                (entry.spec.policy, entry.spec.approval) = (Some(policy), approval);
            }
            faults::point("before-entry");
            match ctx.ledger().create(&writer::post(), &entry).await {
                Ok(made) => {
                    let record = Record::of_entry(Action::Allowed, &made.name_any(), &made.spec, &made.state());
                    ctx.record(&record.asked_by(Some(client)));
                }
                // Made before, by a pass that a cache or a crash made us forget: it is the same entry.
                Err(error) if is_conflict(&error) => {}
                Err(error) => return Err(doing("write a ledger entry")(error)),
            }
            faults::point("after-entry");
            Ok(true)
        }
        Step::UpdateEntry { name, expires_at, whole, grounds } => {
            let mut spec = json!({"expiresAt": expires_at, "generation": client.metadata.generation});
            asks(&mut spec, client, whole, grounds);
            // Only of the entry as it was seen: one that is being registered meanwhile is registered as it was asked for,
            // and changed after that.
            let seen =
                view.observed.entries.iter().find(|e| e.name_any() == name).and_then(ResourceExt::resource_version);
            patch_entry(ctx, &name, json!({"metadata": {"resourceVersion": seen}, "spec": spec})).await?;
            Ok(true)
        }
        Step::EndEntry { name, reason, why } => {
            let end = End { reason, message: why, at: ctx.clock.now() };
            patch_entry(ctx, &name, json!({"spec": {"end": end}})).await?;
            Ok(true)
        }
        Step::RetireEntry { name, at } => {
            patch_entry(ctx, &name, json!({"spec": {"retiresAt": at}})).await?;
            Ok(true)
        }
        Step::RotateKey { name, rotation } => rotate_key(ctx, &name, &rotation).await.map(|()| true),
        Step::RetireKey { name, at } => {
            patch_entry(ctx, &name, json!({"spec": {"keyRotation": {"retiresAt": at}}})).await?;
            Ok(true)
        }
        Step::ClearRotation { refused } => clear_rotation(ctx, &clients, client, refused).await.map(|()| false),
        Step::PublishSecret { entry } => {
            published(ctx, &secrets, view, &entry).await?;
            faults::point("after-publish");
            Ok(false)
        }
        Step::DeleteSecret => {
            delete_secret(&secrets, view).await?;
            ctx.record(&Record::of_client(Action::SecretDeleted, client));
            Ok(false)
        }
        Step::DeleteObject => {
            let this = Preconditions { uid: client.uid(), resource_version: None };
            let params = DeleteParams { preconditions: Some(this), ..DeleteParams::default() };
            clients.delete(&name, &params).await.map_err(doing("delete a finished OAuthClient"))?;
            Ok(true)
        }
        Step::Wait => Ok(true),
    }
}

/// What an entry asks for, and what it runs on, as a merge patch of its spec.
fn asks(spec: &mut Value, client: &OAuthClient, whole: bool, grounds: Option<Box<Grounds>>) {
    if whole {
        spec["request"] = request::patch(&request::of(&client.spec));
        spec["owner"] = json!(client.spec.owner);
        spec["purpose"] = json!(client.spec.purpose);
    }
    if let Some(Grounds { policy, approval }) = grounds.map(|g| *g) {
        spec["policy"] = json!(policy);
        spec["approval"] = approval.map_or(Value::Null, |a| merge_patch::replacing(&a, &["notAfter"]));
    }
}

async fn finalizers(api: &Api<OAuthClient>, client: &OAuthClient, all: &[&str]) -> Result<(), Error> {
    let patch = json!({"metadata": {"finalizers": all, "resourceVersion": client.resource_version()}});
    let done = api.patch(&client.name_any(), &writer::patch(), &Patch::Merge(&patch)).await;
    done.map(|_| ()).map_err(doing("change finalizers of an OAuthClient"))
}

async fn patch_entry(ctx: &Context, name: &str, patch: serde_json::Value) -> Result<(), Error> {
    let done = ctx.ledger().patch(name, &writer::patch(), &Patch::Merge(&patch)).await;
    done.map(|_| ()).map_err(doing("change a ledger entry"))
}

async fn rotate_key(ctx: &Context, name: &str, rotation: &KeyRotation) -> Result<(), Error> {
    let patch = merge_patch::replacing(rotation, &["requestedAt", "retiresAt"]);
    patch_entry(ctx, name, json!({"spec": {"keyRotation": patch}})).await?;
    faults::point("after-rotate-key");
    Ok(())
}

/// Takes the annotation off that asks for a rotation.
async fn clear_rotation(
    ctx: &Context,
    clients: &Api<OAuthClient>,
    client: &OAuthClient,
    refused: Option<&'static str>,
) -> Result<(), Error> {
    if let Some(why) = refused {
        ctx.tell(client, true, "RotationUnsupported", why).await;
    }
    let patch = json!({"metadata": {"annotations": {ROTATE_ANNOTATION: null}}});
    let done = clients.patch(&client.name_any(), &writer::patch(), &Patch::Merge(&patch)).await;
    done.map(|_| ()).map_err(doing("clear the request for a rotation"))
}

/// Has the Secret hold the credential of this entry, and tells of it.
async fn published(ctx: &Context, secrets: &Api<Secret>, view: &View, entry: &str) -> Result<(), Error> {
    let client = &view.observed.client;
    publish(secrets, view).await?;
    if let Some(e) = view.observed.entries.iter().find(|e| e.name_any() == entry) {
        let record = Record::of_entry(Action::SecretPublished, entry, &e.spec, &e.state());
        ctx.record(&record.asked_by(Some(client)));
    }
    if let Some(what) = put_back(view) {
        ctx.tell(client, true, "SecretPutBack", &what).await;
    }
    Ok(())
}

/// Creates the Secret, or brings ours in line; one that came to be meanwhile is a conflict and not overwritten.
async fn publish(secrets: &Api<Secret>, view: &View) -> Result<(), Error> {
    let Some(wanted) = &view.wanted else { return Ok(()) };
    match &view.found {
        None => secrets.create(&writer::post(), wanted).await.map_err(doing("publish the client's Secret"))?,
        Some(found) => {
            let mut changed = found.clone();
            changed.data.clone_from(&wanted.data);
            // What others put beside is theirs.
            changed.labels_mut().extend(wanted.labels().clone());
            changed.annotations_mut().extend(wanted.annotations().clone());
            changed.metadata.owner_references.clone_from(&wanted.metadata.owner_references);
            let name = wanted.name_any();
            secrets.replace(&name, &writer::post(), &changed).await.map_err(doing("put the client's Secret back"))?
        }
    };
    Ok(())
}

/// Takes the Secret away that was found, and no other of its name.
async fn delete_secret(secrets: &Api<Secret>, view: &View) -> Result<(), Error> {
    let Some(found) = &view.found else { return Ok(()) };
    let this = Preconditions { uid: found.uid(), resource_version: None };
    let params = DeleteParams { preconditions: Some(this), ..DeleteParams::default() };
    match secrets.delete(&found.name_any(), &params).await {
        Err(kube::Error::Api(s)) if s.code == 404 => {}
        Err(error) => return Err(doing("delete the client's Secret")(error)),
        Ok(_) => {}
    }
    faults::point("after-secret-deleted");
    Ok(())
}

/// What had become of a Secret that was published before; nothing where its content is new.
fn put_back(view: &View) -> Option<String> {
    let client = &view.observed.client;
    let ready = client.status.as_ref().is_some_and(|s| s.state.as_deref() == Some("Ready"));
    let name = view.wanted.as_ref()?.name_any();
    let had_been = match &view.found {
        None => "deleted",
        Some(found) if !tenant_secret::is_intact(found) => "altered",
        Some(_) => return None,
    };
    ready.then(|| format!("Secret {name} had been {had_been}; it holds the same credential again"))
}

struct Times {
    first_registered_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    not_before: Option<DateTime<Utc>>,
}

fn entry(
    ctx: &Context,
    client: &OAuthClient,
    server: &AuthorizationServer,
    attempt: u32,
    times: &Times,
    workload: Option<PinnedWorkload>,
) -> ClientRegistration {
    let uid = client.uid().unwrap_or_default();
    let (namespace, name) = (client.namespace().unwrap_or_default(), client.name_any());
    let labels = [
        (MANAGED_BY_LABEL, MANAGER.to_owned()),
        (CLIENT_UID_LABEL, uid.clone()),
        (CLIENT_NAME_LABEL, names::label(&name)),
        (CLIENT_NAMESPACE_LABEL, namespace.clone()),
        (SERVER_LABEL, names::label(&server.name_any())),
    ];
    let spec = ClientRegistrationSpec {
        client_ref: ClientRef { namespace, name, uid: uid.clone() },
        attempt,
        installation: ctx.installation.clone(),
        generation: client.metadata.generation.unwrap_or_default(),
        owner: client.spec.owner.clone(),
        purpose: client.spec.purpose.clone(),
        server: servers::snapshot(server, client.spec.jwks.is_some()),
        request: request::of(&client.spec),
        policy: None,
        approval: None,
        workload,
        first_registered_at: times.first_registered_at,
        expires_at: times.expires_at,
        not_before: times.not_before,
        rotation: None,
        key_rotation: None,
        retires_at: None,
        end: None,
    };
    ClientRegistration {
        metadata: ObjectMeta {
            name: Some(names::entry(&uid, attempt)),
            labels: Some(labels.map(|(k, v)| (k.to_owned(), v)).into()),
            finalizers: Some(vec![ENTRY_FINALIZER.into()]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}
