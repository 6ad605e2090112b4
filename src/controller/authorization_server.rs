//! The server controller: what is known of an authorization server, and holding it while clients live there.

mod drift;
mod inspect;
mod survey;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;

use super::stream::{self, Target};
use super::{Context, Error, again, at, doing, measured, write_status};
use crate::api::{
    AuthorizationServer, AuthorizationServerStatus, Capabilities, ClientRegistration, SERVER_FINALIZER, SERVER_LABEL,
    SWEEP_ANNOTATION, ServerEndpoints,
};
use crate::authorization_server::discovery::discover;
use crate::domain::conditions::{self, say};
use crate::domain::{backoff, names};
use crate::kubernetes::writer;

/// How often a server that works is looked at again.
const EVERY: Duration = Duration::from_secs(3600);
/// The longest a pass may take.
const PASS: Duration = Duration::from_secs(60);
/// How soon one is whose admin API said no.
const SOON: Duration = Duration::from_secs(30);

/// When each server was looked at, of which generation, and when that is due again: its clients come and go meanwhile.
#[derive(Default)]
pub struct Looked(Mutex<HashMap<String, (Version, DateTime<Utc>)>>);

/// UID and generation.
type Version = (Option<String>, Option<i64>);

impl Looked {
    fn at(&self, server: &AuthorizationServer, next: DateTime<Utc>) {
        self.lock().insert(server.name_any(), (version(server), next));
    }

    /// When it is due again; `None` when it is now.
    fn due(&self, server: &AuthorizationServer, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let known = self.lock().get(&server.name_any()).cloned().filter(|_| server.status.is_some());
        known.filter(|(seen, next)| *seen == version(server) && *next > now).map(|(_, next)| next)
    }

    fn forget(&self, server: &str) {
        self.lock().remove(server);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, (Version, DateTime<Utc>)>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn version(server: &AuthorizationServer) -> Version {
    (server.uid(), server.metadata.generation)
}

/// Runs the controller until it is told to stop.
pub async fn run(ctx: Arc<Context>) {
    let told = ctx.clone();
    let target = |resource| Target { controller: "server", resource, namespace: None, needed: true };
    let (store, writer) = reflector::store();
    let servers: Api<AuthorizationServer> = Api::all(ctx.client.clone());
    let any = watcher::Config::default();
    let changes = stream::events(&ctx, &target("authorizationservers"), servers, any).reflect(writer).touched_objects();
    let entries = stream::changes(&ctx, &target("clientregistrations"), ctx.ledger(), watcher::Config::default());
    Controller::for_stream(changes, store)
        .with_config(Config::default().concurrency(32))
        .watches_stream(entries, move |entry: ClientRegistration| {
            // Only what a server's own state depends on: its last client went, or one cannot be revoked.
            let state = entry.state();
            if state.possible_orphan.as_ref().is_some_and(|p| p.unmanageable) {
                told.looked.forget(&entry.spec.server.name);
            }
            let matters =
                !entry.is_live() || entry.metadata.deletion_timestamp.is_some() || state.possible_orphan.is_some();
            matters.then(|| ObjectRef::new(&entry.spec.server.name))
        })
        .graceful_shutdown_on(ctx.stopped())
        .run(reconcile, again, ctx.clone())
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn reconcile(server: Arc<AuthorizationServer>, ctx: Arc<Context>) -> Result<Action, Error> {
    measured(&ctx, "server", PASS, Box::pin(pass(&server, &ctx))).await
}

async fn pass(server: &AuthorizationServer, ctx: &Context) -> Result<Action, Error> {
    let api: Api<AuthorizationServer> = Api::all(ctx.client.clone());
    let name = server.name_any();
    let held = server.finalizers().iter().any(|f| f == SERVER_FINALIZER);
    if server.metadata.deletion_timestamp.is_some() {
        if held && entries(ctx, &name).await?.iter().all(|e| !e.is_live()) {
            let left: Vec<_> = server.finalizers().iter().filter(|f| *f != SERVER_FINALIZER).collect();
            let patch = json!({"metadata": {"finalizers": left, "resourceVersion": server.resource_version()}});
            api.patch(&name, &writer::patch(), &Patch::Merge(&patch)).await.map_err(doing("let a server go"))?;
        }
        return Ok(Action::await_change());
    }
    if !held {
        let all: Vec<_> = server.finalizers().iter().map(String::as_str).chain([SERVER_FINALIZER]).collect();
        let patch = json!({"metadata": {"finalizers": all, "resourceVersion": server.resource_version()}});
        api.patch(&name, &writer::patch(), &Patch::Merge(&patch)).await.map_err(doing("hold a server"))?;
        return Ok(Action::requeue(Duration::ZERO));
    }
    let now = ctx.clock.now();
    let asked = server.annotations().contains_key(SWEEP_ANNOTATION);
    if let Some(next) = ctx.looked.due(server, now).filter(|_| !asked) {
        return Ok(at(Some(next), now));
    }
    if asked {
        // Cleared first: what is asked for meanwhile is done once more.
        let patch = json!({"metadata": {"annotations": {SWEEP_ANNOTATION: null}}});
        api.patch(&name, &writer::patch(), &Patch::Merge(&patch)).await.map_err(doing("clear the sweep"))?;
    }
    let fresh = api.get(&name).await.map_err(doing("read a server"))?;
    let (status, next) = look_at(ctx, &fresh, asked).await?;
    if fresh.status.as_ref() != Some(&status) {
        let mut changed = fresh;
        changed.status = Some(status);
        write_status(&api, &name, &changed).await?;
    }
    ctx.looked.at(server, now + next);
    Ok(Action::requeue(next))
}

async fn entries(ctx: &Context, server: &str) -> Result<Vec<ClientRegistration>, Error> {
    let labelled = ListParams::default().labels(&format!("{SERVER_LABEL}={}", names::label(server)));
    Ok(ctx.ledger().list(&labelled).await.map_err(doing("list the ledger"))?.items)
}

async fn look_at(
    ctx: &Context,
    server: &AuthorizationServer,
    asked: bool,
) -> Result<(AuthorizationServerStatus, Duration), Error> {
    let now = ctx.clock.now();
    let spec = &server.spec;
    let generation = server.metadata.generation;
    let before = server.status.clone().unwrap_or_default();
    let ca = spec.tls.as_ref().map(|t| t.ca_bundle.as_str());
    let found = match ctx.servers.connect(&server.name_any(), &spec.issuer, ca, spec.allow_plain_http, &spec.limits) {
        Ok(http) => discover(&http, &spec.issuer).await.map_err(|e| (e.reason(), e.to_string())),
        Err(error) => Err(("InvalidTls", error.to_string())),
    };
    let mut withheld = None;
    let mut status = before.clone();
    status.observed_generation = generation;
    let (ready, next) = match found {
        Ok(metadata) => {
            status.unreachable_since = None;
            let unmanageable = entries(ctx, &server.name_any()).await?.iter().any(|e| {
                Some(e.spec.server.generation) == generation
                    && e.state().possible_orphan.is_some_and(|p| p.unmanageable)
            });
            let registration = metadata.registration_endpoint.is_some() || spec.backend.chooses_id();
            status.capabilities = Some(Capabilities {
                registration,
                management: !unmanageable,
                token_endpoint_auth_methods: metadata.token_endpoint_auth_methods_supported,
                grant_types: metadata.grant_types_supported,
            });
            status.metadata = Some(ServerEndpoints {
                token_endpoint: metadata.token_endpoint,
                registration_endpoint: metadata.registration_endpoint,
                revocation_endpoint: metadata.revocation_endpoint,
                introspection_endpoint: metadata.introspection_endpoint,
                key_thumbprints: metadata.key_thumbprints,
            });
            let said = if !registration {
                say(
                    "Ready",
                    false,
                    "RegistrationUnsupported",
                    "the server's metadata names no registration_endpoint (RFC 7591)",
                )
            } else if unmanageable {
                say(
                    "Ready",
                    false,
                    "RevocationUnsupported",
                    "a client registered here came without what revoking it takes (RFC 7592); no more are registered until this object is changed",
                )
            } else {
                say("Ready", true, "Discovered", "the server's metadata was read and its issuer is this one")
            };
            (said, EVERY)
        }
        Err((reason, message)) => {
            status.unreachable_since = before.unreachable_since.or(Some(now));
            if reason != "Unreachable" {
                // Something answered, and it is not this server any more: what was known holds no longer.
                status.metadata = None;
                status.capabilities = None;
            }
            let down = status.unreachable_since.map_or(0, |t| (now - t).num_seconds().max(1));
            let failures = 64 - down.leading_zeros().min(63);
            let wait = backoff::delay(&server.name_any(), failures, None).to_std().unwrap_or(EVERY);
            (say("Ready", false, reason, message), wait)
        }
    };
    let (ready, next) = if ready.status == Some(true) {
        // With the endpoints just read.
        let known = AuthorizationServer { status: Some(status.clone()), ..server.clone() };
        match inspect::inspect(ctx, &known, now, asked).await {
            Ok(found) => {
                if let Some(found) = found.survey {
                    status.survey = Some(found.survey);
                    withheld = found.withheld;
                }
                status.drift_check = found.drift_check.or(status.drift_check);
                (ready, next)
            }
            Err(why) => (say("Ready", false, "AdminApiRefused", why), SOON),
        }
    } else {
        (ready, next)
    };
    // Not all servers at once, nor all installations; never before it is due.
    let jitter = 1.0 + 0.1 * rand::random::<f64>();
    let next = inspect::next(server).map_or(next, |every| every.min(next)).mul_f64(jitter);
    let mut said = vec![ready];
    if let Some(survey) = status.survey.as_ref().filter(|s| s.unclaimed > 0) {
        let message = withheld.unwrap_or_else(|| {
            format!(
                "{} of {} clients of this installation have no ledger entry; status.survey names the oldest",
                survey.unclaimed, survey.clients
            )
        });
        said.push(say("Orphans", true, "Unclaimed", message));
    }
    if spec.allow_plain_http {
        said.push(say("PlainHttp", true, "Allowed", "allowPlainHttp is set: credentials may travel unencrypted"));
    }
    status.conditions = conditions::merge(&before.conditions, now, generation, said);
    Ok((status, next))
}
