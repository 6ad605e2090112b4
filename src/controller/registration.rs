//! The registration controller: the only one that talks to authorization servers about clients.

mod act;
mod keep;
mod observe;
mod probe;
mod record;
mod register;
mod revoke;
mod say;
mod server;
mod update;
pub(super) use observe::namespace;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::Api;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

use super::watch::{self, Key};
use super::{Context, Error, again, at};
use crate::api::{ClientRegistration, OAuthClient};
use crate::domain::client::entry_names;
use crate::domain::registration::{Step, decide};
use crate::kubernetes::look::{Look, look};

/// Effects in one pass, at most: a guard against a decision that does not get on.
const STEPS: usize = 20;
/// The longest a pass may take.
const PASS: Duration = Duration::from_secs(120);

/// Runs the controller until it is told to stop.
pub async fn run(ctx: Arc<Context>, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let (controller, _) = watch::controller(&ctx, ctx.ledger(), hangs_on);
    let namespace = ctx.namespace.clone();
    controller
        .watches(Api::<OAuthClient>::all(ctx.client.clone()), watcher::Config::default(), move |client| {
            let known = client.status.as_ref().and_then(|s| s.registration_ref.as_ref()).map_or(1, |r| r.attempt);
            let namespace = namespace.clone();
            let names: Vec<_> = entry_names(&client.uid().unwrap_or_default(), known).take(6).collect();
            names.into_iter().map(move |(_, name)| ObjectRef::new(&name).within(&namespace))
        })
        .with_config(Config::default().concurrency(256))
        .graceful_shutdown_on(stop)
        .run(reconcile, again, ctx)
        .for_each(|_| std::future::ready(()))
        .await;
}

/// A live entry hangs on its client's namespace and workload; a final one on nothing.
fn hangs_on(entry: &ClientRegistration) -> Vec<Key> {
    if !entry.is_live() {
        return Vec::new();
    }
    let namespace = entry.spec.client_ref.namespace.clone();
    let workload = entry.spec.workload.as_ref().map(|w| Key::Workload {
        kind: w.reference.kind.clone(),
        namespace: namespace.clone(),
        name: w.reference.name.clone(),
    });
    workload.into_iter().chain([Key::Namespace(namespace)]).collect()
}

async fn reconcile(entry: Arc<ClientRegistration>, ctx: Arc<Context>) -> Result<Action, Error> {
    let name = entry.name_any();
    match tokio::time::timeout(PASS, pass(&name, &ctx)).await {
        Ok(done) => done,
        Err(_) => Ok(Action::requeue(Duration::from_secs(5))),
    }
}

async fn pass(name: &str, ctx: &Context) -> Result<Action, Error> {
    // The cache may be old; what is decided on here calls servers.
    let entry = match look(&ctx.ledger(), &ClientRegistration::plural(&()), name).await {
        Look::There(entry) => entry,
        Look::Gone => return Ok(Action::await_change()),
        Look::Unknown(why) => {
            tracing::debug!(name, why, "a ledger entry could not be read");
            return Ok(Action::requeue(Duration::from_secs(3)));
        }
    };
    let mut work = observe::observe(ctx, entry).await;
    let mut turn = None;
    for _ in 0..STEPS {
        let now = ctx.clock.now();
        let step = decide(&work.observed, ctx.retention, now);
        tracing::debug!(name, ?step, "next step");
        if step.asks_the_server() && turn.is_none() {
            turn = ctx.servers.turn(&work.observed.spec.server);
            if turn.is_none() {
                return Ok(Action::requeue(Duration::from_millis(1_000 + u64::from(rand::random::<u16>() % 3_000))));
            }
        }
        match step {
            Step::Wait { until } => return Ok(at(until, now)),
            Step::Release => {
                record::release(ctx, &work).await?;
                return Ok(Action::await_change());
            }
            other => act::act(ctx, &mut work, other).await?,
        }
    }
    tracing::error!(name, "a ledger entry did not get on in {STEPS} steps; this is a defect");
    Ok(Action::requeue(Duration::from_secs(60)))
}
