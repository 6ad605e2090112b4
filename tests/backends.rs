//! The backends against real servers, where the environment names one; else ignored by name.
//!
//! `HYDRA_ADMIN_URL` and `HYDRA_PUBLIC_URL`: any Hydra. `KEYCLOAK_URL`, `KEYCLOAK_ADMIN` and `KEYCLOAK_ADMIN_PASSWORD`:
//! a Keycloak where a realm may be made. Run with `cargo test --test backends -- --ignored`.

use std::collections::BTreeSet;
use std::env;
use std::sync::Arc;
use std::time::Duration;

use chrono::DateTime;
use oauthclient_operator::authorization_server::http::{Http, HttpConfig, RequestObserver};
use oauthclient_operator::authorization_server::keys::{ClientKey, SigningAlg};
use oauthclient_operator::authorization_server::probe::{
    Audience, Credential, ProbeAnswer, ProbeEndpoints, ProbeMethod, probe,
};
use oauthclient_operator::authorization_server::{
    Backend, CallError, Chosen, ClientMetadata, Found, Granted, Management, Mark, RegisterError, hydra, keycloak,
};
use secrecy::SecretString;
use serde_json::{Value, json};

struct Quiet;

impl RequestObserver for Quiet {
    fn observe(&self, _: &'static str, _: &str, _: Duration) {}
}

fn connection() -> Http {
    // For the calls that set things up.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let mut config = HttpConfig { allow_plain_http: true, ..HttpConfig::default() };
    config.limits.request_timeout = Duration::from_secs(60);
    config.limits.requests_per_second = 1000;
    config.limits.burst = 1000;
    Http::new(&config, Arc::new(Quiet)).unwrap()
}

fn now() -> DateTime<chrono::Utc> {
    std::time::SystemTime::now().into()
}

fn random() -> String {
    format!("{:016x}", rand::random::<u64>())
}

fn metadata(installation: &str, entry: &str) -> ClientMetadata {
    ClientMetadata {
        mark: Mark { installation: installation.into(), entry: entry.into() },
        client_name: format!("oauthclient-operator/{installation}/{entry}"),
        scopes: vec!["reports.read".into()],
        grant_types: vec!["client_credentials".into()],
        redirect_uris: vec![],
        token_endpoint_auth_method: "client_secret_basic".into(),
        token_endpoint_auth_signing_alg: None,
        jwks: None,
        owner_team: "data".into(),
        owner_email: "data@corp.example".into(),
        purpose: "Reports \u{2713} for \"the partner\"".into(),
        object: "team-data/reports".into(),
        access_token_lifetime: Some(Duration::from_secs(77)),
    }
}

fn set(list: Option<&Vec<String>>) -> BTreeSet<&str> {
    list.into_iter().flatten().map(String::as_str).collect()
}

/// Nothing but what was asked.
#[track_caller]
fn exactly(granted: &Granted, asked: &ClientMetadata) {
    assert_eq!(set(granted.scopes.as_ref()), set(Some(&asked.scopes)));
    assert_eq!(set(granted.grant_types.as_ref()), set(Some(&asked.grant_types)));
    assert_eq!(set(granted.redirect_uris.as_ref()), set(Some(&asked.redirect_uris)));
    assert_eq!(granted.token_endpoint_auth_method.as_deref(), Some(asked.token_endpoint_auth_method.as_str()));
    assert!(granted.enabled != Some(false) && granted.extras.is_empty(), "{granted:?}");
}

/// A server under test: how it is managed, probed, and meddled with.
struct Server<'a> {
    backend: &'a dyn Backend,
    endpoints: ProbeEndpoints,
    /// Makes a client wider by hand, by its id.
    widen: Box<dyn Fn(String) -> futures::future::BoxFuture<'a, ()> + 'a>,
    /// Makes a client of this id without a mark.
    plant: Box<dyn Fn(String) -> futures::future::BoxFuture<'a, ()> + 'a>,
    http: Http,
}

impl Server<'_> {
    async fn probe(&self, credential: &Credential) -> ProbeAnswer {
        probe(&self.http, &self.endpoints, ProbeMethod::Revocation, credential, now()).await.unwrap()
    }

    /// A token's lifetime in seconds, and its scopes.
    async fn token(&self, client_id: &str, secret: &str, scope: &str) -> Result<(u64, String), String> {
        let answer = reqwest::Client::new()
            .post(&self.endpoints.token_endpoint)
            .basic_auth(client_id, Some(secret))
            .form(&[("grant_type", "client_credentials"), ("scope", scope)])
            .send()
            .await
            .unwrap();
        let status = answer.status();
        let body: Value = answer.json().await.unwrap();
        if !status.is_success() {
            return Err(body["error"].as_str().unwrap_or_default().to_owned());
        }
        Ok((body["expires_in"].as_u64().unwrap(), body["scope"].as_str().unwrap_or_default().to_owned()))
    }

    async fn life(&self) {
        let (installation, entry) = (random(), format!("oac-{}", random()));
        let mut asked = metadata(&installation, &entry);
        let id = self.backend.chosen_id(&asked.mark).unwrap();
        let secret = format!("s-{}+%", random());
        let chosen = Chosen { client_id: id.clone(), client_secret: Some(secret.clone().into()) };
        let managed = Management { client_id: id.clone(), registration: None };
        assert!(matches!(self.backend.read(&managed, &installation).await.unwrap(), Found::Gone));
        assert_eq!(self.backend.list(&installation).await.unwrap(), []);

        let registered = self.backend.register(&asked, Some(&chosen)).await.unwrap();
        exactly(&registered.granted, &asked);
        let credential = Credential::ClientSecretBasic { client_id: id.clone(), client_secret: secret.as_str().into() };
        let accepted = self.probe(&credential).await;
        assert_eq!(accepted.status, 200);
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let (lifetime, scope) = self.token(&id, &encoded, "reports.read").await.unwrap();
        assert!(lifetime <= 77 && scope.split(' ').any(|s| s == "reports.read"), "{lifetime} {scope}");
        assert!(self.token(&id, &encoded, "reports.write").await.is_err());

        // Again, after any doubt.
        let again = self.backend.register(&asked, Some(&chosen)).await.unwrap();
        exactly(&again.granted, &asked);
        assert_eq!(self.probe(&credential).await.status, 200);

        // Another entry's client, and nobody's, of this id.
        let other = ClientMetadata { mark: Mark { entry: "oac-other".into(), ..asked.mark.clone() }, ..asked.clone() };
        let foreign = self.backend.register(&other, Some(&chosen)).await.unwrap_err();
        assert!(matches!(foreign, RegisterError::Foreign { .. }), "{foreign:?}");
        let planted = Mark { installation: installation.clone(), entry: "oac-0009".into() };
        let planted_id = self.backend.chosen_id(&planted).unwrap();
        (self.plant)(planted_id.clone()).await;
        let theirs = Management { client_id: planted_id.clone(), registration: None };
        let chosen_too = Chosen { client_id: planted_id.clone(), ..chosen.clone() };
        let asked_too = ClientMetadata { mark: planted, ..asked.clone() };
        let foreign = self.backend.register(&asked_too, Some(&chosen_too)).await.unwrap_err();
        assert!(matches!(foreign, RegisterError::Foreign { .. }), "{foreign:?}");
        let foreign = self.backend.delete(&theirs, &installation).await.unwrap_err();
        assert!(matches!(foreign, CallError::Foreign { .. }), "{foreign:?}");
        assert!(matches!(self.backend.read(&theirs, &installation).await.unwrap(), Found::Foreign { .. }));

        // Drift, and a narrower and then a wider request.
        (self.widen)(id.clone()).await;
        let Found::There(drifted) = self.backend.read(&managed, &installation).await.unwrap() else { panic!("there") };
        assert!(set(drifted.granted.scopes.as_ref()).contains("reports.write"), "{drifted:?}");
        for scopes in [vec!["reports.write"], vec!["reports.read", "reports.write"], vec!["reports.read"]] {
            asked.scopes = scopes.into_iter().map(str::to_owned).collect();
            let secret = SecretString::from(secret.clone());
            let updated = self.backend.update(&managed, &asked, Some(&secret)).await.unwrap();
            exactly(&updated.granted, &asked);
            let Found::There(now) = self.backend.read(&managed, &installation).await.unwrap() else { panic!("there") };
            exactly(&now.granted, &asked);
        }
        assert_eq!(self.probe(&credential).await.status, 200);
        assert!(self.token(&id, &encoded, "reports.write").await.is_err());

        let listed = self.backend.list(&installation).await.unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!((listed[0].client_id.as_str(), listed[0].entry.as_deref()), (id.as_str(), Some(entry.as_str())));
        assert!((now() - listed[0].created_at.unwrap()).abs() < chrono::TimeDelta::hours(1));
        assert!(self.backend.list(&installation[..15]).await.unwrap().is_empty(), "no prefix of it");

        let foreign = self.backend.delete(&managed, "another-installation").await.unwrap_err();
        assert!(matches!(foreign, CallError::Foreign { .. }), "{foreign:?}");
        let deleted = self.backend.delete(&managed, &installation).await.unwrap();
        assert!(!deleted.was_gone && deleted.tokens_left.is_none(), "{deleted:?}");
        assert_eq!(self.probe(&credential).await, self.probe(&credential.never_existed()).await);
        assert!(self.backend.delete(&managed, &installation).await.unwrap().was_gone);
        assert!(matches!(self.backend.read(&managed, &installation).await.unwrap(), Found::Gone));
        let refused = self.backend.update(&managed, &asked, None).await.unwrap_err();
        assert!(matches!(&refused, CallError::Refused(refusal) if refusal.status == 404), "{refused:?}");
        assert_eq!(self.backend.list(&installation).await.unwrap(), []);
    }

    /// Keys instead of secrets, and users.
    async fn other_kinds(&self) {
        let installation = random();
        for (n, alg) in [SigningAlg::Es256, SigningAlg::Rs256].into_iter().enumerate() {
            let key = ClientKey::generate(alg).unwrap();
            let asked = ClientMetadata {
                token_endpoint_auth_method: "private_key_jwt".into(),
                token_endpoint_auth_signing_alg: Some(alg.as_str().into()),
                jwks: Some(key.public_jwks()),
                ..metadata(&installation, &format!("oac-{n}"))
            };
            let client_id = self.backend.chosen_id(&asked.mark).unwrap();
            let chosen = Chosen { client_id: client_id.clone(), client_secret: None };
            let registered = self.backend.register(&asked, Some(&chosen)).await.unwrap();
            exactly(&registered.granted, &asked);
            assert!(registered.client_secret.is_none());
            assert_eq!(registered.granted.key_thumbprints, Some(vec![key.key_id.clone()]));
            let credential = Credential::PrivateKeyJwt { client_id, key, audience: Audience::TokenEndpoint };
            assert_eq!(self.probe(&credential).await.status, 200);

            // A second key beside the first, then without it.
            let next = ClientKey::generate(alg).unwrap();
            let mut both = asked.clone();
            both.jwks.as_mut().unwrap()["keys"].as_array_mut().unwrap().push(next.public_jwk.clone());
            both.token_endpoint_auth_signing_alg = None;
            let managed = registered.management;
            let updated = self.backend.update(&managed, &both, None).await.unwrap();
            assert_eq!(updated.granted.key_thumbprints.unwrap().len(), 2);
            let with_next = Credential::PrivateKeyJwt {
                client_id: managed.client_id.clone(),
                key: next.clone(),
                audience: Audience::TokenEndpoint,
            };
            for credential in [&credential, &with_next] {
                assert_eq!(self.probe(credential).await.status, 200, "both keys, {}", alg.as_str());
            }
            let only = ClientMetadata { jwks: Some(next.public_jwks()), ..both };
            self.backend.update(&managed, &only, None).await.unwrap();
            assert_eq!(self.probe(&with_next).await.status, 200);
            assert_ne!(self.probe(&credential).await.status, 200);
        }
        for (n, method) in ["client_secret_post", "none"].into_iter().enumerate() {
            let asked = ClientMetadata {
                token_endpoint_auth_method: method.into(),
                scopes: vec!["openid".into(), "reports.read".into()],
                grant_types: vec!["authorization_code".into(), "refresh_token".into()],
                redirect_uris: vec!["https://app.example/cb".into()],
                ..metadata(&installation, &format!("oac-1{n}"))
            };
            let client_id = self.backend.chosen_id(&asked.mark).unwrap();
            let client_secret = (n == 0).then(|| "a-secret-of-ours".into());
            let chosen = Chosen { client_id: client_id.clone(), client_secret };
            let registered = self.backend.register(&asked, Some(&chosen)).await.unwrap();
            exactly(&registered.granted, &asked);
            let credential = match chosen.client_secret {
                Some(client_secret) => Credential::ClientSecretPost { client_id, client_secret },
                None => Credential::Public { client_id },
            };
            assert_eq!(self.probe(&credential).await.status, 200, "{method}");
            let refreshless = ClientMetadata { grant_types: vec!["authorization_code".into()], ..asked };
            let updated = self.backend.update(&registered.management, &refreshless, None).await.unwrap();
            exactly(&updated.granted, &refreshless);
        }
        let listed = self.backend.list(&installation).await.unwrap();
        assert_eq!(listed.len(), 4);
        for client in listed {
            let managed = Management { client_id: client.client_id, registration: None };
            self.backend.delete(&managed, &installation).await.unwrap();
        }
    }

    /// More clients than fit on a page.
    async fn many(&self, count: usize) {
        let installation = random();
        for n in 0..count {
            let asked = metadata(&installation, &format!("oac-{n:05}"));
            let client_id = self.backend.chosen_id(&asked.mark).unwrap();
            let chosen = Chosen { client_id, client_secret: Some("a-secret-of-ours".into()) };
            self.backend.register(&asked, Some(&chosen)).await.unwrap();
        }
        let listed = self.backend.list(&installation).await.unwrap();
        assert_eq!(listed.len(), count);
        for client in listed {
            let managed = Management { client_id: client.client_id, registration: None };
            assert!(!self.backend.delete(&managed, &installation).await.unwrap().was_gone);
        }
        assert_eq!(self.backend.list(&installation).await.unwrap(), []);
    }
}

#[tokio::test]
#[ignore = "needs HYDRA_ADMIN_URL and HYDRA_PUBLIC_URL"]
async fn hydra_admin() {
    let (admin, public) = (env::var("HYDRA_ADMIN_URL").unwrap(), env::var("HYDRA_PUBLIC_URL").unwrap());
    let http = connection();
    let backend = hydra::Hydra::new(http.clone(), &admin, hydra::AdminCredential::None);
    let clients = format!("{}/admin/clients", admin.trim_end_matches('/'));
    let (clients_too, public) = (clients.clone(), public.trim_end_matches('/').to_owned());
    let server = Server {
        backend: &backend,
        endpoints: ProbeEndpoints {
            token_endpoint: format!("{public}/oauth2/token"),
            revocation_endpoint: Some(format!("{public}/oauth2/revoke")),
            introspection_endpoint: None,
            issuer: format!("{public}/"),
        },
        widen: Box::new(move |id| {
            let url = format!("{clients}/{id}");
            Box::pin(async move {
                let patch = json!([{ "op": "replace", "path": "/scope", "value": "reports.read reports.write" }]);
                let answer = reqwest::Client::new().patch(url).json(&patch).send().await.unwrap();
                assert!(answer.status().is_success(), "{answer:?}");
            })
        }),
        plant: Box::new(move |id| {
            let url = clients_too.clone();
            Box::pin(async move {
                let answer = reqwest::Client::new().post(url).json(&json!({ "client_id": id })).send().await.unwrap();
                assert_eq!(answer.status(), 201);
            })
        }),
        http: http.clone(),
    };
    server.life().await;
    server.other_kinds().await;
    server.many(203).await;

    // The public port is no admin API, and nothing is gone there.
    let wrong = hydra::Hydra::new(http, &public, hydra::AdminCredential::None);
    let managed = Management { client_id: "oac-1-1".into(), registration: None };
    let error = wrong.read(&managed, "1").await.unwrap_err();
    assert!(matches!(error, CallError::Inconclusive { may_have_acted: false, .. }), "{error:?}");
}

/// The administrator of the whole Keycloak, who sets things up and meddles.
struct Administrator {
    base: String,
}

impl Administrator {
    /// A new one for each call: they live for a minute.
    async fn token(&self) -> String {
        let form = [
            ("grant_type", "password"),
            ("client_id", "admin-cli"),
            ("username", &env::var("KEYCLOAK_ADMIN").unwrap()),
            ("password", &env::var("KEYCLOAK_ADMIN_PASSWORD").unwrap()),
        ];
        let url = format!("{}/realms/master/protocol/openid-connect/token", self.base);
        let answer: Value = reqwest::Client::new().post(url).form(&form).send().await.unwrap().json().await.unwrap();
        answer["access_token"].as_str().unwrap().to_owned()
    }

    async fn call(&self, method: reqwest::Method, path: &str, body: Option<&Value>) -> Value {
        let mut call = reqwest::Client::new()
            .request(method, format!("{}/admin/realms{path}", self.base))
            .bearer_auth(self.token().await);
        if let Some(body) = body {
            call = call.json(body);
        }
        let answer = call.send().await.unwrap();
        assert!(answer.status().is_success(), "{path}: {answer:?}");
        answer.json().await.unwrap_or_default()
    }

    async fn get(&self, path: &str) -> Value {
        self.call(reqwest::Method::GET, path, None).await
    }

    async fn post(&self, path: &str, body: &Value) {
        self.call(reqwest::Method::POST, path, Some(body)).await;
    }

    /// A realm with scopes and three operators: by secret, by key, and one whose role is too small.
    async fn set_up(&self, realm: &str, key: &ClientKey) {
        self.post("", &json!({ "realm": realm, "enabled": true })).await;
        for scope in ["reports.read", "reports.write"] {
            let attributes = json!({ "include.in.token.scope": "true" });
            let body = json!({ "name": scope, "protocol": "openid-connect", "attributes": attributes });
            self.post(&format!("/{realm}/client-scopes"), &body).await;
        }
        let by_key = json!({ "clientId": "operator-key", "serviceAccountsEnabled": true,
            "clientAuthenticatorType": "client-jwt",
            "attributes": { "use.jwks.string": "true", "jwks.string": key.public_jwks().to_string() } });
        self.operator(realm, &by_key, &["manage-clients"]).await;
        let by_secret = json!({ "clientId": "operator", "serviceAccountsEnabled": true, "secret": "operator+secret%" });
        self.operator(realm, &by_secret, &["manage-clients"]).await;
        let small = json!({ "clientId": "small", "serviceAccountsEnabled": true, "secret": "small" });
        self.operator(realm, &small, &["query-clients"]).await;
    }

    /// A client of the operator's with these roles of realm-management.
    async fn operator(&self, realm: &str, client: &Value, roles: &[&str]) {
        self.post(&format!("/{realm}/clients"), client).await;
        let client_id = client["clientId"].as_str().unwrap();
        let own = self.get(&format!("/{realm}/clients?clientId={client_id}")).await;
        let account =
            self.get(&format!("/{realm}/clients/{}/service-account-user", own[0]["id"].as_str().unwrap())).await;
        let of = self.get(&format!("/{realm}/clients?clientId=realm-management")).await[0]["id"]
            .as_str()
            .unwrap()
            .to_owned();
        let mut given = Vec::new();
        for role in roles {
            given.push(self.get(&format!("/{realm}/clients/{of}/roles/{role}")).await);
        }
        let user = account["id"].as_str().unwrap();
        self.post(&format!("/{realm}/users/{user}/role-mappings/clients/{of}"), &json!(given)).await;
    }
}

#[tokio::test]
#[ignore = "needs KEYCLOAK_URL, KEYCLOAK_ADMIN and KEYCLOAK_ADMIN_PASSWORD"]
async fn keycloak_admin() {
    let base = env::var("KEYCLOAK_URL").unwrap().trim_end_matches('/').to_owned();
    let realm = format!("backends-{}", random());
    let admin = Arc::new(Administrator { base: base.clone() });
    let key = ClientKey::generate(SigningAlg::Es256).unwrap();
    admin.set_up(&realm, &key).await;
    let issuer = format!("{base}/realms/{realm}");
    let http = connection();
    let with = |credential| {
        let settings =
            keycloak::Settings { base_url: base.clone(), realm: realm.clone(), issuer: issuer.clone(), credential };
        keycloak::Keycloak::new(http.clone(), settings, Arc::new(now))
    };
    let secret = |id: &str, secret: &str| keycloak::AdminCredential::ClientSecret {
        client_id: id.into(),
        secret: secret.into(),
    };
    let backend = with(secret("operator", "operator+secret%"));
    let (realm_too, admin_too) = (realm.clone(), admin.clone());
    let (realm_three, admin_three) = (realm.clone(), admin.clone());
    let server = Server {
        backend: &backend,
        endpoints: ProbeEndpoints {
            token_endpoint: format!("{issuer}/protocol/openid-connect/token"),
            revocation_endpoint: Some(format!("{issuer}/protocol/openid-connect/revoke")),
            introspection_endpoint: None,
            issuer: issuer.clone(),
        },
        widen: Box::new(move |id| {
            let (realm, admin) = (realm_too.clone(), admin_too.clone());
            Box::pin(async move {
                let mut client = admin.get(&format!("/{realm}/clients?clientId={id}")).await[0].clone();
                let path = format!("/{realm}/clients/{}", client["id"].as_str().unwrap());
                for wide in
                    ["fullScopeAllowed", "standardFlowEnabled", "directAccessGrantsEnabled", "implicitFlowEnabled"]
                {
                    client[wide] = true.into();
                }
                client["redirectUris"] = json!(["https://evil.example/*"]);
                client["webOrigins"] = json!(["+"]);
                client["rootUrl"] = "https://evil.example".into();
                client["attributes"]["oauth2.device.authorization.grant.enabled"] = "true".into();
                client["attributes"]["standard.token.exchange.enabled"] = "true".into();
                client["attributes"]["oidc.ciba.grant.enabled"] = "true".into();
                admin.call(reqwest::Method::PUT, &path, Some(&client)).await;
                let mapper = json!({ "name": "evil", "protocol": "openid-connect",
                    "protocolMapper": "oidc-hardcoded-claim-mapper",
                    "config": { "claim.name": "admin", "claim.value": "true", "access.token.claim": "true" } });
                admin.post(&format!("{path}/protocol-mappers/models"), &mapper).await;
                let scopes = admin.get(&format!("/{realm}/client-scopes")).await;
                for (scope, kind) in
                    [("reports.write", "default"), ("roles", "default"), ("offline_access", "optional")]
                {
                    let found = scopes.as_array().unwrap().iter().find(|s| s["name"] == scope).unwrap();
                    let id = found["id"].as_str().unwrap();
                    admin.call(reqwest::Method::PUT, &format!("{path}/{kind}-client-scopes/{id}"), None).await;
                }
            })
        }),
        plant: Box::new(move |id| {
            let (realm, admin) = (realm_three.clone(), admin_three.clone());
            Box::pin(async move { admin.post(&format!("/{realm}/clients"), &json!({ "clientId": id })).await })
        }),
        http: http.clone(),
    };
    server.life().await;
    server.other_kinds().await;
    server.many(103).await;

    // The other credential; a wrong one; a role too small; a realm that is not there.
    let managed = Management { client_id: "oac-1-1".into(), registration: None };
    assert!(matches!(
        with(keycloak::AdminCredential::PrivateKeyJwt { client_id: "operator-key".into(), key: key.private_key_pem })
            .read(&managed, "1")
            .await
            .unwrap(),
        Found::Gone
    ));
    for (id, word) in [("operator", "wrong"), ("nobody", "wrong"), ("small", "small")] {
        let backend = with(secret(id, word));
        for error in [backend.read(&managed, "1").await.unwrap_err(), backend.list("1").await.unwrap_err()] {
            assert!(matches!(error, CallError::Inconclusive { may_have_acted: false, .. }), "{error:?}");
        }
    }
    let asked = ClientMetadata { scopes: vec!["reports.raed".into()], ..metadata("1", "oac-1") };
    let chosen = Chosen { client_id: "oac-1-1".into(), client_secret: Some("a-secret-of-ours".into()) };
    let error = backend.register(&asked, Some(&chosen)).await.unwrap_err();
    let RegisterError::Refused(refusal) = &error else { panic!("{error:?}") };
    assert!(refusal.description.as_ref().unwrap().contains("reports.read"), "{refusal:?}");
    admin.call(reqwest::Method::DELETE, &format!("/{realm}"), None).await;
    let error = backend.read(&managed, "1").await.unwrap_err();
    assert!(matches!(error, CallError::Inconclusive { may_have_acted: false, .. }), "{error:?}");
}
