//! Looking at the clients that a server has: one list serves the survey for orphans and the check for drift.

use chrono::{DateTime, Utc};
use kube::api::ListParams;

use super::{drift, survey};
use crate::api::{AuthorizationServer, DriftCheck};
use crate::controller::backends::{self, Use};
use crate::controller::{Context, servers};

/// What came of it; `None` for what was not due.
#[derive(Default)]
pub struct Inspected {
    /// The survey.
    pub survey: Option<survey::Surveyed>,
    /// The comparison.
    pub drift_check: Option<DriftCheck>,
}

/// Does what is due. The error says what came in between; nothing follows from half a list.
pub async fn inspect(
    ctx: &Context,
    server: &AuthorizationServer,
    now: DateTime<Utc>,
    asked: bool,
) -> Result<Inspected, String> {
    let (surveys, compares) = (survey::due(ctx, server, now, asked), drift::due(server, now, asked));
    if !surveys && !compares {
        return Ok(Inspected::default());
    }
    let backend = backends::open(ctx, &servers::snapshot(server, false), Use::Managing).await?;
    // Before the list: a client that is registered meanwhile is not missing from it.
    let ledger = if compares {
        ctx.ledger().list(&ListParams::default()).await.map_err(|e| format!("list the ledger: {e}"))?.items
    } else {
        Vec::new()
    };
    let listed = backend.list(&ctx.installation).await.map_err(|e| e.to_string())?;
    let mut done = Inspected::default();
    if compares {
        done.drift_check = Some(drift::check(ctx, server, &ledger, &listed, now).await?);
    }
    if surveys {
        done.survey = Some(survey::survey(ctx, server, &*backend, &listed, now).await?);
    }
    Ok(done)
}

/// When that is due again, at the latest.
pub fn next(server: &AuthorizationServer) -> Option<std::time::Duration> {
    let drift = drift::every(server).and_then(|every| every.to_std().ok());
    survey::next(&server.spec.orphan_sweep).into_iter().chain(drift).min()
}
