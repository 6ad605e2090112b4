//! The registration controller: the only one that talks to authorization servers about clients.

mod act;
mod observe;
pub(super) use observe::namespace;
mod record;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, DynamicObject, PartialObjectMeta};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

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
    let any = watcher::Config::default();
    let mut controller = Controller::new(ctx.ledger(), any.clone())
        .with_config(Config::default().concurrency(256))
        .graceful_shutdown_on(stop);
    let store = controller.store();
    let namespace = ctx.namespace.clone();
    controller = controller.watches(Api::<OAuthClient>::all(ctx.client.clone()), any.clone(), move |client| {
        let known = client.status.as_ref().and_then(|s| s.registration_ref.as_ref()).map_or(1, |r| r.attempt);
        let namespace = namespace.clone();
        let names: Vec<_> = entry_names(&client.uid().unwrap_or_default(), known).take(6).collect();
        names.into_iter().map(move |(_, name)| ObjectRef::new(&name).within(&namespace))
    });
    let entries = store.clone();
    controller = controller.watches(Api::<Namespace>::all(ctx.client.clone()), any.clone(), move |namespace| {
        let name = namespace.name_any();
        matching(&entries, move |e| e.spec.client_ref.namespace == name)
    });
    for resource in ctx.kinds.all() {
        let entries = store.clone();
        let kind = resource.kind.clone();
        controller = controller.watches_with(
            Api::<PartialObjectMeta<DynamicObject>>::all_with(ctx.client.clone(), resource),
            resource.clone(),
            any.clone(),
            move |workload: PartialObjectMeta<DynamicObject>| {
                let (namespace, name, kind) =
                    (workload.namespace().unwrap_or_default(), workload.name_any(), kind.clone());
                matching(&entries, move |e| {
                    e.is_live()
                        && e.spec.client_ref.namespace == namespace
                        && e.spec
                            .workload
                            .as_ref()
                            .is_some_and(|w| w.reference.kind == kind && w.reference.name == name)
                })
            },
        );
    }
    controller.run(reconcile, again, ctx).for_each(|_| std::future::ready(())).await;
}

fn matching(
    entries: &Store<ClientRegistration>,
    wanted: impl Fn(&ClientRegistration) -> bool,
) -> Vec<ObjectRef<ClientRegistration>> {
    entries.state().iter().filter(|e| wanted(e)).map(|e| ObjectRef::from_obj(&**e)).collect()
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
    for _ in 0..STEPS {
        let now = ctx.clock.now();
        let step = decide(&work.observed, ctx.retention, now);
        tracing::debug!(name, ?step, "next step");
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
