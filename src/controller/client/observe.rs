//! Everything that is known of an `OAuthClient`, read live.

use std::collections::HashSet;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams};
use kube::{CustomResourceExt, ResourceExt};

use crate::api::{AuthorizationServer, ClientApproval, ClientPolicy, ClientRegistration, OAuthClient, Phase};
use crate::authorization_server::keys::ClientKey;
use crate::controller::registration::namespace;
use crate::controller::{Context, Error, doing, unread};
use crate::domain::client::{Observed, Published, asks_a_person, entry_names, has_news, known_attempts};
use crate::domain::ends::NamespaceState;
use crate::domain::policy::Others;
use crate::kubernetes::look::{Look, look};
use crate::kubernetes::stamps::Kept;
use crate::kubernetes::{management_secret, tenant_secret};

/// What is known, and the Secret as it should be.
pub struct View {
    /// What is known.
    pub observed: Observed,
    /// The Secret that the serving entry calls for.
    pub wanted: Option<Secret>,
    /// The Secret that is there under that name.
    pub found: Option<Secret>,
}

/// Reads everything.
///
/// # Errors
///
/// Something that a decision rests on could not be read.
pub async fn observe(ctx: &Context, client: OAuthClient) -> Result<View, Error> {
    let in_namespace = client.namespace().unwrap_or_default();
    let uid = client.uid().unwrap_or_default();
    let (state, labels) = namespace(ctx, &in_namespace).await;
    if state == NamespaceState::Unknown {
        return Err(unread("the client's namespace")("no answer that says whether it is there".into()));
    }
    let servers: Api<AuthorizationServer> = Api::all(ctx.client.clone());
    let server_name = &client.spec.authorization_server_ref.name;
    let server = match look(&servers, AuthorizationServer::crd_name(), server_name).await {
        Look::There(server) => Some(server),
        Look::Gone => None,
        Look::Unknown(why) => return Err(unread("the AuthorizationServer")(why)),
    };
    let all = Api::<ClientPolicy>::all(ctx.client.clone());
    let policies = all.list(&ListParams::default()).await.map_err(doing("list ClientPolicies"))?;
    let decisions = Api::<ClientApproval>::namespaced(ctx.client.clone(), &in_namespace);
    let approvals = decisions.list(&ListParams::default()).await.map_err(doing("list ClientApprovals"))?;
    let others = if counts(&policies.items) { others(ctx, &client).await? } else { Others::default() };
    let known = known_attempts(&client);
    let mut entries: Vec<ClientRegistration> = Vec::new();
    let ledger = ctx.ledger();
    for (attempt, name) in entry_names(&client) {
        match look(&ledger, ClientRegistration::crd_name(), &name).await {
            Look::There(entry) => entries.push(entry),
            // One that is gone may have a successor.
            Look::Gone if attempt <= known => {}
            Look::Gone => break,
            Look::Unknown(why) => return Err(unread("a ledger entry")(why)),
        }
    }
    let stamps = if asks_a_person(&policies.items) {
        let anew = has_news(&approvals.items, &client.name_any(), &entries);
        ctx.stamps.kept(&ctx.client, &ctx.namespace, anew).await
    } else {
        Kept::Not
    };
    let workload = ctx.kinds.look(&ctx.client, &in_namespace, client.spec.workload_ref.as_ref()).await;
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &in_namespace);
    let found = match look(&secrets, "secrets", &client.spec.secret_name(&client.name_any())).await {
        Look::There(secret) => Some(secret),
        Look::Gone => None,
        // Rights that were given in the namespace go before it does, and its Secrets go with it.
        Look::Unknown(_) if state == NamespaceState::Terminating => None,
        Look::Unknown(why) => return Err(unread("the client's Secret")(why)),
    };
    let wanted = wanted(ctx, &client, &entries).await;
    let secret = match (&found, &wanted) {
        (None, _) => Published::Absent,
        (Some(f), _) if !tenant_secret::is_ours(f, &uid) => Published::Foreign { whose: tenant_secret::whose(f) },
        (Some(f), Some(w)) if tenant_secret::is_up_to_date(f, w) => Published::UpToDate,
        (Some(_), _) => Published::Outdated,
    };
    let observed = Observed {
        client,
        namespace: state,
        namespace_labels: labels,
        server,
        entries,
        workload,
        secret,
        policies: policies.items,
        approvals: approvals.items,
        stamped_since: stamps.since(),
        stamps_tried: stamps != Kept::Unknown,
        others,
        clock_trusted: ctx.clock_trusted(),
    };
    Ok(View { observed, wanted, found })
}

/// The Secret of the newest entry that serves.
async fn wanted(ctx: &Context, client: &OAuthClient, entries: &[ClientRegistration]) -> Option<Secret> {
    let entry = entries.iter().rev().find(|e| e.state().phase == Phase::Registered && e.state().end.is_none())?;
    let api: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let Look::There(secret) = look(&api, "secrets", &entry.name_any()).await else { return None };
    let stored = management_secret::parse(&secret)?;
    let key_id = stored.private_key.as_ref().and_then(|pem| ClientKey::from_pem(pem).ok()).map(|k| k.key_id);
    tenant_secret::build(client, entry, &stored, key_id.as_deref())
}

/// Whether any policy goes by how many clients there are.
pub(super) fn counts(policies: &[ClientPolicy]) -> bool {
    let limits = policies.iter().map(|p| &p.spec.limits);
    limits.into_iter().any(|l| l.max_clients_per_namespace.is_some() || l.max_clients_per_owner.is_some())
}

/// How many clients live besides this object's, by the ledger.
async fn others(ctx: &Context, client: &OAuthClient) -> Result<Others, Error> {
    let all = ctx.ledger().list(&ListParams::default()).await.map_err(doing("list the ledger"))?;
    let (uid, namespace) = (client.uid().unwrap_or_default(), client.namespace().unwrap_or_default());
    let (mut in_namespace, mut of_owner) = (HashSet::new(), HashSet::new());
    for entry in all.items.iter().filter(|e| e.is_live() && e.state().phase != Phase::PossibleOrphan) {
        let of = &entry.spec.client_ref;
        if of.uid == uid {
            continue;
        }
        if of.namespace == namespace {
            in_namespace.insert(of.uid.clone());
        }
        if entry.spec.owner.email == client.spec.owner.email {
            of_owner.insert(of.uid.clone());
        }
    }
    let count = |of: HashSet<String>| u32::try_from(of.len()).unwrap_or(u32::MAX);
    Ok(Others { in_namespace: count(in_namespace), of_owner: count(of_owner) })
}
