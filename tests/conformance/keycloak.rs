//! Keycloak, by dynamic registration and by its Admin REST API.

use std::sync::Arc;

use oauthclient_operator::authorization_server::discovery::discover;
use oauthclient_operator::authorization_server::dynamic_registration::DynamicRegistration;
use oauthclient_operator::authorization_server::http::Http;
use oauthclient_operator::authorization_server::keycloak::{AdminCredential, Keycloak, Settings};
use oauthclient_operator::authorization_server::{Backend, CallError, Found, Management};
use reqwest::Method;
use serde_json::{Value, json};

use super::checks;
use super::server::{Administrator, Server, WRITE, connection, endpoints, random};
use super::support::Bed;
use super::support::keycloak::Realm;
use super::support::now;
use super::support::proxy::Proxy;
use super::wire::{Token, Wire};

/// An initial access token opens it; each client has its registration access token.
pub fn by_registration(bed: &Bed) {
    tested(bed, "Keycloak, by registration", false, |http, issuer, realm, wrong| {
        let wire = Wire::new(&bed.ca());
        let known = wire.run(discover(http, issuer)).expect("metadata");
        let token = if wrong { "a-wrong-token".into() } else { initial_access_token(&wire, issuer, realm) };
        Arc::new(DynamicRegistration {
            http: http.clone(),
            registration_endpoint: known.registration_endpoint.expect("an endpoint"),
            initial_access_token: Some(token.into()),
            software_statement: None,
        })
    });
}

/// A token that opens registration. It is good at the address where it was made, so that is the one that clients use.
fn initial_access_token(wire: &Wire, issuer: &str, realm: &Realm) -> String {
    let (base, name) = issuer.split_once("/realms/").expect("an issuer");
    let form = [
        ("grant_type", "password"),
        ("client_id", "admin-cli"),
        ("username", realm.get("ADMIN")),
        ("password", realm.get("ADMIN_PASSWORD")),
    ];
    let url = format!("{base}/realms/master/protocol/openid-connect/token");
    let (_, login) = wire.send(wire.client.post(url).form(&form));
    let request = wire.client.post(format!("{base}/admin/realms/{name}/clients-initial-access"));
    let request = request.bearer_auth(login["access_token"].as_str().expect("a login"));
    let (status, made) = wire.send(request.json(&json!({"count": 1000, "expiration": 3600})));
    assert_eq!(status, 200, "{made}");
    made["token"].as_str().expect("a token").to_owned()
}

/// The operator's client manages all others.
pub fn by_admin_api(bed: &Bed) {
    tested(bed, "Keycloak, by admin API", true, |http, issuer, realm, wrong| {
        let secret = if wrong { "wrong" } else { realm.get("CLIENT_SECRET") };
        Arc::new(by_secret(http, issuer, realm, (realm.get("CLIENT_ID"), secret)))
    });
}

/// What the operator's credential and its roles come to.
pub fn rights(bed: &Bed) {
    let realm = Realm::up(bed);
    let (ca, wire) = (bed.ca(), Wire::new(&bed.ca()));
    let http = connection(&ca);
    let issuer = realm.get("ISSUER");
    let management = Management { client_id: "oac-1-1".into(), registration: None };
    let key = std::fs::read_to_string(realm.get("KEY")).expect("a key");
    let credential = AdminCredential::PrivateKeyJwt { client_id: realm.get("KEY_CLIENT_ID").into(), key: key.into() };
    let by_key = with(&http, issuer, realm.get("REALM"), credential);
    assert!(matches!(wire.run(by_key.read(&management, "1")), Ok(Found::Gone)));

    let small = format!("small-{}", random());
    realm.plant(&json!({"clientId": small, "serviceAccountsEnabled": true, "secret": "small"}));
    give_role(&realm, &small, "query-clients");
    let id = realm.get("CLIENT_ID");
    let mut cannot_tell = vec![
        ("a wrong secret", by_secret(&http, issuer, &realm, (id, "wrong"))),
        ("nobody", by_secret(&http, issuer, &realm, ("nobody", "wrong"))),
        ("a role too small", by_secret(&http, issuer, &realm, (&small, "small"))),
    ];
    let absent = issuer.replace("/realms/corp", "/realms/absent");
    let credential = AdminCredential::ClientSecret { client_id: id.into(), secret: realm.get("CLIENT_SECRET").into() };
    cannot_tell.push(("a realm that is not there", with(&http, &absent, "absent", credential)));
    for (why, backend) in cannot_tell {
        let read = wire.run(backend.read(&management, "1"));
        assert!(matches!(read, Err(CallError::Inconclusive { may_have_acted: false, .. })), "{why}: {read:?}");
        let listed = wire.run(backend.list("1"));
        assert!(matches!(listed, Err(CallError::Inconclusive { may_have_acted: false, .. })), "{why}: {listed:?}");
    }
    realm.remove(&small);
}

fn with(http: &Http, issuer: &str, realm: &str, credential: AdminCredential) -> Keycloak {
    let (base, _) = issuer.split_once("/realms/").expect("an issuer");
    let settings = Settings { base_url: base.into(), realm: realm.into(), issuer: issuer.into(), credential };
    Keycloak::new(http.clone(), settings, Arc::new(now))
}

fn by_secret(http: &Http, issuer: &str, realm: &Realm, (id, secret): (&str, &str)) -> Keycloak {
    let credential = AdminCredential::ClientSecret { client_id: id.into(), secret: secret.into() };
    with(http, issuer, realm.get("REALM"), credential)
}

fn give_role(realm: &Realm, client: &str, role: &str) {
    let get = |path: &str| realm.admin(Method::GET, path, None).1;
    let id = |client: &str| {
        get(&format!("/clients?clientId={client}"))[0]["id"].as_str().expect("an internal id").to_owned()
    };
    let account = get(&format!("/clients/{}/service-account-user", id(client)));
    let of = id("realm-management");
    let role = get(&format!("/clients/{of}/roles/{role}"));
    let path = format!("/users/{}/role-mappings/clients/{of}", account["id"].as_str().expect("a user"));
    assert_eq!(realm.admin(Method::POST, &path, Some(&json!([role]))).0, 204);
}

/// Tests the backend that this makes for an issuer; where told so, one whose credential is wrong.
fn tested<B: Backend + 'static>(
    bed: &Bed,
    name: &'static str,
    by_admin_api: bool,
    make: impl Fn(&Http, &str, &Realm, bool) -> Arc<B>,
) {
    let realm = Realm::up(bed);
    let (ca, proxy): (String, Proxy) = (bed.ca(), bed.proxy());
    proxy.point_at(realm.url());
    let (wire, http) = (Wire::new(&ca), connection(&ca));
    let issuer = format!("{}/realms/{}", proxy.url, realm.get("REALM"));
    let endpoints = endpoints(&wire.run(discover(&http, &issuer)).expect("metadata"));
    let verifier = format!("verifier-{}", random());
    realm.plant(&json!({"clientId": verifier, "secret": "verifier", "serviceAccountsEnabled": true}));
    let introspection = endpoints.introspection_endpoint.clone().expect("an endpoint");
    let administrator = Admin { realm: &realm, wire: &wire, by_admin_api, introspection, verifier };
    let backend: Arc<dyn Backend> = make(&http, &issuer, &realm, false);
    checks::all(&Server {
        name,
        version: version(&realm),
        lossy: backend.clone(),
        backend,
        proxy: &proxy,
        detour: None,
        endpoints,
        without_credential: Some(make(&http, &issuer, &realm, true)),
        administrator: &administrator,
        http: http.clone(),
        wire: &wire,
        ca,
        at_once: 4,
        installation: random(),
    });
    realm.remove(&administrator.verifier);
}

/// Its archives are named after it.
fn version(realm: &Realm) -> String {
    let folder = std::path::Path::new(realm.get("HOME")).join("lib/lib/main");
    let names = std::fs::read_dir(folder).expect("its libraries");
    let mut names = names.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned());
    let version =
        |name: String| Some(name.strip_prefix("org.keycloak.keycloak-core-")?.strip_suffix(".jar")?.to_owned());
    names.find_map(version).expect("keycloak-core")
}

struct Admin<'a> {
    realm: &'a Realm<'a>,
    wire: &'a Wire,
    by_admin_api: bool,
    introspection: String,
    verifier: String,
}

impl Administrator for Admin<'_> {
    fn client(&self, id: &str) -> Option<Value> {
        self.realm.admin(Method::GET, &format!("/clients?clientId={id}"), None).1[0]
            .as_object()
            .cloned()
            .map(Value::Object)
    }

    fn named(&self, name: &str) -> Vec<String> {
        let all = self.realm.clients().into_iter().filter(|c| c["name"] == name);
        all.map(|c| c["clientId"].as_str().expect("an id").to_owned()).collect()
    }

    /// All that is easily clicked together in the console; by registration, only what can be seen there.
    fn widen(&self, management: &Management) -> Management {
        let id = &management.client_id;
        self.realm.give_scope(id, WRITE);
        if self.by_admin_api {
            self.realm.change(id, |client| {
                for flag in
                    ["fullScopeAllowed", "standardFlowEnabled", "directAccessGrantsEnabled", "implicitFlowEnabled"]
                {
                    client[flag] = true.into();
                }
                client["redirectUris"] = json!(["https://evil.example/*"]);
                client["webOrigins"] = json!(["+"]);
                client["rootUrl"] = "https://evil.example".into();
                client["attributes"]["oauth2.device.authorization.grant.enabled"] = "true".into();
                client["attributes"]["standard.token.exchange.enabled"] = "true".into();
                client["attributes"]["oidc.ciba.grant.enabled"] = "true".into();
            });
            let internal = self.realm.client(id)["id"].as_str().expect("its internal id").to_owned();
            let mapper = json!({"name": "evil", "protocol": "openid-connect",
                "protocolMapper": "oidc-hardcoded-claim-mapper",
                "config": {"claim.name": "admin", "claim.value": "true", "access.token.claim": "true"}});
            let path = format!("/clients/{internal}/protocol-mappers/models");
            assert_eq!(self.realm.admin(Method::POST, &path, Some(&mapper)).0, 201);
            self.realm.give_scope(id, "roles");
            self.realm.give_scope(id, "offline_access");
        }
        management.clone()
    }

    fn plant(&self, id: &str) {
        self.realm.plant(&json!({"clientId": id, "name": "somebody's", "secret": "theirs"}));
    }

    fn remove(&self, id: &str) {
        self.realm.remove(id);
    }

    fn is_live(&self, token: &Token) -> bool {
        let request = self.wire.client.post(&self.introspection).basic_auth(&self.verifier, Some("verifier"));
        let (status, answer) = self.wire.send(request.form(&[("token", &token.value)]));
        assert_eq!(status, 200, "{answer}");
        answer["active"] == true
    }
}
