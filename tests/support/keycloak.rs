//! A real Keycloak beside a bed, with a realm and the operator's own client in it.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::{Value, json};

use super::admin::AdminServer;
use super::{Bed, World, root};

/// Name of the AuthorizationServer that [`Realm::serve`] makes, and of its Secret.
pub const NAME: &str = "keycloak";

/// The realm.
pub struct Realm<'a> {
    bed: &'a Bed,
    env: BTreeMap<String, String>,
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
}

impl<'a> Realm<'a> {
    /// Starts Keycloak.
    pub fn up(bed: &'a Bed) -> Self {
        let done = Command::new(root().join("tests/testbed/testbed"))
            .args(["keycloak", "up", "--dir"])
            .arg(bed.dir())
            .env("TESTBED_USE_KUBECONFIG", "0")
            .status()
            .expect("run the test bed");
        assert!(done.success(), "Keycloak did not start");
        let text = std::fs::read_to_string(bed.dir().join("env")).expect("read the bed's env");
        let pairs = text.lines().filter_map(|l| l.split_once('='));
        let env = pairs.map(|(k, v)| (k.to_owned(), v.trim_matches('\'').to_owned())).collect();
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(bed.ca().as_bytes()).expect("the CA");
        let http = reqwest::Client::builder().tls_certs_only([ca]).pool_max_idle_per_host(0).build().expect("a client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { bed, env, runtime, http }
    }

    /// A value of Keycloak's environment, without the prefix `TESTBED_KEYCLOAK_`.
    pub fn get(&self, key: &str) -> &str {
        &self.env[&format!("TESTBED_KEYCLOAK_{key}")]
    }

    /// Makes the AuthorizationServer, with these members besides the usual ones, where `url` is Keycloak's or a proxy's.
    pub fn serve(&self, world: &World, url: &str, members: &Value) {
        let secret = format!("--from-literal=client_secret={}", self.get("CLIENT_SECRET"));
        // The world may be in another cluster than the one that Keycloak was started beside.
        world.bed.kubectl(&["-n", "oauthclient-system", "create", "secret", "generic", NAME, &secret]);
        let mut spec = json!({
            "issuer": format!("{url}/realms/{}", self.get("REALM")),
            "backend": {"keycloak": {
                "url": url, "realm": self.get("REALM"), "clientId": self.get("CLIENT_ID"),
                "clientSecret": {"secretName": NAME, "key": "client_secret"},
            }},
            "tls": {"caBundle": self.bed.ca()},
            "allowedNamespaces": {"names": ["*"]},
        });
        for (key, value) in members.as_object().expect("members") {
            spec[key] = value.clone();
        }
        let server = json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "AuthorizationServer", "metadata": {"name": NAME}, "spec": spec,
        });
        world.apply(&server).expect("make an AuthorizationServer");
        world.wait(&format!("authorizationserver/{NAME}"), "condition=Ready");
    }

    /// Where Keycloak itself is.
    pub fn url(&self) -> &str {
        self.get("URL")
    }

    /// The realm's clients that are not its own, as the administrator sees them.
    pub fn clients(&self) -> Vec<Value> {
        let all = self.admin(reqwest::Method::GET, "/clients?max=10000", None).1;
        let theirs = [self.get("CLIENT_ID"), self.get("KEY_CLIENT_ID")];
        let built_in =
            ["account", "account-console", "admin-cli", "broker", "realm-management", "security-admin-console"];
        let all = all.as_array().expect("clients").clone();
        let id = |c: &Value| c["clientId"].as_str().unwrap_or_default().to_owned();
        all.into_iter().filter(|c| !theirs.contains(&&*id(c)) && !built_in.contains(&&*id(c))).collect()
    }

    /// Client ids of [`Realm::clients`].
    pub fn client_ids(&self) -> Vec<String> {
        let mut ids: Vec<_> =
            self.clients().iter().map(|c| c["clientId"].as_str().unwrap_or_default().to_owned()).collect();
        ids.sort();
        ids
    }

    /// Makes a client as an administrator would.
    pub fn plant(&self, client: &Value) {
        let (status, body) = self.admin(reqwest::Method::POST, "/clients", Some(client));
        assert_eq!(status, 201, "{body}");
    }

    /// Changes a client of this id as an administrator would.
    pub fn change(&self, client_id: &str, change: impl FnOnce(&mut Value)) {
        let mut client = self.client(client_id);
        change(&mut client);
        let path = format!("/clients/{}", client["id"].as_str().expect("its internal id"));
        let (status, body) = self.admin(reqwest::Method::PUT, &path, Some(&client));
        assert_eq!(status, 204, "{body}");
    }

    /// Gives a client one of the realm's client scopes, as an administrator would.
    pub fn give_scope(&self, client_id: &str, scope: &str) {
        let scopes = self.admin(reqwest::Method::GET, "/client-scopes", None).1;
        let scope =
            scopes.as_array().expect("scopes").iter().find(|s| s["name"] == scope).expect("the scope")["id"].clone();
        let (client, scope) = (self.client(client_id)["id"].clone(), scope.as_str().expect("an id").to_owned());
        let path = format!("/clients/{}/default-client-scopes/{scope}", client.as_str().expect("an id"));
        let (status, body) = self.admin(reqwest::Method::PUT, &path, None);
        assert_eq!(status, 204, "{body}");
    }

    /// Deletes a client as an administrator would.
    pub fn remove(&self, client_id: &str) {
        let path = format!("/clients/{}", self.client(client_id)["id"].as_str().expect("its internal id"));
        assert_eq!(self.admin(reqwest::Method::DELETE, &path, None).0, 204);
    }

    /// The client of this id, as the administrator sees it.
    pub fn client(&self, client_id: &str) -> Value {
        self.clients().into_iter().find(|c| c["clientId"] == client_id).expect("the client")
    }

    /// Gives the operator's service account a role of the realm's client `realm-management`, or takes it away. Tokens
    /// that it has keep what they had.
    pub fn set_role(&self, role: &str, given: bool) {
        let get = |path: &str| self.admin(reqwest::Method::GET, path, None).1;
        let id_of = |client: &str| text(&get(&format!("/clients?clientId={client}"))[0]["id"]);
        let (operator, management) = (id_of(self.get("CLIENT_ID")), id_of("realm-management"));
        let user = text(&get(&format!("/clients/{operator}/service-account-user"))["id"]);
        let role = get(&format!("/clients/{management}/roles/{role}"));
        let method = if given { reqwest::Method::POST } else { reqwest::Method::DELETE };
        let path = format!("/users/{user}/role-mappings/clients/{management}");
        let (status, body) = self.admin(method, &path, Some(&json!([role])));
        assert_eq!(status, 204, "{body}");
    }

    /// Copies the database to a file of the bed, as a backup would; Keycloak is stopped meanwhile.
    pub fn save(&self, file: &str) {
        self.testbed("save", file);
    }

    /// Puts the database back; Keycloak is stopped meanwhile.
    pub fn restore(&self, file: &str) {
        self.testbed("restore", file);
    }

    fn testbed(&self, command: &str, file: &str) {
        let file = self.bed.dir().join(file);
        let done = Command::new(root().join("tests/testbed/testbed"))
            .args(["keycloak", command])
            .arg(file)
            .arg("--dir")
            .arg(self.bed.dir())
            .env("TESTBED_USE_KUBECONFIG", "0")
            .status();
        assert!(done.is_ok_and(|s| s.success()), "testbed keycloak {command}");
    }

    /// Asks the realm's admin API as the administrator: status and body.
    pub fn admin(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.runtime.block_on(async {
            let form = [
                ("grant_type", "password"),
                ("client_id", "admin-cli"),
                ("username", self.get("ADMIN")),
                ("password", self.get("ADMIN_PASSWORD")),
            ];
            let url = format!("{}/realms/master/protocol/openid-connect/token", self.url());
            let answer = self.http.post(url).form(&form).send().await.expect("ask for a token");
            let token: Value = answer.json().await.expect("JSON");
            let token = token["access_token"].as_str().expect("a token").to_owned();
            let url = format!("{}/admin/realms/{}{path}", self.url(), self.get("REALM"));
            let mut request = self.http.request(method, url).bearer_auth(token);
            if let Some(body) = body {
                request = request.json(body);
            }
            let answer = request.send().await.expect("ask Keycloak");
            let status = answer.status().as_u16();
            let text = answer.text().await.expect("a body");
            (status, serde_json::from_str(&text).unwrap_or(Value::Null))
        })
    }
}

impl AdminServer for Realm<'_> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn clients(&self) -> Vec<Value> {
        Realm::clients(self)
    }

    fn id_member(&self) -> &'static str {
        "clientId"
    }

    fn plant_unmarked(&self, id: &str) {
        self.plant(&json!({"clientId": id, "name": "somebody's", "secret": "theirs", "enabled": true}));
    }

    fn plant_like(&self, like: &str, id: &str, (installation, entry): (&str, &str)) {
        let mut client = self.client(like);
        client.as_object_mut().expect("a client").remove("id");
        client["clientId"] = json!(id);
        client["attributes"]["oauthclient.installation"] = json!(installation);
        client["attributes"]["oauthclient.entry"] = json!(entry);
        self.plant(&client);
    }

    fn plant_marked(&self, id: &str, (installation, entry): (&str, &str)) {
        let attributes = json!({"oauthclient.installation": installation, "oauthclient.entry": entry});
        self.plant(&json!({"clientId": id, "enabled": true, "secret": "theirs", "attributes": attributes}));
    }

    fn remove(&self, id: &str) {
        Realm::remove(self, id);
    }

    fn scopes(&self, id: &str) -> Vec<String> {
        let client = self.client(id);
        let names = |key: &str| client[key].as_array().expect("scopes").clone();
        let all = names("optionalClientScopes").into_iter().chain(names("defaultClientScopes"));
        all.map(|s| text(&s)).filter(|s| s != "service_account").collect()
    }

    fn keys(&self, id: &str) -> Vec<Value> {
        let keys = text(&self.client(id)["attributes"]["jwks.string"]);
        serde_json::from_str::<Value>(&keys).expect("JSON")["keys"].as_array().expect("keys").clone()
    }

    fn widen(&self, id: &str) {
        self.give_scope(id, "reports.write");
        self.change(id, |c| {
            c["fullScopeAllowed"] = json!(true);
            c["directAccessGrantsEnabled"] = json!(true);
        });
    }

    fn is_narrow(&self, id: &str) -> bool {
        let now = self.client(id);
        now["fullScopeAllowed"] == false
            && now["directAccessGrantsEnabled"] == false
            && AdminServer::scopes(self, id) == ["reports.read"]
    }

    fn set_key(&self, id: &str, key: &Value) {
        self.change(id, |c| c["attributes"]["jwks.string"] = json!(json!({"keys": [key]}).to_string()));
    }

    fn switch(&self, id: &str, on: bool) -> bool {
        self.change(id, |c| c["enabled"] = json!(on));
        assert_eq!(self.client(id)["enabled"], on);
        true
    }

    fn introspect(&self, token: &str) -> Value {
        let url = format!("{}/realms/{}/protocol/openid-connect/token/introspect", self.url(), self.get("REALM"));
        let request = self.http.post(url).basic_auth(self.get("CLIENT_ID"), Some(self.get("CLIENT_SECRET")));
        self.runtime.block_on(async {
            let answer = request.form(&[("token", token)]).send().await.expect("ask Keycloak");
            answer.json().await.expect("JSON")
        })
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}
