//! What the server controller remembers of each server between passes. A restart forgets it, which costs time and
//! nothing else.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use kube::ResourceExt;

use crate::api::AuthorizationServer;
use crate::domain::survey::Before;

/// When each server was looked at, of which generation, and when that is due again: its clients come and go meanwhile.
#[derive(Default)]
pub struct Looked(Mutex<HashMap<String, Memory>>);

/// UID and generation.
type Version = (Option<String>, Option<i64>);

#[derive(Default)]
struct Memory {
    /// What was looked at, and when that is due again; `None` when it is now.
    next: Option<(Version, DateTime<Utc>)>,
    /// Whether a look at its clients was asked for or begun, and is not done.
    owes: bool,
    /// The last survey, of the server with this UID.
    survey: Option<(Option<String>, Before)>,
}

fn version(server: &AuthorizationServer) -> Version {
    (server.uid(), server.metadata.generation)
}

impl Looked {
    /// It was looked at; whether something is left undone until then.
    pub(super) fn at(&self, server: &AuthorizationServer, next: DateTime<Utc>, owes: bool) {
        let mut all = self.lock();
        let memory = all.entry(server.name_any()).or_default();
        memory.next = Some((version(server), next));
        memory.owes = owes;
    }

    /// When it is due again; `None` when it is now.
    pub(super) fn due(&self, server: &AuthorizationServer, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let known = self.lock().get(&server.name_any()).and_then(|m| m.next.clone());
        let known = known.filter(|_| server.status.is_some());
        known.filter(|(seen, next)| *seen == version(server) && *next > now).map(|(_, next)| next)
    }

    /// Whether a look at its clients was asked for or begun, and is not done.
    pub(super) fn owes(&self, server: &AuthorizationServer) -> bool {
        self.lock().get(&server.name_any()).is_some_and(|m| m.owes)
    }

    /// It is due now.
    pub(super) fn forget(&self, server: &str) {
        if let Some(memory) = self.lock().get_mut(server) {
            memory.next = None;
        }
    }

    /// What is known from the last survey: this process's, else the one on record where it is this installation's.
    pub(super) fn before(&self, server: &AuthorizationServer, installation: &str) -> Before {
        let uid = server.uid();
        let own = self.lock().get(&server.name_any()).and_then(|m| m.survey.clone());
        let own = own.filter(|(of, _)| *of == uid).map(|(_, before)| before);
        own.unwrap_or_else(|| {
            let survey = server.status.as_ref().and_then(|s| s.survey.clone());
            Before { survey: survey.filter(|s| s.installation == installation), ..Before::default() }
        })
    }

    /// A survey was made.
    pub(super) fn surveyed(&self, server: &AuthorizationServer, found: Before) {
        self.lock().entry(server.name_any()).or_default().survey = Some((server.uid(), found));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
