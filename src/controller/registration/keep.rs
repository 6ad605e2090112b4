//! Storing what managing a client takes. It exists nowhere else, so a failure to store it is tried again for a minute.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use tokio::time::{Instant, sleep};

use crate::controller::Context;
use crate::kubernetes::look::is_conflict;
use crate::kubernetes::management_secret::{self, Stored};
use crate::kubernetes::writer;

/// How long it is tried; a pass may take twice as long.
const LONGEST: Duration = Duration::from_secs(60);
const BETWEEN: Duration = Duration::from_millis(500);

/// Stores what a registration brought. A conflict means that another pass registered for this entry as well, unless what
/// is there is this very client, stored by a write whose answer was lost.
pub async fn new(ctx: &Context, name: &str, stored: &Stored) -> Result<(), kube::Error> {
    let secrets = secrets(ctx);
    let secret = management_secret::build(name, stored);
    let start = Instant::now();
    loop {
        match secrets.create(&writer::post(), &secret).await {
            Ok(_) => return Ok(()),
            Err(error) if is_conflict(&error) => {
                let there = secrets.get(name).await.ok().and_then(|s| management_secret::parse(&s));
                let same = there.is_some_and(|t| t.management.client_id == stored.management.client_id);
                return if same { Ok(()) } else { Err(error) };
            }
            Err(_) if start.elapsed() < LONGEST => sleep(BETWEEN).await,
            Err(error) => return Err(error),
        }
    }
}

/// Stores a credential before the server hears of it. One that is there already was made by a pass that is forgotten:
/// the next pass reads it.
pub async fn prepared(ctx: &Context, name: &str, stored: &Stored) -> Result<(), kube::Error> {
    secrets(ctx).create(&writer::post(), &management_secret::build(name, stored)).await.map(|_| ())
}

/// Stores what a change brought: a rotated token is in hand, and the old one is dead.
pub async fn changed(ctx: &Context, name: &str, stored: &Stored) -> Result<(), kube::Error> {
    let secrets = secrets(ctx);
    let secret = management_secret::build(name, stored);
    let start = Instant::now();
    loop {
        match secrets.replace(name, &writer::post(), &secret).await {
            Ok(_) => return Ok(()),
            Err(_) if start.elapsed() < LONGEST => sleep(BETWEEN).await,
            Err(error) => return Err(error),
        }
    }
}

fn secrets(ctx: &Context) -> Api<Secret> {
    Api::namespaced(ctx.client.clone(), &ctx.namespace)
}
