//! A pass of the server controller, as far as it compares clients: the reads, calls and writes of
//! `src/controller/authorization_server/{inspect,drift}.rs`, in their order.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use kube::ResourceExt;
use oauthclient_operator::api::ClientRegistration;
use oauthclient_operator::domain::drift::weigh;
use secrecy::ExposeSecret;

use super::calls::{Api, Look};
use super::registration::write_status;
use super::schedule::Next;
use super::world::ApiError;

/// How often clients are compared.
pub const EVERY: TimeDelta = TimeDelta::minutes(15);

/// One pass.
pub async fn pass(api: Api) -> Result<Next, ApiError> {
    let soon = Ok(Next::After(TimeDelta::seconds(30)));
    match api.read(|w| w.object.clone()).await {
        Look::There(object) if object.metadata.deletion_timestamp.is_none() => {}
        Look::There(_) | Look::Gone => return Ok(Next::OnChange),
        Look::Unknown => return soon,
    }
    // Before the list: a client that is registered meanwhile is not missing from it.
    let Look::There(entries) = api.read(|w| Some(w.entries.values().cloned().collect::<Vec<_>>())).await else {
        return soon;
    };
    let Ok(listed) = api.call("list", |w, fault| w.server.admin_list(fault)).await else { return soon };
    let mut keys = BTreeMap::new();
    for entry in &entries {
        let name = entry.name_any();
        if entry.spec.request.jwks.is_some() {
            keys.insert(name.clone(), BTreeSet::from(["tenant".to_owned()]));
        }
        if entry.spec.request.signing_alg.is_none() || !entry.is_live() {
            continue;
        }
        match api.read(|w| w.management.get(&name).cloned()).await {
            Look::There(found) => {
                let (key, previous) = (found.stored.private_key, found.stored.rotating.previous);
                keys.insert(name, key.iter().chain(&previous).map(|k| k.expose_secret().to_owned()).collect());
            }
            Look::Gone => {}
            Look::Unknown => return soon,
        }
    }
    let all: Vec<&ClientRegistration> = entries.iter().collect();
    let found = weigh(&all, &listed, &keys, api.now());
    for (name, drift) in found.changes {
        let Some(entry) = entries.iter().find(|e| e.name_any() == name) else { continue };
        let mut changed = entry.clone();
        changed.status.get_or_insert_default().drift.clone_from(&drift);
        let what = format!("drift: {:?}", drift.map(|d| d.kind));
        // One that was changed meanwhile is left for the next time.
        let _ = api.write(&what, |w| write_status(w, &name, &changed)).await;
    }
    Ok(Next::After(EVERY))
}
