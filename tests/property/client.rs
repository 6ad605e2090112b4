//! A pass of the client controller: the reads and writes of `src/controller/client`, in their order.

use chrono::TimeDelta;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::ObjectMeta;
use oauthclient_operator::api::{
    CLIENT_FINALIZER, ClientApproval, ClientPolicy, ClientRef, ClientRegistration, ClientRegistrationSpec,
    ENTRY_FINALIZER, End, EndReason, OAuthClient, Phase, ROTATE_ANNOTATION,
};
use oauthclient_operator::controller::servers;
use oauthclient_operator::domain::client::{
    Decision, Grounds, Observed, Published, Step, asks_a_person, decide, entry_names, known_attempts,
};
use oauthclient_operator::domain::ends::NamespaceState;
use oauthclient_operator::domain::policy::Others;
use oauthclient_operator::domain::{merge_patch, names, request};
use oauthclient_operator::kubernetes::{management_secret, tenant_secret};
use serde_json::{Value, json};

use super::calls::{Api, Look};
use super::registration::{namespace, workload};
use super::schedule::{Next, at};
use super::world::{ApiError, Key, World};
use super::{consumers, governed, laws};

struct View {
    observed: Observed,
    wanted: Option<Secret>,
    found: Option<Secret>,
}

/// One pass.
pub async fn pass(api: Api, key: Key) -> Result<Next, ApiError> {
    let soon = Ok(Next::After(TimeDelta::seconds(3)));
    for _ in 0..10 {
        let client = match api.read(|w| w.clients.get(&key).cloned()).await {
            Look::There(client) => client,
            Look::Gone => return Ok(Next::OnChange),
            Look::Unknown => return soon,
        };
        laws::client_pass_begins(&mut api.change(), &key);
        let Some(view) = observe(&api, &key, client).await else { return soon };
        let now = api.now();
        let Decision { step, status, requeue_at } = decide(&view.observed, now);
        api.change().say(|_| format!("{}: {step:?}", key.1).chars().take(120).collect());
        let client = &view.observed.client;
        if let Some(status) = status
            && client.status.as_ref() != Some(&status)
        {
            let says = format!(
                "status: {} {}",
                status.state.as_deref().unwrap_or_default(),
                status.message.as_deref().unwrap_or_default()
            );
            let rv = client.resource_version();
            let key = key.clone();
            api.write(&says, move |w| {
                same_version(w, &key, rv.as_deref())?;
                governed::status(w, &key, &status);
                laws::client_status(w, &key, &status);
                w.change_client(&key, false, |c| c.status = Some(status));
                Ok(())
            })
            .await?;
        }
        if step == Step::Wait {
            governed::pass_rests(&mut api.change(), &key, view.observed.stamps_tried);
            return Ok(at(&api, requeue_at, now));
        }
        if act(&api, &key, &view, step).await? {
            return Ok(Next::OnChange);
        }
    }
    api.change().broken(format!("OAuthClient {} does not get on", key.1));
    Ok(Next::After(TimeDelta::seconds(10)))
}

fn same_version(world: &World, key: &Key, rv: Option<&str>) -> Result<(), ApiError> {
    let found = world.clients.get(key).ok_or(ApiError::Gone)?;
    if found.metadata.resource_version.as_deref() == rv { Ok(()) } else { Err(ApiError::Conflict) }
}

async fn observe(api: &Api, key: &Key, client: OAuthClient) -> Option<View> {
    let uid = client.uid().unwrap_or_default();
    let state = namespace(api, &key.0).await;
    if state == NamespaceState::Unknown {
        return None;
    }
    let server = match api.read(|w| w.object.clone()).await {
        Look::There(server) => Some(server),
        Look::Gone => None,
        Look::Unknown => return None,
    };
    let Look::There(policies) = api.read(|w| Some(w.governance.policies.values().cloned().collect())).await else {
        return None;
    };
    let policies: Vec<ClientPolicy> = policies;
    let in_namespace = |(k, a): (&Key, &ClientApproval)| (k.0 == key.0).then(|| a.clone());
    let decisions = api.read(|w| Some(w.governance.approvals.iter().filter_map(in_namespace).collect())).await;
    let Look::There(approvals) = decisions else { return None };
    let known = known_attempts(&client);
    let mut entries: Vec<ClientRegistration> = Vec::new();
    for (attempt, name) in entry_names(&client) {
        match api.read(|w| w.entries.get(&name).cloned()).await {
            Look::There(entry) => entries.push(entry),
            Look::Gone if attempt <= known => {}
            Look::Gone => break,
            Look::Unknown => return None,
        }
    }
    let stamps =
        if asks_a_person(&policies) { api.read(|w| Some(w.governance.stamped_since)).await } else { Look::There(None) };
    let (stamped_since, stamps_tried) = match stamps {
        Look::There(since) => (since, true),
        Look::Gone | Look::Unknown => (None, false),
    };
    let workload = workload(api, &key.0, client.spec.workload_ref.as_ref().map(|w| w.name.as_str())).await;
    let secret = (key.0.clone(), client.spec.secret_name(&key.1));
    let found = match api.read(|w| w.secrets.get(&secret).cloned()).await {
        Look::There(secret) => Some(secret),
        Look::Gone => None,
        Look::Unknown if state == NamespaceState::Terminating => None,
        Look::Unknown => return None,
    };
    let wanted = wanted(api, &client, &entries).await;
    let secret = match (&found, &wanted) {
        (None, _) => Published::Absent,
        (Some(f), _) if !tenant_secret::is_ours(f, &uid) => Published::Foreign { whose: tenant_secret::whose(f) },
        (Some(f), Some(w)) if tenant_secret::is_up_to_date(f, w) => Published::UpToDate,
        (Some(_), _) => Published::Outdated,
    };
    let observed = Observed {
        client,
        namespace: state,
        namespace_labels: std::collections::BTreeMap::new(),
        server,
        entries,
        workload,
        secret,
        policies,
        approvals,
        stamped_since,
        stamps_tried,
        others: Others::default(),
        clock_trusted: api.world().clock_trusted(),
    };
    Some(View { observed, wanted, found })
}

async fn wanted(api: &Api, client: &OAuthClient, entries: &[ClientRegistration]) -> Option<Secret> {
    let entry = entries.iter().rev().find(|e| e.state().phase == Phase::Registered && e.state().end.is_none())?;
    let name = entry.name_any();
    let Look::There(found) = api.read(|w| w.management.get(&name).cloned()).await else { return None };
    let stored = found.stored;
    // What a management Secret is written as can be read again.
    debug_assert!(management_secret::parse(&management_secret::build(&name, &stored)).is_some());
    tenant_secret::build(client, entry, &stored, stored.private_key.as_ref().map(|_| "kid"))
}

#[expect(clippy::too_many_lines, reason = "one arm for each step, as in the controller")]
async fn act(api: &Api, key: &Key, view: &View, step: Step) -> Result<bool, ApiError> {
    let client = &view.observed.client;
    let rv = client.resource_version();
    match step {
        Step::AddFinalizer | Step::RemoveFinalizer { .. } => {
            let adds = step == Step::AddFinalizer;
            let mut all: Vec<String> = client.finalizers().to_vec();
            all.retain(|f| f != CLIENT_FINALIZER);
            if adds {
                all.push(CLIENT_FINALIZER.into());
            }
            api.write("finalizers", |w| {
                same_version(w, key, rv.as_deref())?;
                if !adds {
                    laws::client_released(w, key);
                }
                w.change_client(key, false, |c| c.metadata.finalizers = Some(all));
                Ok(())
            })
            .await?;
            Ok(!adds)
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
            let uid = client.uid().unwrap_or_default();
            let spec = ClientRegistrationSpec {
                client_ref: ClientRef { namespace: key.0.clone(), name: key.1.clone(), uid: uid.clone() },
                attempt,
                installation: "i".into(),
                generation: client.metadata.generation.unwrap_or_default(),
                owner: client.spec.owner.clone(),
                purpose: client.spec.purpose.clone(),
                policy: grounds.as_ref().map(|g| g.policy.clone()),
                approval: grounds.and_then(|g| g.approval),
                server: servers::snapshot(server, client.spec.jwks.is_some()),
                request: request::of(&client.spec),
                workload,
                first_registered_at,
                expires_at,
                not_before,
                rotation,
                key_rotation: None,
                retires_at: None,
                end,
            };
            let name = names::entry(&uid, attempt);
            let made = api
                .write(&format!("entry {}#{attempt}", key.1), |w| {
                    if w.entries.contains_key(&name) {
                        return Err(ApiError::Conflict);
                    }
                    laws::entry_created(w, key, &spec);
                    governed::entry_written(w, key, &name, None, &spec);
                    let mut metadata = w.metadata(&("operator".to_owned(), name.clone()));
                    metadata.finalizers = Some(vec![ENTRY_FINALIZER.into()]);
                    let entry = ClientRegistration {
                        metadata: ObjectMeta { name: Some(name.clone()), ..metadata },
                        spec,
                        status: None,
                    };
                    w.entries.insert(name.clone(), entry);
                    w.entry_changed(&name, key.clone());
                    Ok(())
                })
                .await;
            match made {
                Ok(()) | Err(ApiError::Conflict) => Ok(true),
                Err(error) => Err(error),
            }
        }
        Step::UpdateEntry { name, expires_at, whole, grounds } => {
            let mut patch = json!({"expiresAt": expires_at, "generation": client.metadata.generation});
            if whole {
                patch["request"] = request::patch(&request::of(&client.spec));
                patch["owner"] = json!(client.spec.owner);
                patch["purpose"] = json!(client.spec.purpose);
            }
            if let Some(Grounds { policy, approval }) = grounds.map(|g| *g) {
                patch["policy"] = json!(policy);
                patch["approval"] = approval.map_or(Value::Null, |a| merge_patch::replacing(&a, &["notAfter"]));
            }
            // Only of the entry as it was seen.
            let seen = view.observed.entries.iter().find(|e| e.name_any() == name);
            patch_entry(api, &name, seen.and_then(ResourceExt::resource_version), patch).await?;
            Ok(true)
        }
        Step::EndEntry { name, reason, why } => {
            let end = End { reason, message: why, at: api.now() };
            match reason {
                EndReason::PolicyViolation | EndReason::Denied => {
                    governed::entry_ended(&mut api.change(), key, &name, reason);
                }
                _ => laws::entry_replaced(&mut api.change(), &name),
            }
            patch_entry(api, &name, None, json!({"end": end})).await?;
            Ok(true)
        }
        Step::RetireEntry { name, at } => {
            patch_entry(api, &name, None, json!({"retiresAt": at})).await?;
            Ok(true)
        }
        Step::RotateKey { name, rotation } => {
            let patch = merge_patch::replacing(&rotation, &["requestedAt", "retiresAt"]);
            patch_entry(api, &name, None, json!({"keyRotation": patch})).await?;
            Ok(true)
        }
        Step::RetireKey { name, at } => {
            patch_entry(api, &name, None, json!({"keyRotation": {"retiresAt": at}})).await?;
            Ok(true)
        }
        Step::ClearRotation { .. } => {
            api.write("annotation: cleared", |w| {
                w.change_client(key, false, |c| {
                    c.annotations_mut().remove(ROTATE_ANNOTATION);
                });
                Ok(())
            })
            .await?;
            Ok(false)
        }
        Step::PublishSecret { .. } => {
            publish(api, key, view).await?;
            Ok(false)
        }
        Step::DeleteSecret => {
            if let Some(found) = &view.found {
                let secret = (key.0.clone(), found.name_any());
                let uid = found.uid();
                api.write("Secret: deleted", move |w| {
                    match w.secrets.get(&secret) {
                        None => return Ok(()),
                        Some(there) if there.uid() != uid => return Err(ApiError::Conflict),
                        Some(there) => laws::secret_touched(w, &there.clone()),
                    }
                    w.remove_secret(&secret);
                    Ok(())
                })
                .await?;
            }
            Ok(false)
        }
        Step::DeleteObject => {
            let uid = client.uid();
            api.write("object: deleted", |w| {
                if w.clients.get(key).and_then(ResourceExt::uid) != uid {
                    return Err(ApiError::Conflict);
                }
                w.delete_client(key);
                Ok(())
            })
            .await?;
            Ok(true)
        }
        Step::Wait => Ok(true),
    }
}

/// A JSON merge patch (RFC 7396) of an entry's spec; with `seen`, of this version of it.
async fn patch_entry(api: &Api, name: &str, seen: Option<String>, patch: Value) -> Result<(), ApiError> {
    api.write("entry's spec", |w| {
        let found = w.entries.get(name).ok_or(ApiError::Gone)?;
        if seen.is_some() && found.resource_version() != seen {
            return Err(ApiError::Conflict);
        }
        let mut spec = serde_json::to_value(&found.spec).expect("JSON");
        merge(&mut spec, &patch);
        let spec: ClientRegistrationSpec = serde_json::from_value(spec).expect("an entry's spec");
        if spec != found.spec {
            let (key, before) = ((spec.client_ref.namespace.clone(), spec.client_ref.name.clone()), found.spec.clone());
            governed::entry_written(w, &key, name, Some(&before), &spec);
            w.change_entry(name, true, |e| e.spec = spec);
        }
        Ok(())
    })
    .await
}

/// Merges as RFC 7396 says.
pub fn merge(into: &mut Value, patch: &Value) {
    match (into, patch) {
        (Value::Object(into), Value::Object(patch)) => {
            for (key, value) in patch {
                if value.is_null() {
                    into.remove(key);
                } else {
                    merge(into.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (into, patch) => *into = patch.clone(),
    }
}

async fn publish(api: &Api, key: &Key, view: &View) -> Result<(), ApiError> {
    let Some(wanted) = view.wanted.clone() else { return Ok(()) };
    let secret = (key.0.clone(), wanted.name_any());
    let rv = view.found.as_ref().map(ResourceExt::resource_version);
    let owner = key.clone();
    api.write("Secret", move |w| {
        if w.namespaces.get(&secret.0) != Some(&NamespaceState::Active) {
            return Err(ApiError::Failed);
        }
        match (w.secrets.get(&secret), &rv) {
            (None, None) => {}
            (Some(there), Some(rv)) if there.resource_version() == *rv => laws::secret_touched(w, &there.clone()),
            _ => return Err(ApiError::Conflict),
        }
        let made = w.metadata(&secret);
        let mut new = wanted;
        new.metadata.resource_version = made.resource_version;
        new.metadata.uid = made.uid;
        w.secret_changed(&new);
        governed::published(w, &owner);
        consumers::published(w, &new);
        w.secrets.insert(secret, new);
        Ok(())
    })
    .await
}
