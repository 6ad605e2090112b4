//! An authorization server where the operator keeps clients by an admin API, as its administrator sees it: what stories
//! need that are told of several servers.

use serde_json::{Value, json};

use super::World;

/// How long access tokens live in stories.
pub const TOKEN_LIFETIME: u64 = 210;

/// How a server is served for stories: a sweep revokes at once, when it is asked for; a request that a crash cut off may take
/// effect for some seconds, and the deletion is repeated after it.
pub fn brisk() -> Value {
    json!({
        "orphanSweep": {"every": "0s", "grace": "0s", "action": "Revoke"},
        "driftCheck": "5s",
        "accessTokenLifetime": format!("{TOKEN_LIFETIME}s"),
        "revocation": {"settleFor": "5s"},
        "limits": {"requestsPerSecond": 1000, "burst": 1000, "maxInFlight": 16, "requestTimeout": "30s"},
    })
}

/// An authorization server, and what its administrator can do there.
pub trait AdminServer {
    /// Name of its AuthorizationServer.
    fn name(&self) -> &'static str;

    /// The clients that stories are about, as the server represents them. Where others use the server as well: those of
    /// this run's own installation, and those that this run planted.
    fn clients(&self) -> Vec<Value>;

    /// The member of a client's representation that has its id.
    fn id_member(&self) -> &'static str;

    /// Makes a client of this id that nobody marked.
    fn plant_unmarked(&self, id: &str);

    /// Makes a client of this id that is otherwise like another one, with this mark: installation and entry.
    fn plant_like(&self, like: &str, id: &str, mark: (&str, &str));

    /// Makes a client of this id with a mark and nothing else that ours have.
    fn plant_marked(&self, id: &str, mark: (&str, &str));

    /// Deletes a client.
    fn remove(&self, id: &str);

    /// A client's scopes.
    fn scopes(&self, id: &str) -> Vec<String>;

    /// A client's public keys.
    fn keys(&self, id: &str) -> Vec<Value>;

    /// Gives a client the scope `reports.write`, and whatever else makes it wider here.
    fn widen(&self, id: &str);

    /// Whether nothing of that is left.
    fn is_narrow(&self, id: &str) -> bool;

    /// Replaces a client's keys by this one.
    fn set_key(&self, id: &str, key: &Value);

    /// Switches a client off or on; false where there is no such switch.
    fn switch(&self, id: &str, on: bool) -> bool;

    /// What the server says of a token (RFC 7662).
    fn introspect(&self, token: &str) -> Value;

    /// The client of this id.
    fn client(&self, id: &str) -> Value {
        let all = self.clients();
        all.into_iter().find(|c| c[self.id_member()] == id).unwrap_or_else(|| panic!("there is no client {id}"))
    }

    /// Ids of [`AdminServer::clients`], in order.
    fn client_ids(&self) -> Vec<String> {
        let all = self.clients();
        let mut ids: Vec<String> =
            all.iter().map(|c| c[self.id_member()].as_str().expect("an id").to_owned()).collect();
        ids.sort();
        ids
    }

    /// The clients of these ids, as they are.
    fn as_they_are(&self, ids: &[String]) -> Vec<Value> {
        let all = self.clients();
        ids.iter().map(|id| all.iter().find(|c| c[self.id_member()] == *id).expect("the client").clone()).collect()
    }

    /// The AuthorizationServer, as kubectl names it.
    fn object(&self) -> String {
        format!("authorizationserver/{}", self.name())
    }

    /// The label of its metrics.
    fn label(&self) -> String {
        format!("server=\"{}\"", self.name())
    }
}

impl World<'_> {
    /// A client's id.
    pub fn client_id(&self, name: &str) -> String {
        self.get(&format!("oauthclient/{name}"))["status"]["clientId"].as_str().expect("an id").to_owned()
    }
}
