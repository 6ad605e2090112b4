//! The server controller: what is known of an authorization server, and holding it while clients live there.

mod drift;
mod inspect;
mod looked;
mod survey;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;

pub use self::looked::Looked;
use super::stream::{self, Target};
use super::{Context, Error, again, at, doing, measured, write_status};
use crate::api::{
    AuthorizationServer, AuthorizationServerStatus, Capabilities, ClientRegistration, SERVER_FINALIZER, SERVER_LABEL,
    SWEEP_ANNOTATION, ServerEndpoints, Survey,
};
use crate::authorization_server::discovery::discover;
use crate::domain::conditions::{self, Say, say};
use crate::domain::{backoff, names};
use crate::kubernetes::writer;

/// How often a server that works is looked at again.
const EVERY: Duration = Duration::from_secs(3600);
/// The longest a pass may take.
const PASS: Duration = Duration::from_secs(60);
/// How soon one is whose admin API said no.
const SOON: Duration = Duration::from_secs(30);
/// How soon a sweep goes on for which one pass was too short.
const AT_ONCE: Duration = Duration::from_secs(1);
/// What the annotation says while a sweep that was asked for is not done. Whoever asks meanwhile writes something else,
/// and it is done once more; a process that dies leaves it, and the next one does it.
const UNDER_WAY: &str = "under-way";

/// Runs the controller until it is told to stop.
pub async fn run(ctx: Arc<Context>) {
    let (told, heard) = (ctx.clone(), ctx.clone());
    let circuits = ctx.servers.circuits().map(move |name| {
        heard.looked.forget(&name);
        ObjectRef::new(&name)
    });
    let target = |resource| Target { controller: "server", resource, namespace: None, needed: true };
    let (store, writer) = reflector::store();
    ctx.metrics.count_servers(store.clone());
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
        .reconcile_on(circuits)
        .reconcile_all_on(ctx.occasions())
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
            ctx.metrics.server_gone(&name);
        }
        return Ok(Action::await_change());
    }
    if !held {
        let all: Vec<_> = server.finalizers().iter().map(String::as_str).chain([SERVER_FINALIZER]).collect();
        let patch = json!({"metadata": {"finalizers": all, "resourceVersion": server.resource_version()}});
        api.patch(&name, &writer::patch(), &Patch::Merge(&patch)).await.map_err(doing("hold a server"))?;
        return Ok(Action::requeue(Duration::ZERO));
    }
    let current;
    let server = if server.annotations().contains_key(SWEEP_ANNOTATION) {
        // What is cached may be older than what this controller wrote last.
        current = api.get(&name).await.map_err(doing("read a server"))?;
        &current
    } else {
        server
    };
    let now = ctx.clock.now();
    let wish = server.annotations().get(SWEEP_ANNOTATION);
    let owes = ctx.looked.owes(server);
    let new = wish.is_some_and(|wish| wish != UNDER_WAY || !owes);
    if let Some(next) = ctx.looked.due(server, now).filter(|_| !new) {
        return Ok(at(Some(next), now));
    }
    if wish.is_some_and(|wish| wish != UNDER_WAY) {
        mark(&api, &name, None, Some(UNDER_WAY)).await?;
    }
    let asked = wish.is_some() || owes;
    let fresh = api.get(&name).await.map_err(doing("read a server"))?;
    let looked = look_at(ctx, &fresh, asked).await?;
    let now_owes = looked.unfinished || (asked && !looked.inspected && server.spec.backend.lists());
    ctx.looked.at(server, now + looked.next, now_owes);
    if fresh.status.as_ref() != Some(&looked.status) {
        let mut changed = fresh;
        changed.status = Some(looked.status);
        if let Err(error) = write_status(&api, &name, &changed).await {
            // The next pass says it: what is known is not on record.
            ctx.looked.forget(&name);
            return Err(error);
        }
    }
    if wish.is_some() && !now_owes {
        let now = api.get(&name).await.map_err(doing("read a server"))?;
        if now.annotations().get(SWEEP_ANNOTATION).is_some_and(|wish| wish == UNDER_WAY) {
            mark(&api, &name, now.resource_version(), None).await?;
        }
    }
    Ok(Action::requeue(looked.next))
}

/// Sets the annotation that asks for a sweep, or takes it off; where a version is given, only if the object has it still.
async fn mark(
    api: &Api<AuthorizationServer>,
    name: &str,
    version: Option<String>,
    wish: Option<&str>,
) -> Result<(), Error> {
    let mut patch = json!({"metadata": {"annotations": {SWEEP_ANNOTATION: wish}}});
    if let Some(version) = version {
        patch["metadata"]["resourceVersion"] = version.into();
    }
    api.patch(name, &writer::patch(), &Patch::Merge(&patch)).await.map_err(doing("mark a sweep"))?;
    Ok(())
}

async fn entries(ctx: &Context, server: &str) -> Result<Vec<ClientRegistration>, Error> {
    let labelled = ListParams::default().labels(&format!("{SERVER_LABEL}={}", names::label(server)));
    Ok(ctx.ledger().list(&labelled).await.map_err(doing("list the ledger"))?.items)
}

/// What a look at a server came to.
struct Look {
    status: AuthorizationServerStatus,
    /// When the next one is due.
    next: Duration,
    /// Whether its clients were looked at, as far as that was due.
    inspected: bool,
    /// Whether a sweep is to go on.
    unfinished: bool,
}

async fn look_at(ctx: &Context, server: &AuthorizationServer, asked: bool) -> Result<Look, Error> {
    let now = ctx.clock.now();
    let spec = &server.spec;
    let generation = server.metadata.generation;
    let before = server.status.clone().unwrap_or_default();
    let ca = spec.tls.as_ref().map(|t| t.ca_bundle.as_str());
    let http = ctx.servers.connect(&server.name_any(), &spec.issuer, ca, spec.allow_plain_http, &spec.limits);
    let found = match &http {
        Ok(http) => discover(http, &spec.issuer).await.map_err(|e| (e.reason(), e.to_string())),
        Err(error) => Err(("InvalidTls", error.to_string())),
    };
    let (mut inspected, mut unfinished) = (false, false);
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
                inspected = true;
                if let Some(found) = found.survey {
                    status.survey = Some(found.survey);
                    unfinished = found.unfinished;
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
    let next = if unfinished { AT_ONCE } else { next };
    let mut said = vec![ready];
    said.extend(status.survey.as_ref().and_then(orphans));
    said.extend(http.ok().and_then(|http| left_alone(&http.left_alone())));
    if spec.allow_plain_http {
        said.push(say("PlainHttp", true, "Allowed", "allowPlainHttp is set: credentials may travel unencrypted"));
    }
    status.conditions = conditions::merge(&before.conditions, now, generation, said);
    Ok(Look { status, next, inspected, unfinished })
}

/// The condition that tells of circuits that are open; none where none is.
fn left_alone(origins: &[String]) -> Option<Say> {
    let message = format!(
        "{} failed again and again and is left alone but for one request now and then, until that is answered; what is to be done there waits, ends of clients too",
        origins.join(" and ")
    );
    (!origins.is_empty()).then(|| say("CircuitOpen", true, "Failing", message))
}

/// The condition that tells of orphans; none where there are none.
fn orphans(survey: &Survey) -> Option<Say> {
    let Survey { clients, unclaimed, stopped, .. } = survey;
    if let Some(why) = stopped {
        return Some(say("Orphans", true, "SweepStopped", why));
    }
    let message = format!(
        "{unclaimed} of {clients} clients of this installation have no ledger entry; status.survey names the oldest"
    );
    (*unclaimed > 0).then(|| say("Orphans", true, "Unclaimed", message))
}
