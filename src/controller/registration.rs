//! The registration controller: the only one that talks to authorization servers about clients.

mod act;
mod keep;
mod observe;
mod probe;
mod record;
mod register;
mod revoke;
mod rotate;
mod say;
mod server;
mod update;

pub use keep::Keeping;
use observe::Work;
pub(super) use observe::namespace;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{CustomResourceExt, ResourceExt};

use super::stream::{self, Target};
use super::watch::{self, Begun, Key};
use super::{Context, Error, again, at, measured, unread};
use crate::api::{ClientRegistration, OAuthClient};
use crate::authorization_server::limits::Priority;
use crate::domain::client::entry_names;
use crate::domain::registration::{Step, decide};
use crate::kubernetes::look::{Look, look};
use crate::kubernetes::scope;
use crate::telemetry::traces::Story;

/// Effects in one pass, at most: a guard against a decision that does not get on.
const STEPS: usize = 20;
/// The longest a pass may take.
const PASS: Duration = Duration::from_secs(120);

/// Runs the controller until it is told to stop.
pub async fn run(ctx: Arc<Context>) {
    let target = |resource, namespace| Target { controller: "registration", resource, namespace, needed: true };
    let places = ctx.scope.each();
    let Begun { mut controller, store, .. } =
        watch::controller(&ctx, &target("clientregistrations", None), ctx.ledger(), &places, hangs_on);
    ctx.metrics.count_entries(store);
    for place in places.iter().map(Option::as_deref) {
        let clients = scope::api(&ctx.client, place);
        let changes = stream::changes(&ctx, &target("oauthclients", place), clients, watcher::Config::default());
        let namespace = ctx.namespace.clone();
        controller = controller.watches_stream(changes, move |client: OAuthClient| {
            let namespace = namespace.clone();
            let names: Vec<_> = entry_names(&client).take(6).collect();
            names.into_iter().map(move |(_, name)| ObjectRef::new(&name).within(&namespace))
        });
    }
    controller
        .with_config(Config::default().concurrency(256))
        .run(reconcile, again, ctx.clone())
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
    measured(&ctx, "registration", PASS, Box::pin(pass(&name, &ctx))).await
}

async fn pass(name: &str, ctx: &Context) -> Result<Action, Error> {
    if ctx.keeping.is_under_way(name) {
        return Ok(Action::requeue(Duration::from_secs(2)));
    }
    // The cache may be old; what is decided on here calls servers.
    let entry = match look(&ctx.ledger(), ClientRegistration::crd_name(), name).await {
        Look::There(entry) => entry,
        Look::Gone => return Ok(Action::await_change()),
        Look::Unknown(why) => return Err(unread("a ledger entry")(why)),
    };
    let mut work = observe::observe(ctx, entry).await;
    if ctx.is_stopping() {
        // None is begun any more; one that was begun is finished, since a half one costs evidence.
        return Ok(Action::await_change());
    }
    let mut turn = None;
    let began = ctx.clock.now();
    for _ in 0..STEPS {
        let now = ctx.clock.now();
        // It may have been set in the middle of a pass.
        work.observed.circumstances.clock_trusted = ctx.clock_trusted();
        let step = decide(&work.observed, ctx.retention, now);
        tracing::debug!(name, ?step, "next step");
        if step.asks_the_server() && turn.is_none() {
            let priority = if step.ends() { Priority::Ending } else { Priority::Other };
            turn = match ctx.servers.turn(&work.observed.spec.server, priority, name) {
                Ok(turn) => Some(turn),
                Err(away) => return Ok(Action::requeue(away)),
            };
            observe::certificates(ctx, &mut work).await;
        }
        match step {
            Step::Wait { until } => return Ok(at(until, now)),
            Step::Release => {
                record::release(ctx, &work).await?;
                return Ok(Action::await_change());
            }
            other => {
                let (story, name) = (story(&work, &other), other.name());
                let last = matches!(other, Step::RecordFinal(..));
                ctx.traces.step(story.clone(), name, act::act(ctx, &mut work, other)).await?;
                if let (true, Some(story), Some(end)) = (last, story, &work.observed.status.end) {
                    // The credential may have been tried before the end went on record.
                    ctx.traces.over(story, end.at.min(began));
                }
            }
        }
    }
    tracing::error!(name, "a ledger entry did not get on in {STEPS} steps; this is a defect");
    Ok(Action::requeue(Duration::from_secs(60)))
}

/// The story that a step belongs to: how its client becomes Ready, or how it is ended. What happens in between is none.
fn story(work: &Work, step: &Step) -> Option<Story> {
    let o = &work.observed;
    if o.status.end.is_some() || step.ends() || matches!(step, Step::RecordEnd(_)) {
        Some(Story::of_end(&o.name, &o.spec))
    } else {
        let on_the_way = o.status.registered_at.is_none() && o.spec.rotation.is_none();
        on_the_way.then(|| Story::of_entry(&o.spec))
    }
}
