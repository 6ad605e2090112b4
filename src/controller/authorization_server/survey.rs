//! Looking through all clients of this installation that a server has, and for those that no ledger entry claims.
//! Orphans have no entry, so what becomes of them is done here and not by the registration controller.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kube::api::ListParams;

use crate::api::{AuthorizationServer, OrphanSweep, Survey};
use crate::authorization_server::{Backend, Listed, Management};
use crate::controller::Context;
use crate::domain::survey::{Ledger, Seen, weigh};

/// How often surveys are asked for; `None`: only on demand.
pub fn next(sweep: &OrphanSweep) -> Option<Duration> {
    sweep.every.get().filter(|every| !every.is_zero())
}

/// Whether a survey is to be made now.
pub fn due(server: &AuthorizationServer, now: DateTime<Utc>, asked: bool) -> bool {
    if !server.spec.backend.lists() {
        return false;
    }
    let every = next(&server.spec.orphan_sweep).and_then(|e| TimeDelta::from_std(e).ok());
    let last = server.status.as_ref().and_then(|s| s.survey.as_ref()).map(|s| s.at);
    let elapsed = match (last, every) {
        (None, _) => true,
        (Some(last), Some(every)) => now >= last + every,
        (Some(_), None) => false,
    };
    asked || elapsed
}

/// What a survey came to.
pub struct Surveyed {
    /// For the status.
    pub survey: Survey,
    /// Why orphans that should be revoked are not.
    pub withheld: Option<String>,
}

/// Weighs a whole list, and revokes what is to go.
pub async fn survey(
    ctx: &Context,
    server: &AuthorizationServer,
    backend: &dyn Backend,
    listed: &[Listed],
    now: DateTime<Utc>,
) -> Result<Surveyed, String> {
    let of = |l: &Listed| Seen { client_id: l.client_id.clone(), entry: l.entry.clone(), created_at: l.created_at };
    let seen: Vec<Seen> = listed.iter().map(of).collect();
    // After the list: an entry is written before its client exists.
    let ledger = ledger(ctx).await?;
    let before = server.status.as_ref().and_then(|s| s.survey.as_ref());
    let found = weigh(&seen, &ledger, before, &server.spec.orphan_sweep, now);
    for client in &found.returned {
        let entry = client.entry.as_deref().unwrap_or_default();
        revoke(ctx, backend, &client.client_id, entry, "the ledger says that it is gone").await;
    }
    let mut survey = found.survey;
    for orphan in &found.revoke {
        let entry = orphan.entry.as_deref().unwrap_or_default();
        let gone = revoke(ctx, backend, &orphan.client_id, entry, "no ledger entry claims it").await;
        if gone {
            survey.orphans.retain(|o| o.client_id != orphan.client_id);
            survey.unclaimed -= 1;
            survey.clients -= 1;
        }
    }
    Ok(Surveyed { survey, withheld: found.withheld })
}

async fn ledger(ctx: &Context) -> Result<Ledger, String> {
    let entries = ctx.ledger().list(&ListParams::default()).await.map_err(|e| format!("list the ledger: {e}"))?;
    let names = |live: bool| -> BTreeSet<String> {
        entries.items.iter().filter(|e| e.is_live() == live).filter_map(|e| e.metadata.name.clone()).collect()
    };
    Ok(Ledger { live: names(true), ended: names(false) })
}

/// Deletes a client that should not be there; true when it is gone.
async fn revoke(ctx: &Context, backend: &dyn Backend, client_id: &str, entry: &str, why: &str) -> bool {
    let management = Management { client_id: client_id.to_owned(), registration: None };
    match backend.delete(&management, &ctx.installation).await {
        Ok(_) => {
            tracing::warn!(target: "audit", action = "orphan-revoked", client_id, entry, why);
            true
        }
        Err(error) => {
            tracing::warn!(target: "audit", action = "orphan-not-revoked", client_id, entry, why, %error);
            false
        }
    }
}
