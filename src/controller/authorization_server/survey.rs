//! Looking through all clients of this installation that a server has, and for those that no ledger entry claims.
//! Orphans have no entry, so what becomes of them is done here and not by the registration controller.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use kube::ResourceExt;
use kube::api::ListParams;
use tokio::time::Instant;

use crate::api::{AuthorizationServer, OrphanAction, OrphanSweep, Survey};
use crate::authorization_server::{Backend, Listed, Management};
use crate::controller::Context;
use crate::domain::survey::{Before, Findings, Ledger, Seen, listed as names, weigh};
use crate::telemetry::Swept;
use crate::telemetry::audit::{Action, Record};

/// How long one pass revokes; what is left is for the next one, at once.
const REVOKING: Duration = Duration::from_secs(20);

/// How often surveys are asked for; `None`: only on demand.
pub fn next(sweep: &OrphanSweep) -> Option<Duration> {
    sweep.every.get().filter(|every| !every.is_zero())
}

/// Whether a survey is to be made now.
pub fn due(ctx: &Context, server: &AuthorizationServer, now: DateTime<Utc>, asked: bool) -> bool {
    if !server.spec.backend.lists() {
        return false;
    }
    let every = next(&server.spec.orphan_sweep).and_then(|e| TimeDelta::from_std(e).ok());
    let last = ctx.looked.before(server, &ctx.installation).survey.map(|s| s.at);
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
    /// Whether clients are left that there was no time to revoke.
    pub unfinished: bool,
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
    let before = ctx.looked.before(server, &ctx.installation);
    let sweep = &server.spec.orphan_sweep;
    let mut found = weigh(&ctx.installation, &seen, &ledger, &before, sweep, now);
    tell_found(ctx, server, &found).await;
    let mut work = Work { ctx, server, backend, until: Instant::now() + REVOKING, unfinished: false };
    let returned: Vec<_> = found.returned.iter().map(|c| (c.client_id.clone(), c.entry.clone())).collect();
    let again = work.revoke(&returned, Swept::Returned).await;
    let orphans: Vec<_> = found.revoke.iter().map(|o| (o.client_id.clone(), o.entry.clone())).collect();
    let gone = work.revoke(&orphans, Swept::Orphan).await;
    for id in &gone {
        found.revoked(id);
    }
    tell_revoked(ctx, server, &again, &gone).await;
    let sightings = found.orphans.iter().map(|o| (o.client_id.clone(), o.since)).collect();
    ctx.looked.surveyed(server, Before { survey: Some(found.survey.clone()), sightings });
    Ok(Surveyed { survey: found.survey, unfinished: work.unfinished })
}

async fn ledger(ctx: &Context) -> Result<Ledger, String> {
    let entries = ctx.ledger().list(&ListParams::default()).await.map_err(|e| format!("list the ledger: {e}"))?;
    let names = |live: bool| -> BTreeSet<String> {
        entries.items.iter().filter(|e| e.is_live() == live).filter_map(|e| e.metadata.name.clone()).collect()
    };
    Ok(Ledger { live: names(true), ended: names(false) })
}

struct Work<'a> {
    ctx: &'a Context,
    server: &'a AuthorizationServer,
    backend: &'a dyn Backend,
    until: Instant,
    unfinished: bool,
}

impl Work<'_> {
    /// Deletes clients that should not be there, given with the entries that their markers name; those that are gone.
    async fn revoke(&mut self, clients: &[(String, Option<String>)], why: Swept) -> Vec<String> {
        let server = self.server.name_any();
        let mut gone = Vec::new();
        for (client_id, entry) in clients {
            if Instant::now() >= self.until || self.ctx.is_stopping() {
                self.unfinished = true;
                break;
            }
            let (entry, reason) = (entry.as_deref(), why.as_str());
            let management = Management { client_id: client_id.clone(), registration: None };
            match self.backend.delete(&management, &self.ctx.installation).await {
                Ok(_) => {
                    let record = Record::of_orphan(Action::OrphanRevoked, &server, client_id, entry);
                    self.ctx.record(&record.because(reason, "no live ledger entry claims it"));
                    tracing::warn!(server, client_id, entry, why = reason, "the sweep revoked a client");
                    self.ctx.metrics.swept(&server, why);
                    gone.push(client_id.clone());
                }
                Err(error) => {
                    let record = Record::of_orphan(Action::OrphanNotRevoked, &server, client_id, entry);
                    self.ctx.record(&record.because(reason, error.to_string()));
                    tracing::warn!(server, client_id, entry, why = reason, %error, "the sweep could not revoke a client");
                }
            }
        }
        gone
    }
}

/// What was found, once.
async fn tell_found(ctx: &Context, server: &AuthorizationServer, found: &Findings) {
    let sweep = &server.spec.orphan_sweep;
    if !found.fresh.is_empty() {
        let then = match sweep.action {
            OrphanAction::Report => "They are left alone: orphanSweep.action is Report".to_owned(),
            OrphanAction::Revoke => format!("They are revoked {} after they were first seen", sweep.grace),
        };
        let (count, ids) = (found.fresh.len(), names(&found.fresh));
        let note = format!("{count} clients of this installation have no ledger entry: {ids}. {then}");
        ctx.tell_of_server(server, true, "OrphansFound", &note).await;
    }
    if let Some(why) = found.survey.stopped.as_ref().filter(|_| found.stops) {
        tracing::error!(server = server.name_any(), why, "the orphan sweep has stopped");
        ctx.tell_of_server(server, true, "OrphanSweepStopped", why).await;
    }
}

/// What was done.
async fn tell_revoked(ctx: &Context, server: &AuthorizationServer, again: &[String], gone: &[String]) {
    if !again.is_empty() {
        let (count, ids) = (again.len(), names(again));
        let note = format!(
            "{count} clients that the ledger says are gone were there again, and were revoked again: {ids}. Was the server restored from a backup?"
        );
        ctx.tell_of_server(server, true, "RevokedAgain", &note).await;
    }
    if !gone.is_empty() {
        let note = format!("{} clients that no ledger entry claims were revoked: {}", gone.len(), names(gone));
        ctx.tell_of_server(server, true, "OrphansRevoked", &note).await;
    }
}
