//! Reading objects. Not by kubectl: a story asks many times a second, and a process for each would slow down what it
//! waits for.

use serde_json::Value;

use super::World;
use super::operator::Installation;

const OURS: &str = "/apis/oauthclient.dev/v1alpha1";

impl World<'_> {
    /// What the API server has at a path; `None` when it answers 404.
    pub fn read(&self, path: &str) -> Option<Value> {
        self.runtime.block_on(async {
            let url = format!("{}{path}", self.bed.get("TESTBED_KUBE_APISERVER"));
            let answer = self.http.get(url).bearer_auth(self.bed.token()).send().await.expect("ask the API server");
            let status = answer.status();
            assert!(status.is_success() || status == 404, "GET {path}: {status}");
            if status.is_success() { Some(answer.json().await.expect("JSON")) } else { None }
        })
    }

    /// The path of an object in this namespace, written as kubectl takes it.
    fn path(&self, object: &str) -> Option<String> {
        let (kind, name) = object.split_once('/')?;
        let namespace = &self.namespace;
        match kind {
            "oauthclient" => Some(format!("{OURS}/namespaces/{namespace}/oauthclients/{name}")),
            "authorizationserver" => Some(format!("{OURS}/authorizationservers/{name}")),
            "secret" => Some(format!("/api/v1/namespaces/{namespace}/secrets/{name}")),
            _ => None,
        }
    }

    /// Whether an object exists.
    pub fn exists(&self, object: &str) -> bool {
        match self.path(object) {
            Some(path) => self.read(&path).is_some(),
            None => !self.kubectl(&["get", object, "--ignore-not-found", "-o", "name"]).is_empty(),
        }
    }

    /// An object.
    pub fn get(&self, object: &str) -> Value {
        match self.path(object) {
            Some(path) => self.read(&path).unwrap_or_else(|| panic!("there is no {object}")),
            None => serde_json::from_str(&self.kubectl(&["get", object, "-o", "json"])).expect("JSON"),
        }
    }

    /// The newest ledger entry of a client.
    pub fn entry(&self, client: &str) -> Value {
        self.entries(client).pop().expect("an entry")
    }

    /// The ledger entries of a client, oldest attempt first.
    pub fn entries(&self, client: &str) -> Vec<Value> {
        let mut all = self.ledger();
        all.retain(|e| e["spec"]["clientRef"]["name"] == client);
        all.sort_by_key(|e| e["spec"]["attempt"].as_u64());
        all
    }

    /// The ledger entries of this namespace.
    pub fn ledger(&self) -> Vec<Value> {
        self.whole_ledger(&format!("oauthclient.dev/client-namespace={}", self.namespace))
    }

    /// The ledger entries with these labels, of all namespaces.
    pub fn whole_ledger(&self, selector: &str) -> Vec<Value> {
        let selector: String = url::form_urlencoded::byte_serialize(selector.as_bytes()).collect();
        let path = format!("{OURS}/namespaces/oauthclient-system/clientregistrations?labelSelector={selector}");
        self.read(&path).expect("the ledger")["items"].as_array().expect("items").clone()
    }

    /// A condition of an object; null when it has none of this type.
    pub fn condition(&self, object: &str, type_: &str) -> Value {
        let found = self.get(object);
        let all = found["status"]["conditions"].as_array();
        all.and_then(|all| all.iter().find(|c| c["type"] == type_)).cloned().unwrap_or_default()
    }

    /// A condition of an OAuthClient, if it has it.
    pub fn client_condition(&self, client: &str, type_: &str) -> Option<Value> {
        Some(self.condition(&format!("oauthclient/{client}"), type_)).filter(Value::is_object)
    }

    /// Waits until a condition of an OAuthClient is True for this reason; its message.
    pub fn until_reason(&self, client: &str, type_: &str, reason: &str) -> String {
        self.wait_reason(&format!("oauthclient/{client}"), type_, "True", reason)
    }

    /// Waits until a condition of an object is this, for this reason; its message.
    pub fn wait_reason(&self, object: &str, type_: &str, status: &str, reason: &str) -> String {
        let mut found = Value::Null;
        self.until(&format!("{object} has {type_}={status} because of {reason}"), || {
            found = self.condition(object, type_);
            found["status"] == status && found["reason"] == reason
        });
        found["message"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits for an event about an OAuthClient with this reason that says this.
    pub fn wait_event(&self, client: &str, reason: &str, says: &str) {
        let about = format!("fieldSelector=reason%3D{reason}%2CinvolvedObject.name%3D{client}");
        let path = format!("/api/v1/namespaces/{}/events?{about}", self.namespace);
        self.until(&format!("an event {reason} about {client} says {says}"), || {
            let list = self.read(&path).expect("events");
            let all = list["items"].as_array().expect("items");
            all.iter().any(|e| e["message"].as_str().is_some_and(|m| m.contains(says)))
        });
    }

    /// Messages of the events about an AuthorizationServer with this reason. They are in the namespace `default`.
    pub fn server_events(&self, server: &str, reason: &str) -> Vec<String> {
        let about = format!("fieldSelector=reason%3D{reason}%2CinvolvedObject.name%3D{server}");
        let list = self.read(&format!("/api/v1/namespaces/default/events?{about}")).expect("events");
        let all = list["items"].as_array().expect("items").iter();
        all.map(|e| e["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The id of an installation of the operator in this cluster.
    pub fn installation(&self, of: Installation) -> String {
        let path = format!("/api/v1/namespaces/{}/configmaps/oauthclient-operator-installation", of.namespace);
        self.read(&path).expect("the installation")["data"]["id"].as_str().expect("its id").to_owned()
    }

    /// Names of clients that live at the server and that no ledger entry reports: as registered, as being revoked,
    /// or as a possible orphan.
    pub fn unreported(&self) -> Vec<String> {
        let ledger = self.ledger();
        let known = ledger.iter().filter(|e| {
            matches!(e["status"]["phase"].as_str(), Some("Registering" | "Registered" | "Revoking" | "PossibleOrphan"))
        });
        let known: Vec<&str> = known.filter_map(|e| e["metadata"]["name"].as_str()).collect();
        let live = self.live();
        let names = live.iter().map(|c| c["client_name"].as_str().unwrap_or_default().to_owned());
        names.filter(|n| !known.iter().any(|k| n.ends_with(k))).collect()
    }
}
