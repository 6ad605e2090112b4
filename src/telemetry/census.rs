//! Counting clients and ledger entries.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use crate::api::{ClientRegistration, ClientRegistrationStatus, Durability, EndReason, OAuthClient, Phase};
use crate::domain::{client, lifetime};

/// States that an `OAuthClient` may say of itself; all are counted, none or another one as `New`.
pub const STATES: [&str; 9] =
    ["New", "Pending", "Registering", "Ready", "Disabled", "Overdue", "Refused", "Revoking", "Revoked"];

/// All phases of a ledger entry.
pub const PHASES: [Phase; 8] = [
    Phase::Pending,
    Phase::Registering,
    Phase::Registered,
    Phase::Revoking,
    Phase::Revoked,
    Phase::Rejected,
    Phase::Cancelled,
    Phase::PossibleOrphan,
];

/// What is owed at one server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Debt {
    /// Clients whose end has come and whose revocation is not final.
    pub count: u64,
    /// How long the oldest of them has been over.
    pub oldest: TimeDelta,
    /// Clients that may exist and that nobody can revoke.
    pub possible_orphans: u64,
}

/// How many there are of what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// OAuthClients by state.
    pub clients: BTreeMap<&'static str, u64>,
    /// Ledger entries by phase.
    pub entries: BTreeMap<&'static str, u64>,
    /// What is owed, by AuthorizationServer.
    pub debts: BTreeMap<String, Debt>,
    /// Entries whose lifetime is over although no end is on record.
    pub overdue: u64,
    /// Entries that are not final and whose namespace is not watched.
    pub unwatched: u64,
    /// Clients whose end by time was announced, by AuthorizationServer and durability.
    pub ending: BTreeMap<(String, Durability), u64>,
    /// OAuthClients that wait for a person's yes.
    pub unapproved: u64,
    /// How long the one has waited that waits longest.
    pub unapproved_since: TimeDelta,
}

impl Census {
    /// Nothing, with every state and phase named.
    pub fn new() -> Self {
        Self {
            clients: STATES.map(|s| (s, 0)).into(),
            entries: PHASES.map(|p| (p.as_str(), 0)).into(),
            ..Self::default()
        }
    }

    /// Counts a client.
    pub fn client(&mut self, client: &OAuthClient, now: DateTime<Utc>) {
        let said = client.status.as_ref().and_then(|s| s.state.as_deref()).unwrap_or_default();
        let state = STATES.into_iter().find(|s| *s == said).unwrap_or("New");
        *self.clients.entry(state).or_default() += 1;
        if let Some(since) = client::waits_for_approval_since(client) {
            self.unapproved += 1;
            self.unapproved_since = self.unapproved_since.max(now - since);
        }
    }

    /// Counts a ledger entry.
    pub fn entry(&mut self, entry: &ClientRegistration, watched: bool, now: DateTime<Utc>) {
        let default = ClientRegistrationStatus::default();
        let status = entry.status.as_ref().unwrap_or(&default);
        *self.entries.entry(status.phase.as_str()).or_default() += 1;
        let debt = self.debts.entry(entry.spec.server.name.clone()).or_default();
        if status.phase == Phase::PossibleOrphan {
            debt.possible_orphans += 1;
        } else if !status.phase.is_final() {
            self.unwatched += u64::from(!watched);
            match ended_at(entry) {
                Some(at) => {
                    debt.count += 1;
                    debt.oldest = debt.oldest.max(now - at);
                }
                None => self.overdue += u64::from(now > entry.spec.expires_at),
            }
        }
        self.end_is_near(entry, status, now);
    }

    fn end_is_near(&mut self, entry: &ClientRegistration, status: &ClientRegistrationStatus, now: DateTime<Utc>) {
        let spec = &entry.spec;
        // There from the start, so that the first one is an increase.
        for durability in [Durability::Durable, Durability::Ephemeral] {
            self.ending.entry((spec.server.name.clone(), durability)).or_default();
        }
        let announced = now >= lifetime::announced_at(spec.first_registered_at, spec.expires_at);
        if announced && status.phase == Phase::Registered && status.end.is_none() {
            let workload = spec.workload.as_ref().map(|w| &w.reference);
            let durability = lifetime::durability(workload, spec.expires_at - spec.first_registered_at);
            *self.ending.entry((spec.server.name.clone(), durability)).or_default() += 1;
        }
    }
}

/// When an entry's end came, if it is on record: for a lifetime that was over, when it was over, not when that was
/// noticed.
pub fn ended_at(entry: &ClientRegistration) -> Option<DateTime<Utc>> {
    let end = entry.status.as_ref()?.end.as_ref()?;
    Some(if end.reason == EndReason::Expired { end.at.min(entry.spec.expires_at) } else { end.at })
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    pub fn entry(server: &str, status: &serde_json::Value) -> ClientRegistration {
        serde_json::from_value(json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "ClientRegistration", "metadata": {"name": "oac-1"},
            "spec": {
                "clientRef": {"namespace": "n", "name": "c", "uid": "u"}, "attempt": 1, "installation": "i",
                "generation": 1, "owner": {"team": "t", "email": "t@corp.example"}, "purpose": "p",
                "server": {
                    "name": server, "generation": 1, "issuer": "https://i", "endpoints": {"tokenEndpoint": "https://i/t"},
                    "backend": {"dynamicRegistration": {}}, "allowPlainHttp": false, "limits": {}, "accessTokenLifetime": "1h",
                    "settleFor": "15m", "leastEvidence": "Proven",
                },
                "request": {"scopes": ["a"], "grantTypes": [], "tokenEndpointAuthMethod": "none", "contact": "c"},
                "firstRegisteredAt": at(0), "expiresAt": at(60),
            },
            "status": status,
        }))
        .expect("an entry")
    }

    #[test]
    fn what_is_owed_is_counted_by_server_with_the_age_of_the_oldest() {
        let mut census = Census::new();
        let end = |reason: &str, minute| json!({"reason": reason, "message": "m", "at": at(minute)});
        let entries = [
            entry("a", &json!({"phase": "Revoking", "end": end("Suspended", 30)})),
            entry("a", &json!({"phase": "Revoking", "end": end("Expired", 90)})),
            entry("a", &json!({"phase": "Revoked", "end": end("Expired", 1)})),
            entry("b", &json!({"phase": "PossibleOrphan", "end": end("ClientGone", 1)})),
            entry("b", &json!({"phase": "Registered"})),
        ];
        for one in &entries {
            census.entry(one, one.spec.server.name == "a", at(100));
        }
        let a = Debt { count: 2, oldest: TimeDelta::minutes(70), possible_orphans: 0 };
        assert_eq!(census.debts["a"], a);
        assert_eq!(census.debts["b"], Debt { possible_orphans: 1, ..Debt::default() });
        assert_eq!((census.overdue, census.unwatched), (1, 1), "the registered one at b, past its lifetime");
        assert_eq!(census.entries["Revoking"], 2);
        assert_eq!(census.ending[&("b".into(), Durability::Ephemeral)], 1, "an hour long, and over");
        assert_eq!(census.ending[&("a".into(), Durability::Ephemeral)], 0, "what has ended is not about to");
        assert_eq!(census.entries["Pending"], 0, "what there is none of is told too");
        assert_eq!(ended_at(&entries[1]), Some(at(60)), "over when the lifetime was, not when that was noticed");
    }

    #[test]
    fn a_tenant_cannot_add_a_state() {
        let mut census = Census::new();
        let client: Result<OAuthClient, _> = serde_json::from_value(json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "OAuthClient", "metadata": {"name": "c"},
            "spec": {
                "authorizationServerRef": {"name": "s"}, "owner": {"team": "t", "email": "t@corp.example"},
                "purpose": "p", "scopes": ["a"], "lifetime": {"ttl": "1h"},
            },
            "status": {"state": "Pwned{namespace=\"x\"}"},
        }));
        census.client(&client.expect("a client"), at(0));
        assert_eq!(census.clients.len(), STATES.len());
        assert_eq!(census.clients["New"], 1);
    }

    /// A client that waits for a person since then.
    pub fn unapproved(since: DateTime<Utc>) -> OAuthClient {
        serde_json::from_value(json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "OAuthClient", "metadata": {"name": "c"},
            "spec": {
                "authorizationServerRef": {"name": "s"}, "owner": {"team": "t", "email": "t@corp.example"},
                "purpose": "p", "scopes": ["a"], "lifetime": {"ttl": "1h"},
            },
            "status": {"state": "Pending", "conditions": [{
                "type": "Accepted", "status": "False", "reason": "ApprovalPending", "message": "m",
                "lastTransitionTime": since,
            }]},
        }))
        .expect("a client")
    }

    #[test]
    fn approvals_that_wait_are_counted_with_the_age_of_the_oldest() {
        let mut census = Census::new();
        for minute in [30, 10, 20] {
            census.client(&unapproved(at(minute)), at(60));
        }
        assert_eq!((census.unapproved, census.unapproved_since), (3, TimeDelta::minutes(50)));
    }
}
