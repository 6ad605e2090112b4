//! Everything that is known of a ledger entry, read live.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::Api;
use kube::{CustomResourceExt, ResourceExt};

use crate::api::{AuthorizationServer, ClientRegistration, OAuthClient};
use crate::controller::servers::with_todays_ca;
use crate::controller::{Context, proof};
use crate::domain::client::is_told;
use crate::domain::ends::{Circumstances, ClientState, NamespaceState};
use crate::domain::registration::{Management, Observed, Pass};
use crate::domain::workload::Workload;
use crate::kubernetes::look::{Look, look};
use crate::kubernetes::management_secret::{self, Stored};

/// An entry in work: as it is stored, what is known of it, and its management material.
pub struct Work {
    /// As it is stored.
    pub entry: ClientRegistration,
    /// What is known.
    pub observed: Observed,
    /// What its management Secret holds.
    pub stored: Option<Stored>,
    /// The OAuthClient, for events.
    pub client: Option<OAuthClient>,
}

impl Work {
    /// What managing the client takes, from now on in this pass.
    pub fn holds(&mut self, stored: Stored) {
        self.observed.management = management(&self.entry, &stored);
        self.stored = Some(stored);
    }
}

/// Reads everything.
pub async fn observe(ctx: &Context, entry: ClientRegistration) -> Work {
    let spec = &entry.spec;
    let in_namespace = &spec.client_ref.namespace;
    let clients: Api<OAuthClient> = Api::namespaced(ctx.client.clone(), in_namespace);
    // In a namespace that is not watched nothing is looked at: what is not known is no end. The lifetime, the
    // namespace itself and the entry's own deletion still are.
    let watched = ctx.scope.includes(in_namespace);
    let found = if watched {
        look(&clients, OAuthClient::crd_name(), &spec.client_ref.name).await
    } else {
        Look::Unknown("the namespace is not watched".into())
    };
    let client = match &found {
        Look::There(c) if c.uid().as_deref() == Some(&spec.client_ref.uid) => ClientState::Present {
            deleting: c.metadata.deletion_timestamp.is_some(),
            suspended: c.spec.suspend,
            generation: c.metadata.generation.unwrap_or_default(),
            told: is_told(c.status.as_ref(), spec.attempt),
        },
        Look::There(_) | Look::Gone => ClientState::Gone,
        Look::Unknown(_) if !watched => ClientState::NotWatched,
        Look::Unknown(_) => ClientState::Unknown,
    };
    let namespace = namespace(ctx, in_namespace).await.0;
    let workload = if watched {
        ctx.kinds.look(&ctx.client, in_namespace, spec.workload.as_ref().map(|w| &w.reference)).await
    } else {
        Workload::NotAllowed { message: "its namespace is not watched".into() }
    };
    let secrets: Api<Secret> = Api::namespaced(ctx.client.clone(), &ctx.namespace);
    let (management, stored) = match look(&secrets, "secrets", &entry.name_any()).await {
        Look::There(secret) => management_secret::parse(&secret)
            .map_or((Management::Unknown, None), |stored| (management(&entry, &stored), Some(stored))),
        Look::Gone => (Management::Absent, None),
        Look::Unknown(_) => (Management::Unknown, None),
    };
    let circumstances = Circumstances {
        entry_deleting: entry.metadata.deletion_timestamp.is_some(),
        client,
        namespace,
        workload,
        clock_trusted: ctx.clock_trusted(),
    };
    let observed = Observed {
        name: entry.name_any(),
        spec: entry.spec.clone(),
        status: entry.state(),
        circumstances,
        management,
        pass: Pass::default(),
    };
    let client = match (found, client) {
        (Look::There(c), ClientState::Present { .. }) => Some(c),
        _ => None,
    };
    Work { entry, observed, stored, client }
}

/// Has the server checked by today's certificates, before it is asked anything.
pub async fn certificates(ctx: &Context, work: &mut Work) {
    let server = &mut work.observed.spec.server;
    let servers: Api<AuthorizationServer> = Api::all(ctx.client.clone());
    if let Look::There(today) = look(&servers, AuthorizationServer::crd_name(), &server.name).await {
        with_todays_ca(server, &today);
    }
}

/// What a decision needs to know of management material.
fn management(entry: &ClientRegistration, stored: &Stored) -> Management {
    stored.in_short(entry, proof::credential(&entry.spec, stored).is_some())
}

/// A namespace's state and labels.
pub async fn namespace(ctx: &Context, name: &str) -> (NamespaceState, std::collections::BTreeMap<String, String>) {
    let namespaces: Api<Namespace> = Api::all(ctx.client.clone());
    match look(&namespaces, "namespaces", name).await {
        Look::There(n) => {
            let state = if n.metadata.deletion_timestamp.is_some() {
                NamespaceState::Terminating
            } else {
                NamespaceState::Active
            };
            (state, n.metadata.labels.unwrap_or_default())
        }
        Look::Gone => (NamespaceState::Gone, std::collections::BTreeMap::new()),
        Look::Unknown(_) => (NamespaceState::Unknown, std::collections::BTreeMap::new()),
    }
}
