//! Ory Hydra, by dynamic registration and by its admin API: one that the environment names.

use std::sync::{Arc, Mutex};

use oauthclient_operator::authorization_server::dynamic_registration::DynamicRegistration;
use oauthclient_operator::authorization_server::hydra::{AdminCredential, Hydra};
use oauthclient_operator::authorization_server::probe::ProbeEndpoints;
use oauthclient_operator::authorization_server::{Backend, CallError, Management};
use serde_json::{Value, json};

use super::checks;
use super::oidc_provider::widen_by_token;
use super::server::{Administrator, READ, Server, WRITE, connection, random};
use super::support::Bed;
use super::support::hydra::urls;
use super::wire::{Token, Wire};

/// What keeps a test of Hydra from running: there is none, or none where clients may register.
pub fn lacks(registration: bool) -> Option<&'static str> {
    let Some((_, public)) = urls() else { return Some("without HYDRA_ADMIN_URL and HYDRA_PUBLIC_URL") };
    let wire = Wire::new("");
    let enabled = || wire.send(wire.client.get(format!("{public}/oauth2/register/none"))).0 != 404;
    (registration && !enabled()).then_some("without oidc.dynamic_client_registration.enabled")
}

pub fn by_registration(bed: &Bed) {
    tested(bed, "Hydra, by registration", false);
}

pub fn by_admin_api(bed: &Bed) {
    tested(bed, "Hydra, by admin API", true);
}

/// The public port is no admin API, and nothing is gone there.
pub fn public_port(bed: &Bed) {
    let (_, public) = urls().expect("URLs");
    let wrong = Hydra::new(connection(&bed.ca()), &public, AdminCredential::None);
    let management = Management { client_id: "oac-1-1".into(), registration: None };
    let read = Wire::new(&bed.ca()).run(wrong.read(&management, "1"));
    assert!(matches!(read, Err(CallError::Inconclusive { may_have_acted: false, .. })), "{read:?}");
}

/// Hydra is asked by one test at a time, see below.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn tested(bed: &Bed, name: &'static str, by_admin_api: bool) {
    let _turn = ONE_AT_A_TIME.lock();
    let (admin, public) = urls().expect("URLs");
    let (ca, proxy) = (bed.ca(), bed.proxy());
    let (wire, http) = (Wire::new(&ca), connection(&ca));
    let (_, known) = wire.send(wire.client.get(format!("{public}/.well-known/openid-configuration")));
    let text = |key: &str| known[key].as_str().map(str::to_owned);
    let endpoints = ProbeEndpoints {
        token_endpoint: text("token_endpoint").expect("an endpoint"),
        revocation_endpoint: text("revocation_endpoint"),
        introspection_endpoint: text("introspection_endpoint"),
        issuer: text("issuer").expect("an issuer"),
    };
    let (_, version) = wire.send(wire.client.get(format!("{admin}/version")));
    // What it calls itself may differ from where it is reached, and all that it names begins with it.
    let itself = endpoints.token_endpoint.strip_suffix("/oauth2/token").expect("Hydra's path").to_owned();
    let registration = |base: &str| {
        Arc::new(DynamicRegistration {
            http: http.clone(),
            registration_endpoint: format!("{base}/oauth2/register"),
            initial_access_token: None,
            software_statement: None,
        })
    };
    let (backend, lossy): (Arc<dyn Backend>, Arc<dyn Backend>) = if by_admin_api {
        proxy.point_at(&admin);
        let backend = Arc::new(Hydra::new(http.clone(), &proxy.url, AdminCredential::None));
        (backend.clone(), backend)
    } else {
        proxy.point_at(&public);
        (registration(&itself), registration(&proxy.url))
    };
    checks::all(&Server {
        name,
        version: version["version"].as_str().expect("a version").trim_start_matches('v').to_owned(),
        backend,
        lossy,
        proxy: &proxy,
        detour: Some((itself, proxy.url.clone())),
        endpoints,
        without_credential: None,
        administrator: &Admin { wire: &wire, url: admin, by_admin_api },
        http: http.clone(),
        wire: &wire,
        ca,
        // Those that a developer runs keep all in SQLite, in memory, and turn away what comes at once.
        at_once: 1,
        installation: random(),
    });
}

struct Admin<'a> {
    wire: &'a Wire,
    url: String,
    by_admin_api: bool,
}

impl Admin<'_> {
    fn client_url(&self, id: &str) -> String {
        format!("{}/admin/clients/{id}", self.url)
    }

    fn introspect(&self, token: &Token) -> Value {
        let url = format!("{}/admin/oauth2/introspect", self.url);
        let (status, answer) = self.wire.send(self.wire.client.post(url).form(&[("token", &token.value)]));
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

impl Administrator for Admin<'_> {
    fn client(&self, id: &str) -> Option<Value> {
        let (status, client) = self.wire.send(self.wire.client.get(self.client_url(id)));
        (status == 200).then_some(client)
    }

    fn named(&self, name: &str) -> Vec<String> {
        let all = format!("{}/admin/clients", self.url);
        let url = reqwest::Url::parse_with_params(&all, [("client_name", name)]).expect("a URL");
        let (status, all) = self.wire.send(self.wire.client.get(url));
        assert_eq!(status, 200, "{all}");
        let all = all.as_array().expect("clients").iter().filter(|c| c["client_name"] == name);
        all.map(|c| c["client_id"].as_str().expect("an id").to_owned()).collect()
    }

    fn widen(&self, management: &Management) -> Management {
        if !self.by_admin_api {
            // The admin API would destroy the registration access token.
            return widen_by_token(self.wire, management);
        }
        let patch = json!([{"op": "replace", "path": "/scope", "value": format!("{READ} {WRITE}")}]);
        let request = self.wire.client.patch(self.client_url(&management.client_id)).json(&patch);
        assert_eq!(self.wire.send(request).0, 200);
        management.clone()
    }

    fn plant(&self, id: &str) {
        let request = self.wire.client.post(format!("{}/admin/clients", self.url)).json(&json!({"client_id": id}));
        assert_eq!(self.wire.send(request).0, 201);
    }

    fn remove(&self, id: &str) {
        assert_eq!(self.wire.send(self.wire.client.delete(self.client_url(id))).0, 204);
    }

    fn audiences(&self, token: &Token) -> Vec<String> {
        serde_json::from_value(self.introspect(token)["aud"].clone()).expect("a list")
    }

    fn is_live(&self, token: &Token) -> bool {
        self.introspect(token)["active"] == true
    }
}
