//! Clients at the server that are not as they were asked to be: somebody changed them there.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, SubsecRound, Utc};

use crate::api::{ClientRegistration, Drift, DriftCheck, DriftKind, Phase, RegistrationRequest};
use crate::domain::request::{self, Grant};

/// A client as the server has it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Present {
    /// What it may do.
    pub grant: Grant,
    /// Whether it is switched on, where a server can switch clients off.
    pub enabled: Option<bool>,
    /// RFC 7638 thumbprints of the keys that it may sign assertions with.
    pub keys: Option<BTreeSet<String>>,
    /// What else it may do, that is never asked for.
    pub extras: Vec<String>,
}

/// What a comparison of all clients came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// For the server's status.
    pub check: DriftCheck,
    /// What is to be put on record, by entry: how its client differs, or that it does not any more.
    pub changes: BTreeMap<String, Option<Drift>>,
}

/// Compares the clients of these entries, read before the list, with a whole list of what the server has, by client id.
/// `keys` are the thumbprints of the keys that each entry's client should have.
pub fn weigh(
    entries: &[&ClientRegistration],
    listed: &BTreeMap<String, Present>,
    keys: &BTreeMap<String, BTreeSet<String>>,
    now: DateTime<Utc>,
) -> Findings {
    let mut found = Findings { check: DriftCheck { at: now, ..DriftCheck::default() }, ..Findings::default() };
    for entry in entries.iter().filter(|e| goes_on(e)) {
        let (name, state) = (entry.metadata.name.clone().unwrap_or_default(), entry.state());
        let Some(client_id) = &state.client_id else { continue };
        found.check.clients += 1;
        let differs = match listed.get(client_id) {
            // Also when nothing is listed at all: what is missing is looked up before anything follows.
            None => Some((DriftKind::Missing, "it is not among the server's clients".to_owned())),
            Some(client) if client.enabled == Some(false) => {
                Some((DriftKind::Disabled, "it is switched off at the server".to_owned()))
            }
            Some(client) if is_settled(entry, now) => compare(&entry.spec.request, keys.get(&name), client),
            // What it is to be is changing, or a change of it was refused: compared once that is over.
            Some(_) if state.drift.as_ref().is_some_and(|d| d.kind == DriftKind::Changed) => continue,
            Some(_) => None,
        };
        found.check.drifted += u32::from(differs.is_some());
        let known = state.drift.as_ref();
        // One that lost our mark is not listed: each time it is looked up whether it is there still.
        let since = known.filter(|d| d.kind == DriftKind::Foreign).map(|d| d.since);
        if known.map(|d| d.kind) != differs.as_ref().map(|(kind, _)| *kind) {
            let since = since.unwrap_or_else(|| now.trunc_subsecs(0));
            let drift = differs.map(|(kind, message)| Drift { since, kind, message });
            found.changes.insert(name, drift);
        }
    }
    found
}

/// Whether an entry has a client that goes on.
fn goes_on(entry: &ClientRegistration) -> bool {
    let state = entry.state();
    state.phase == Phase::Registered
        && state.end.is_none()
        && entry.spec.end.is_none()
        && entry.metadata.deletion_timestamp.is_none()
}

/// Whether an entry says what its client should be: no change is under way, and none was refused.
fn is_settled(entry: &ClientRegistration, now: DateTime<Utc>) -> bool {
    let state = entry.state();
    let rotates = entry.spec.key_rotation.as_ref().is_some_and(|asked| {
        asked.became(&state).is_none_or(|done| !done.is_over() && asked.retires_at.is_some_and(|at| at <= now))
    });
    !rotates && state.applied.is_some_and(|applied| applied == request::hash(&entry.spec.request))
}

/// How a client differs from what was asked, in words; `None` where it does not.
fn compare(
    asked: &RegistrationRequest,
    keys: Option<&BTreeSet<String>>,
    client: &Present,
) -> Option<(DriftKind, String)> {
    let mut found = Vec::new();
    let mut say = |may: &str, what: &str, values: Vec<&str>| {
        if !values.is_empty() {
            found.push(format!("{may} {what}{}", request::cut(&values.join(" "))));
        }
    };
    let got = &client.grant;
    for (what, asked, got) in [
        ("scopes ", &asked.scopes, &got.scopes),
        ("grant types ", &asked.grant_types, &got.grant_types),
        ("redirect URIs ", &asked.redirect_uris, &got.redirect_uris),
        ("audiences ", &asked.audiences, &got.audiences),
    ] {
        let Some(got) = got else { continue };
        say("has besides", what, got.iter().filter(|g| !asked.contains(g)).map(String::as_str).collect());
        say("lacks", what, asked.iter().filter(|a| !got.contains(a)).map(String::as_str).collect());
    }
    say("has besides", "", client.extras.iter().map(String::as_str).collect());
    if let (Some(asked), Some(got)) = (keys, &client.keys) {
        say("has besides", "keys ", got.difference(asked).map(String::as_str).collect());
        say("lacks", "keys ", asked.difference(got).map(String::as_str).collect());
    }
    let method = asked.token_endpoint_auth_method.as_str();
    if let Some(got) = got.token_endpoint_auth_method.as_deref().filter(|got| *got != method) {
        say("authenticates by", &format!("{method} no more, but by "), vec![got]);
    }
    (!found.is_empty()).then(|| (DriftKind::Changed, format!("it {}", found.join("; "))))
}

/// A client of the entry's id that does not carry our mark any more.
pub fn foreign(before: &Drift) -> Drift {
    let message = "the client of this id does not carry this installation's mark any more: it is left alone. Find out who changed it at the server".to_owned();
    Drift { since: before.since, kind: DriftKind::Foreign, message }
}

#[cfg(test)]
mod tests;
