//! The ends of a client. An end needs a fact; what is not known is no end (G6).

use chrono::{DateTime, Utc};

use crate::api::{ClientRegistrationSpec, End, EndReason};
use crate::domain::workload::Workload;

/// What is known of the OAuthClient that an entry was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientState {
    /// It is there.
    Present {
        /// It has a deletion timestamp.
        deleting: bool,
        /// `suspend: true`.
        suspended: bool,
        /// Its generation. While the entry is of an older one, the client controller has yet to judge the edit.
        generation: i64,
        /// Its status says how this entry ended.
        told: bool,
    },
    /// The API server says that this very object is gone, or another has its name.
    Gone,
    /// Nothing can be said now.
    Unknown,
    /// Its namespace is not among those that are watched: nothing will be said.
    NotWatched,
}

/// What is known of the client's namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceState {
    /// It is there.
    Active,
    /// It is being deleted.
    Terminating,
    /// The API server says that it is gone.
    Gone,
    /// Nothing can be said now.
    Unknown,
}

/// Everything that can end a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// The entry has a deletion timestamp.
    pub entry_deleting: bool,
    /// The OAuthClient.
    pub client: ClientState,
    /// Its namespace.
    pub namespace: NamespaceState,
    /// Its workload.
    pub workload: Workload,
    /// Whether the local clock is near the API server's.
    pub clock_trusted: bool,
}

/// Whether the entry knows the object's newest generation, as far as can be seen.
pub fn is_judged(spec: &ClientRegistrationSpec, at: &Circumstances) -> bool {
    !matches!(at.client, ClientState::Present { generation, .. } if generation > spec.generation)
}

/// Whether something that could end a client could not be read.
pub fn is_unread(spec: &ClientRegistrationSpec, at: &Circumstances) -> bool {
    at.client == ClientState::Unknown
        || at.namespace == NamespaceState::Unknown
        || (spec.workload.is_some() && at.workload == Workload::Unknown)
}

/// The end that has come, if any.
pub fn end_of(spec: &ClientRegistrationSpec, at: &Circumstances, now: DateTime<Utc>) -> Option<End> {
    if let Some(end) = &spec.end {
        return Some(end.clone());
    }
    let end = |reason, message: String| Some(End { reason, message, at: now });
    let who = format!("OAuthClient {}/{}", spec.client_ref.namespace, spec.client_ref.name);
    let namespace = &spec.client_ref.namespace;
    match at.client {
        ClientState::Present { deleting: true, .. } => {
            return end(EndReason::ClientDeleted, format!("{who} is being deleted"));
        }
        ClientState::Gone => {
            return end(EndReason::ClientGone, format!("{who} with UID {} is gone", spec.client_ref.uid));
        }
        ClientState::Present { .. } | ClientState::Unknown | ClientState::NotWatched => {}
    }
    match at.namespace {
        NamespaceState::Terminating => {
            return end(EndReason::NamespaceTerminating, format!("namespace {namespace} is terminating"));
        }
        NamespaceState::Gone => return end(EndReason::NamespaceGone, format!("namespace {namespace} is gone")),
        NamespaceState::Active | NamespaceState::Unknown => {}
    }
    if at.entry_deleting {
        return end(EndReason::RegistrationDeleted, "the ledger entry was deleted".into());
    }
    if let ClientState::Present { suspended: true, .. } = at.client {
        return end(EndReason::Suspended, format!("{who} is suspended"));
    }
    if let Some(pinned) = &spec.workload {
        let what = format!("{} {}/{}", pinned.reference.kind, namespace, pinned.reference.name);
        match &at.workload {
            Workload::Missing => return end(EndReason::WorkloadGone, format!("{what} is gone")),
            Workload::Present { uid, .. } if *uid != pinned.uid => {
                return end(
                    EndReason::WorkloadGone,
                    format!("{what} with UID {} is gone; another has its name", pinned.uid),
                );
            }
            Workload::Present { finished: Some(why), .. } => {
                return end(EndReason::WorkloadFinished, format!("{what} has finished: {why}"));
            }
            _ => {}
        }
    }
    if at.clock_trusted && spec.retires_at.is_some_and(|t| now >= t) {
        let message = "its credential was rotated, and the overlap with the new one is over".to_owned();
        return end(EndReason::Replaced, message);
    }
    // An edit may have made it longer: the client controller says so first. An object that cannot be read has no say.
    if at.clock_trusted && now >= spec.expires_at && is_judged(spec, at) {
        return end(EndReason::Expired, format!("the lifetime ended at {}", spec.expires_at.to_rfc3339()));
    }
    // No edit makes an approval longer.
    if let Some(over) = spec.approval.as_ref().and_then(|a| a.not_after).filter(|t| at.clock_trusted && now >= *t) {
        return end(EndReason::Expired, format!("its approval ended at {}", over.to_rfc3339()));
    }
    None
}
