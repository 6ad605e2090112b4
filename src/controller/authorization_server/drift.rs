//! Comparing the clients that a server has with what was asked for. What differs is put on record with the entry; the
//! registration controller sees to it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::Api;

use crate::api::{AuthorizationServer, ClientRegistration, DriftCheck};
use crate::authorization_server::Listed;
use crate::authorization_server::keys::thumbprint;
use crate::controller::{Context, write_status};
use crate::domain::drift::{Present, weigh};
use crate::kubernetes::look::{Look, look};
use crate::kubernetes::management_secret;

/// How often clients are compared; `None`: never.
pub fn every(server: &AuthorizationServer) -> Option<TimeDelta> {
    let lists = server.spec.backend.lists();
    server.spec.drift_check.delta().filter(|every| lists && *every > TimeDelta::zero())
}

/// Whether they are to be compared now.
pub fn due(server: &AuthorizationServer, now: DateTime<Utc>, asked: bool) -> bool {
    let last = server.status.as_ref().and_then(|s| s.drift_check.as_ref()).map(|c| c.at);
    every(server).is_some_and(|every| asked || last.is_none_or(|last| now >= last + every))
}

/// Compares, and puts what was found on record. An entry that was changed meanwhile is left for the next time.
pub async fn check(
    ctx: &Context,
    server: &AuthorizationServer,
    ledger: &[ClientRegistration],
    listed: &[Listed],
    now: DateTime<Utc>,
) -> Result<DriftCheck, String> {
    let name = server.name_any();
    let ours = |e: &&ClientRegistration| e.spec.server.name == name && e.spec.server.issuer == server.spec.issuer;
    let entries: Vec<&ClientRegistration> = ledger.iter().filter(ours).collect();
    let keys = keys(ctx, &entries).await?;
    let listed = listed.iter().map(|l| (l.client_id.clone(), present(l))).collect();
    let found = weigh(&entries, &listed, &keys, now);
    for (name, drift) in found.changes {
        let Some(entry) = entries.iter().find(|e| e.name_any() == name) else { continue };
        let mut changed = (*entry).clone();
        changed.status.get_or_insert_default().drift = drift;
        if let Err(error) = write_status(&ctx.ledger(), &name, &changed).await {
            tracing::info!(entry = name, %error, "a client that drifted is looked at again later");
        }
    }
    Ok(found.check)
}

fn present(listed: &Listed) -> Present {
    let granted = &listed.granted;
    Present {
        grant: management_secret::words(granted),
        enabled: granted.enabled,
        keys: granted.key_thumbprints.as_ref().map(|all| all.iter().cloned().collect()),
        extras: granted.extras.clone(),
    }
}

/// The thumbprints of the keys that each entry's client should have: those that were made here, or the tenant's.
async fn keys(ctx: &Context, entries: &[&ClientRegistration]) -> Result<BTreeMap<String, BTreeSet<String>>, String> {
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let mut all = BTreeMap::new();
    for entry in entries {
        let Some(jwks) = &entry.spec.request.jwks else { continue };
        let keys = jwks.keys.iter().filter_map(|key| thumbprint(&serde_json::to_value(key).ok()?));
        all.insert(entry.name_any(), keys.collect());
    }
    // One by one: at home the operator may read Secrets by their names, and list none.
    for entry in entries.iter().filter(|e| e.spec.request.signing_alg.is_some() && e.is_live()) {
        let name = entry.name_any();
        let stored = match look(&secrets, "secrets", &name).await {
            Look::There(secret) => secret,
            // Nothing was registered yet, or it is gone: nothing can be said of its key.
            Look::Gone => continue,
            Look::Unknown(why) => return Err(format!("read management Secret {name}: {why}")),
        };
        let Some(stored) = management_secret::parse(&stored) else { continue };
        let (previous, _) = stored.other_keys();
        if let Some(key) = stored.key() {
            all.insert(name, [Some(key), previous].into_iter().flatten().map(|k| k.key_id).collect());
        }
    }
    Ok(all)
}
