//! What policies allow. One policy must allow the whole of a request; what none allows is refused, with what stood
//! against it in each that is about it.

pub mod approval;
mod pattern;
mod redirect;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;

use crate::api::{ClientPolicy, Owner, RegistrationRequest, TokenEndpointAuthMethod, WorkloadRef};

/// What is asked, or runs, as policies see it.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Labels of its namespace.
    pub namespace_labels: &'a BTreeMap<String, String>,
    /// Name of the AuthorizationServer.
    pub server: &'a str,
    /// Who answers for it.
    pub owner: &'a Owner,
    /// What is to be registered.
    pub request: &'a RegistrationRequest,
    /// Everyone who asked for it.
    pub requesters: Vec<&'a str>,
    /// What it ends with.
    pub workload: Option<&'a WorkloadRef>,
    /// How often its credential is rotated.
    pub rotated_every: Option<Duration>,
    /// From its first registration to its end.
    pub lifetime: TimeDelta,
    /// How many clients live besides; none where it lives already itself.
    pub others: Others,
}

/// How many clients live besides one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Others {
    /// In its namespace.
    pub in_namespace: u32,
    /// Of its owner, in all namespaces.
    pub of_owner: u32,
}

/// What the policies say to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict<'a> {
    /// This one allows it.
    Allowed(&'a ClientPolicy),
    /// None does; what stood against it, and in which.
    Refused(String),
}

/// Judges a request. Of several policies that allow it, one that asks for no approval goes before others; then `before`,
/// where it is among them; then the first by name: the same one every time.
pub fn judge<'a>(asked: &Asked<'_>, policies: &'a [ClientPolicy], before: Option<&str>) -> Verdict<'a> {
    let (namespace, server) = (asked.namespace, asked.server);
    let mut candidates: Vec<&ClientPolicy> =
        policies.iter().filter(|p| is_about(p, namespace, asked.namespace_labels, server)).collect();
    candidates.sort_by_key(|p| (approval::is_needed(p, asked.request), before != Some(name(p)), name(p).to_owned()));
    let mut against = Vec::new();
    for policy in candidates {
        let objections = objections(asked, policy);
        if objections.is_empty() {
            return Verdict::Allowed(policy);
        }
        against.push(format!("{}: {}", name(policy), objections.join(", ")));
    }
    if against.is_empty() {
        return Verdict::Refused(format!(
            "no ClientPolicy is about namespace {namespace} and AuthorizationServer {server}; ask the platform's administrators for one"
        ));
    }
    Verdict::Refused(format!("no ClientPolicy allows this; {}", against.join("; ")))
}

fn name(policy: &ClientPolicy) -> &str {
    policy.metadata.name.as_deref().unwrap_or_default()
}

fn is_about(policy: &ClientPolicy, namespace: &str, labels: &BTreeMap<String, String>, server: &str) -> bool {
    let about = &policy.spec.applies_to;
    about.namespaces.matches(namespace, labels) && about.authorization_servers.iter().any(|s| s == "*" || s == server)
}

/// What in a policy stands against a request.
fn objections(asked: &Asked<'_>, policy: &ClientPolicy) -> Vec<String> {
    let (request, allow) = (asked.request, &policy.spec.allow);
    let mut found = Vec::new();
    if !allow.owner_emails.iter().any(|p| pattern::matches_email(p, &asked.owner.email)) {
        found.push(format!("owner {} is not in allow.ownerEmails{}", asked.owner.email, listed(&allow.owner_emails)));
    }
    found.extend(outside("scope", &request.scopes, "scopes", &allow.scopes));
    found.extend(outside("grant type", &request.grant_types, "grantTypes", &allow.grant_types));
    found.extend(outside("audience", &request.audiences, "audiences", &allow.audiences));
    if !allow.token_endpoint_auth_methods.contains(&request.token_endpoint_auth_method) {
        let methods: Vec<String> = allow.token_endpoint_auth_methods.iter().map(|m| m.as_str().to_owned()).collect();
        let method = request.token_endpoint_auth_method.as_str();
        found.push(format!(
            "tokenEndpointAuthMethod {method} is not in allow.tokenEndpointAuthMethods{}",
            listed(&methods)
        ));
    }
    found.extend(request.redirect_uris.iter().filter_map(|uri| redirect::objection(&allow.redirect_uris, uri)));
    if let Some(workload) = asked.workload {
        let kind = format!("{}/{}", workload.api_version, workload.kind);
        found.extend(outside("workload kind", &[kind], "workloadKinds", &allow.workload_kinds));
    }
    found.extend(over(asked, policy));
    found.extend(missing(asked, policy));
    found
}

/// What is asked and not allowed, of one field.
fn outside<'a>(
    what: &'a str,
    asked: &'a [String],
    field: &'a str,
    allowed: &'a [String],
) -> impl Iterator<Item = String> + use<'a> {
    asked.iter().filter(|a| !allowed.iter().any(|p| pattern::matches(p, a))).map(move |a| {
        let a = crate::domain::request::cut(a);
        format!("{what} {a} is not in allow.{field}{}", listed(allowed))
    })
}

/// Beyond which limits the request is.
fn over(asked: &Asked<'_>, policy: &ClientPolicy) -> Vec<String> {
    let limits = &policy.spec.limits;
    let mut found = Vec::new();
    if let Some(most) = &limits.max_lifetime
        && most.delta().is_none_or(|most| asked.lifetime > most)
    {
        found.push(format!("its life from the first registration is longer than limits.maxLifetime {most}"));
    }
    let mut counted = |others: u32, most: Option<u32>, whose: &str, field: &str| {
        if let Some(most) = most.filter(|most| others >= *most) {
            found.push(format!("{others} other clients {whose} live, and limits.{field} is {most}"));
        }
    };
    counted(asked.others.in_namespace, limits.max_clients_per_namespace, "of this namespace", "maxClientsPerNamespace");
    counted(asked.others.of_owner, limits.max_clients_per_owner, "of this owner", "maxClientsPerOwner");
    found
}

/// What the policy requires and the request does not have.
fn missing(asked: &Asked<'_>, policy: &ClientPolicy) -> Vec<String> {
    let (request, require) = (asked.request, &policy.spec.require);
    let mut found = Vec::new();
    if require.workload_ref && asked.workload.is_none() {
        found.push("require.workloadRef: there is no workloadRef".into());
    }
    if let Some(most) = &require.rotation {
        let often = asked.rotated_every.zip(most.get()).is_some_and(|(every, most)| every <= most);
        // Where no credential is made here there is none to rotate.
        let can = request.jwks.is_none() && request.token_endpoint_auth_method != TokenEndpointAuthMethod::None;
        if can && !often {
            found.push(format!("require.rotation: rotation.every must be at most {most}"));
        }
    }
    if let Some(label) = &require.owner_matches_namespace_label {
        match asked.namespace_labels.get(label) {
            Some(team) if *team == asked.owner.team => {}
            Some(team) => found.push(format!(
                "require.ownerMatchesNamespaceLabel: owner.team is {}, and the namespace's label {label} says {team}",
                crate::domain::request::cut(&asked.owner.team)
            )),
            None => found.push(format!("require.ownerMatchesNamespaceLabel: the namespace has no label {label}")),
        }
    }
    if let Some(method) = require.token_endpoint_auth_method.filter(|m| *m != request.token_endpoint_auth_method) {
        found.push(format!("require.tokenEndpointAuthMethod: it must be {}", method.as_str()));
    }
    found
}

/// Whether a policy denies this whatever others allow: which one, and why.
pub fn denied<'a>(asked: &Asked<'_>, policies: &'a [ClientPolicy]) -> Option<(&'a ClientPolicy, &'a str)> {
    let mut all: Vec<&ClientPolicy> = policies.iter().collect();
    all.sort_by_key(|p| name(p));
    all.into_iter().find_map(|policy| {
        let deny = policy.spec.deny.as_ref()?;
        let named = |c: &String| {
            c.split_once('/')
                .is_some_and(|(n, c)| pattern::matches(n, asked.namespace) && pattern::matches(c, asked.name))
        };
        let denies = deny.all
            || deny.clients.iter().any(named)
            || deny.owners.iter().any(|p| pattern::matches_email(p, &asked.owner.email))
            || deny.namespaces.iter().any(|n| n == asked.namespace)
            || deny.authorization_servers.iter().any(|s| s == asked.server);
        denies.then_some((policy, deny.reason.as_str()))
    })
}

/// What is allowed, for a message; short.
fn listed(allowed: &[String]) -> String {
    const MOST: usize = 10;
    if allowed.is_empty() {
        return ", which is empty".into();
    }
    let more = if allowed.len() > MOST { ", …" } else { "" };
    format!(" ({}{more})", allowed[..allowed.len().min(MOST)].join(", "))
}
