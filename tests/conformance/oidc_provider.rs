//! node-oidc-provider, by dynamic registration.

use std::sync::Arc;

use oauthclient_operator::authorization_server::Management;
use oauthclient_operator::authorization_server::discovery::discover;
use oauthclient_operator::authorization_server::dynamic_registration::DynamicRegistration;
use oauthclient_operator::authorization_server::probe::ProbeEndpoints;
use secrecy::ExposeSecret;
use serde_json::Value;

use super::checks;
use super::server::{Administrator, READ, Server, WRITE, connection, endpoints, random};
use super::support::{Bed, Provider};
use super::wire::{Token, Wire};

/// What registering takes at the bed's providers.
const TOKEN: &str = "initial-access-token-of-the-tests";

pub fn by_registration(bed: &Bed) {
    let (ca, proxy) = (bed.ca(), bed.proxy());
    let provider = Provider::start(bed, "conformance", "0", Some(&proxy.url));
    proxy.point_at(&provider.address);
    let (wire, http) = (Wire::new(&ca), connection(&ca));
    let known = wire.run(discover(&http, &proxy.url)).expect("metadata");
    let endpoints = endpoints(&known);
    let with = |token: &str| {
        Arc::new(DynamicRegistration {
            http: http.clone(),
            registration_endpoint: known.registration_endpoint.clone().expect("an endpoint"),
            initial_access_token: Some(token.into()),
            software_statement: None,
        })
    };
    let package = std::path::Path::new(bed.get("TESTBED_NODE_MODULES")).join("oidc-provider/package.json");
    let package: Value = serde_json::from_str(&std::fs::read_to_string(package).expect("a package")).expect("JSON");
    let administrator = ByHand { wire: &wire, address: provider.address.clone(), endpoints: endpoints.clone() };
    checks::all(&Server {
        name: "oidc-provider, by registration",
        version: package["version"].as_str().expect("a version").to_owned(),
        backend: with(TOKEN),
        lossy: with(TOKEN),
        proxy: &proxy,
        detour: None,
        endpoints,
        without_credential: Some(with("a-wrong-token")),
        administrator: &administrator,
        http: http.clone(),
        wire: &wire,
        ca,
        at_once: 4,
        installation: random(),
    });
}

/// There is no administrator: what is changed by hand is changed with the client's own token.
struct ByHand<'a> {
    wire: &'a Wire,
    address: String,
    endpoints: ProbeEndpoints,
}

impl ByHand<'_> {
    fn clients(&self) -> Vec<Value> {
        let (_, all) = self.wire.send(self.wire.client.get(format!("{}/test/clients", self.address)));
        all.as_array().expect("clients").clone()
    }
}

impl Administrator for ByHand<'_> {
    fn client(&self, id: &str) -> Option<Value> {
        self.clients().into_iter().find(|c| c["client_id"] == id)
    }

    fn named(&self, name: &str) -> Vec<String> {
        let all = self.clients().into_iter().filter(|c| c["client_name"] == name);
        all.map(|c| c["client_id"].as_str().expect("an id").to_owned()).collect()
    }

    fn widen(&self, management: &Management) -> Management {
        widen_by_token(self.wire, management)
    }

    fn plant(&self, _: &str) {
        unreachable!("nobody chooses ids here");
    }

    fn remove(&self, _: &str) {
        // It goes with the bed.
    }

    fn is_live(&self, token: &Token) -> bool {
        // A client of its own, that lives for this question.
        let url = self.endpoints.token_endpoint.replace("/token", "/reg");
        let asked = serde_json::json!({"client_name": "verifier", "grant_types": ["client_credentials"],
            "redirect_uris": [], "response_types": [], "token_endpoint_auth_method": "client_secret_basic"});
        let (status, verifier) = self.wire.send(self.wire.client.post(url).bearer_auth(TOKEN).json(&asked));
        assert_eq!(status, 201, "{verifier}");
        let text = |key: &str| verifier[key].as_str().expect("text").to_owned();
        let url = self.endpoints.introspection_endpoint.as_ref().expect("an endpoint");
        let request = self.wire.client.post(url).basic_auth(text("client_id"), Some(text("client_secret")));
        let (status, answer) = self.wire.send(request.form(&[("token", &token.value)]));
        assert_eq!(status, 200, "{answer}");
        answer["active"] == true
    }
}

/// Gives a client more scopes with its own registration access token; the means to manage it then.
pub fn widen_by_token(wire: &Wire, management: &Management) -> Management {
    let mut management = management.clone();
    let access = management.registration.as_mut().expect("a token");
    let token = access.access_token.expose_secret().to_owned();
    let (_, mut client) = wire.send(wire.client.get(&access.client_uri).bearer_auth(&token));
    let members = client.as_object_mut().expect("a client");
    members.retain(|name, _| !NOT_IN_A_PUT.contains(&name.as_str()));
    members["scope"] = format!("{READ} {WRITE}").into();
    let (status, changed) = wire.send(wire.client.put(&access.client_uri).bearer_auth(&token).json(&client));
    assert_eq!(status, 200, "{changed}");
    access.access_token = changed["registration_access_token"].as_str().expect("a token").into();
    management
}

/// RFC 7592 section 2.2.
const NOT_IN_A_PUT: [&str; 4] =
    ["registration_access_token", "registration_client_uri", "client_secret_expires_at", "client_id_issued_at"];
