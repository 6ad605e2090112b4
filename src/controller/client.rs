//! The client controller: which registration should exist for an `OAuthClient`, its Secret and its status.

mod act;
mod judging;
mod observe;

pub use judging::Judging;

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{CustomResourceExt, ResourceExt};

use super::stream::{self, Target};
use super::watch::{self, Begun, Index, Key};
use super::{Context, Error, again, at, measured, unread, write_status};
use crate::api::{
    AuthorizationServer, CLIENT_NAMESPACE_LABEL, ClientApproval, ClientPolicy, ClientRegistration, MANAGED_BY_LABEL,
    MANAGER, OAuthClient,
};
use crate::domain::client::{Decision, Step, decide, is_first_ready, is_on_the_way};
use crate::domain::names;
use crate::domain::transition;
use crate::kubernetes::look::{Look, look};
use crate::kubernetes::scope;
use crate::telemetry::traces::Story;

const STEPS: usize = 10;
const PASS: Duration = Duration::from_secs(60);

/// Runs the controller until it is told to stop: one for each namespace, where they are restricted.
pub async fn run(ctx: Arc<Context>) {
    futures::future::join_all(ctx.scope.each().into_iter().map(|place| run_in(ctx.clone(), place))).await;
}

async fn run_in(ctx: Arc<Context>, place: Option<String>) {
    let namespace = place.as_deref();
    let target = |resource| Target { controller: "client", resource, namespace, needed: true };
    let any = watcher::Config::default();
    let ours = any.clone().labels(&format!("{MANAGED_BY_LABEL}={MANAGER}"));
    let theirs =
        namespace.map_or_else(|| any.clone(), |n| any.clone().labels(&format!("{CLIENT_NAMESPACE_LABEL}={n}")));
    let all = scope::api(&ctx.client, namespace);
    let Begun { controller, index, store } =
        watch::controller(&ctx, &target("oauthclients"), all, std::slice::from_ref(&place), hangs_on);
    ctx.metrics.count_clients(store);
    let (by_secret, by_server) = (index.clone(), index.clone());
    let secrets = scope::api::<PartialObjectMeta<Secret>>(&ctx.client, namespace);
    let servers = Api::<AuthorizationServer>::all(ctx.client.clone());
    let decisions = scope::api::<ClientApproval>(&ctx.client, namespace);
    controller
        .watches_stream(
            stream::changes(&ctx, &target("clientregistrations"), ctx.ledger(), theirs),
            |entry: ClientRegistration| {
                let client = &entry.spec.client_ref;
                Some(ObjectRef::new(&client.name).within(&client.namespace))
            },
        )
        // By name: somebody may have taken owner and labels off.
        .watches_stream(stream::changes(&ctx, &target("secrets"), secrets, ours), move |secret| {
            by_secret.on(&Key::Secret { namespace: secret.namespace().unwrap_or_default(), name: secret.name_any() })
        })
        .watches_stream(
            stream::news(&ctx, &target("authorizationservers"), servers, any.clone(), matters),
            move |server| by_server.on(&Key::Server(server.name_any())),
        )
        .watches_stream(
            stream::changes(&ctx, &target("clientapprovals"), decisions, any.clone()),
            |decision: ClientApproval| {
                let namespace = decision.namespace().unwrap_or_default();
                Some(ObjectRef::new(&decision.spec.client).within(&namespace))
            },
        )
        .reconcile_on(judged_anew(&ctx, &target("clientpolicies"), any, index))
        .with_config(Config::default().concurrency(64))
        .run(reconcile, again, ctx.clone())
        .for_each(|_| std::future::ready(()))
        .await;
}

/// Every client, each time a policy changes: a few at a time, since each reads everything that it rests on.
fn judged_anew(
    ctx: &Arc<Context>,
    target: &Target<'_>,
    any: watcher::Config,
    index: Arc<Index<OAuthClient>>,
) -> impl Stream<Item = ObjectRef<OAuthClient>> + Send + use<> {
    let policies = Api::<ClientPolicy>::all(ctx.client.clone());
    let (tell, told) = tokio::sync::watch::channel(());
    let changes = stream::news(ctx, target, policies, any, |p: &ClientPolicy| (p.uid(), p.metadata.generation));
    let hears = changes.map(move |_| tell.send_replace(()));
    let waves = futures::stream::unfold((told, index), |(mut told, index)| async move {
        told.changed().await.ok()?;
        let all = index.on(&Key::Policies);
        Some((all, (told, index)))
    });
    let ctx = ctx.clone();
    let paced = waves.flat_map(futures::stream::iter).then(move |client| {
        let ctx = ctx.clone();
        async move {
            ctx.judging.begins(&client).await;
            client
        }
    });
    futures::stream::select(hears.filter_map(|()| std::future::ready(None)), paced)
}

/// What its clients take from a server: not what was found at the last look through them all, which is written each time.
fn matters(server: &AuthorizationServer) -> String {
    let meta = &server.metadata;
    let status = server.status.as_ref();
    let ready = status.and_then(|s| s.conditions.iter().find(|c| c.type_ == "Ready"));
    let known = (status.and_then(|s| s.metadata.as_ref()), status.and_then(|s| s.capabilities.as_ref()));
    names::hash(&(&meta.uid, meta.generation, meta.deletion_timestamp.is_some(), known, ready))
}

/// A client hangs on its namespace, server and Secret; on its workload until there is a ledger entry, which then does.
fn hangs_on(client: &OAuthClient) -> Vec<Key> {
    let namespace = client.namespace().unwrap_or_default();
    let waits = client.status.as_ref().is_none_or(|s| s.registration_ref.is_none());
    let workload = client.spec.workload_ref.as_ref().filter(|_| waits).map(|w| Key::Workload {
        kind: w.kind.clone(),
        namespace: namespace.clone(),
        name: w.name.clone(),
    });
    let server = Key::Server(client.spec.authorization_server_ref.name.clone());
    let secret = Key::Secret { namespace: namespace.clone(), name: client.spec.secret_name(&client.name_any()) };
    workload.into_iter().chain([server, secret, Key::Namespace(namespace), Key::Policies]).collect()
}

async fn reconcile(client: Arc<OAuthClient>, ctx: Arc<Context>) -> Result<Action, Error> {
    let (namespace, name) = (client.namespace().unwrap_or_default(), client.name_any());
    let done = measured(&ctx, "client", PASS, Box::pin(pass(&namespace, &name, &ctx))).await;
    ctx.judging.is_done(&client);
    done
}

async fn pass(namespace: &str, name: &str, ctx: &Context) -> Result<Action, Error> {
    let api: Api<OAuthClient> = Api::namespaced(ctx.client.clone(), namespace);
    let mut counted = None;
    for _ in 0..STEPS {
        if ctx.is_stopping() {
            break;
        }
        let client = match look(&api, OAuthClient::crd_name(), name).await {
            Look::There(client) => client,
            Look::Gone => return Ok(Action::await_change()),
            Look::Unknown(why) => return Err(unread("an OAuthClient")(why)),
        };
        let view = observe::observe(ctx, client).await?;
        let now = ctx.clock.now();
        let Decision { step, status, requeue_at } = decide(&view.observed, now);
        tracing::debug!(namespace, name, ?step, "next step");
        let client = &view.observed.client;
        if let Some(status) = status
            && client.status.as_ref() != Some(&status)
        {
            let mut changed = client.clone();
            let told = transition::of(client.status.as_ref(), &status);
            let ready = is_first_ready(&view.observed, &status);
            changed.status = Some(status);
            write_status(&api, name, &changed).await?;
            if let Some(applied) = client.metadata.creation_timestamp.as_ref().filter(|_| ready) {
                ctx.traces.over(Story::of_client(client), applied.0);
            }
            for told in told {
                ctx.decided(&changed, &told).await;
            }
        }
        if step == Step::Wait {
            return Ok(at(requeue_at, now));
        }
        if matches!(step, Step::CreateEntry { .. }) && counted.is_none() && observe::counts(&view.observed.policies) {
            // One at a time, and counted anew: two would both be the last that is allowed.
            counted = Some(ctx.counting.lock().await);
            continue;
        }
        let story = is_on_the_way(client).then(|| Story::of_client(client));
        let name = step.name();
        if ctx.traces.step(story, name, act::act(ctx, &view, step)).await? {
            return Ok(Action::await_change());
        }
    }
    Ok(Action::requeue(Duration::from_secs(10)))
}
