//! The custom resources of group `oauthclient.dev`: types and the rules the API server enforces on them,
//! nothing else. `crds/` is generated from here; every doc comment on a field is what `kubectl explain` prints.

mod authorization_server;
mod backend;
mod client_approval;
mod client_policy;
mod client_registration;
mod common;
mod oauth_client;

pub use authorization_server::*;
pub use backend::*;
pub use client_approval::*;
pub use client_policy::*;
pub use client_registration::*;
pub use common::*;
pub use oauth_client::*;

/// Keeps an `OAuthClient` until its client is gone from the server.
pub const CLIENT_FINALIZER: &str = "oauthclient.dev/revocation";
/// Keeps a ledger entry until its client is gone from the server.
pub const ENTRY_FINALIZER: &str = "oauthclient.dev/ledger";
/// Keeps a management Secret as long as its ledger entry may need it.
pub const SECRET_FINALIZER: &str = "oauthclient.dev/management";
/// Keeps an `AuthorizationServer` while the ledger has live entries for it.
pub const SERVER_FINALIZER: &str = "oauthclient.dev/live-clients";
/// Label on everything the operator makes.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY_LABEL`] and field manager of everything the operator writes.
pub const MANAGER: &str = "oauthclient-operator";
/// Label: UID of the `OAuthClient` that an object was made for.
pub const CLIENT_UID_LABEL: &str = "oauthclient.dev/client-uid";
/// Label: name of the `OAuthClient` that an object was made for.
pub const CLIENT_NAME_LABEL: &str = "oauthclient.dev/client";
/// Label: namespace of the `OAuthClient` that an object was made for.
pub const CLIENT_NAMESPACE_LABEL: &str = "oauthclient.dev/client-namespace";
/// Label: the `AuthorizationServer` that a ledger entry is about.
pub const SERVER_LABEL: &str = "oauthclient.dev/authorization-server";
/// Label on a tenant's Secret: which installation made it.
pub const INSTALLATION_LABEL: &str = "oauthclient.dev/installation";
/// Annotation on a tenant's Secret: checksum of its data, for reloaders and to notice changes.
pub const CHECKSUM_ANNOTATION: &str = "oauthclient.dev/checksum";
/// Annotation on an `AuthorizationServer`: look for orphans at once; it clears itself.
pub const SWEEP_ANNOTATION: &str = "oauthclient.dev/sweep";
/// Annotation on an `OAuthClient`: rotate its credential at once; it clears itself.
pub const ROTATE_ANNOTATION: &str = "oauthclient.dev/rotate";
/// Annotation on an `OAuthClient`: everyone who made it or changed what is governed in it; kept true by the API server.
pub const REQUESTED_BY_ANNOTATION: &str = "oauthclient.dev/requested-by";
/// Annotation on a `ClientPolicy`: who wrote its `deny`; kept true by the API server.
pub const DENIED_BY_ANNOTATION: &str = "oauthclient.dev/denied-by";
