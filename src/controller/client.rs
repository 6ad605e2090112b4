//! The client controller: which registration should exist for an `OAuthClient`, its Secret and its status.

mod act;
mod observe;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PartialObjectMeta};
use kube::runtime::controller::{Action, Config};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

use super::watch::{self, Key};
use super::{Context, Error, again, at, write_status};
use crate::api::{AuthorizationServer, ClientRegistration, MANAGED_BY_LABEL, MANAGER, OAuthClient};
use crate::domain::client::{Decision, Step, decide};
use crate::kubernetes::look::{Look, look};

const STEPS: usize = 10;
const PASS: Duration = Duration::from_secs(60);

/// Runs the controller until it is told to stop.
pub async fn run(ctx: Arc<Context>, stop: impl Future<Output = ()> + Send + Sync + 'static) {
    let any = watcher::Config::default();
    let ours = any.clone().labels(&format!("{MANAGED_BY_LABEL}={MANAGER}"));
    let (controller, clients) = watch::controller(&ctx, Api::<OAuthClient>::all(ctx.client.clone()), hangs_on);
    let by_secret = clients.clone();
    controller
        .watches(ctx.ledger(), any.clone(), |entry: ClientRegistration| {
            let client = &entry.spec.client_ref;
            Some(ObjectRef::new(&client.name).within(&client.namespace))
        })
        // By name: somebody may have taken owner and labels off.
        .watches(Api::<PartialObjectMeta<Secret>>::all(ctx.client.clone()), ours, move |secret| {
            by_secret.on(&Key::Secret { namespace: secret.namespace().unwrap_or_default(), name: secret.name_any() })
        })
        .watches(Api::<AuthorizationServer>::all(ctx.client.clone()), any, move |server| {
            clients.on(&Key::Server(server.name_any()))
        })
        .with_config(Config::default().concurrency(64))
        .graceful_shutdown_on(stop)
        .run(reconcile, again, ctx)
        .for_each(|_| std::future::ready(()))
        .await;
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
    workload.into_iter().chain([server, secret, Key::Namespace(namespace)]).collect()
}

async fn reconcile(client: Arc<OAuthClient>, ctx: Arc<Context>) -> Result<Action, Error> {
    let (namespace, name) = (client.namespace().unwrap_or_default(), client.name_any());
    match tokio::time::timeout(PASS, pass(&namespace, &name, &ctx)).await {
        Ok(done) => done,
        Err(_) => Ok(Action::requeue(Duration::from_secs(5))),
    }
}

async fn pass(namespace: &str, name: &str, ctx: &Context) -> Result<Action, Error> {
    let api: Api<OAuthClient> = Api::namespaced(ctx.client.clone(), namespace);
    for _ in 0..STEPS {
        let client = match look(&api, &OAuthClient::plural(&()), name).await {
            Look::There(client) => client,
            Look::Gone => return Ok(Action::await_change()),
            Look::Unknown(_) => return Ok(Action::requeue(Duration::from_secs(3))),
        };
        let Some(view) = observe::observe(ctx, client).await else {
            return Ok(Action::requeue(Duration::from_secs(3)));
        };
        let now = ctx.clock.now();
        let Decision { step, status, requeue_at } = decide(&view.observed, now);
        tracing::debug!(namespace, name, ?step, "next step");
        let client = &view.observed.client;
        if let Some(status) = status
            && client.status.as_ref() != Some(&status)
        {
            let mut changed = client.clone();
            let said = status.message.clone().unwrap_or_default();
            let state = status.state.clone().unwrap_or_default();
            let new = client.status.as_ref().is_none_or(|s| s.message != status.message || s.state != status.state);
            changed.status = Some(status);
            write_status(&api, name, &changed).await?;
            if new && step != Step::DeleteObject {
                ctx.tell(&changed, !matches!(state.as_str(), "Ready" | "Revoked" | "Pending"), &state, &said).await;
            }
        }
        if step == Step::Wait {
            return Ok(at(requeue_at, now));
        }
        if act::act(ctx, &view, step).await? {
            return Ok(Action::await_change());
        }
    }
    Ok(Action::requeue(Duration::from_secs(10)))
}
