//! HTTP that knows nothing of the operator's own: for those who set servers up, meddle with clients and use them.

use std::fmt;
use std::future::Future;

use oauthclient_operator::authorization_server::assertion::{ASSERTION_TYPE, client_assertion};
use oauthclient_operator::authorization_server::probe::Credential;
use secrecy::ExposeSecret;
use serde_json::Value;
use url::form_urlencoded;

use super::support::now;

/// An HTTP client that trusts the bed's certificates, and waits.
pub struct Wire {
    runtime: tokio::runtime::Runtime,
    /// To make requests with.
    pub client: reqwest::Client,
}

/// An access token.
#[derive(Debug)]
pub struct Token {
    /// The token itself.
    pub value: String,
    /// Its scopes.
    pub scopes: Vec<String>,
    /// Seconds.
    pub lifetime: u64,
}

/// No token.
#[derive(Debug)]
pub struct Refused {
    /// HTTP status.
    pub status: u16,
    /// What the server said.
    pub error: Value,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.error)
    }
}

impl Wire {
    /// One that trusts these certificates; with none, it is for plain http.
    pub fn new(ca: &str) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ca = (!ca.is_empty()).then(|| reqwest::Certificate::from_pem(ca.as_bytes()).expect("the CA"));
        let client = reqwest::Client::builder()
            .tls_certs_only(ca)
            .no_proxy()
            // Nobody tends to idle connections between calls: a server that closes one would break the next call.
            .pool_max_idle_per_host(0)
            .build()
            .expect("an HTTP client");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        Self { runtime, client }
    }

    /// Waits for it.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Asks: status, and the body where it is JSON.
    pub fn send(&self, request: reqwest::RequestBuilder) -> (u16, Value) {
        self.run(async {
            let answer = request.send().await.expect("an answer");
            let status = answer.status().as_u16();
            let text = answer.text().await.expect("a body");
            (status, serde_json::from_str(&text).unwrap_or(Value::Null))
        })
    }

    /// Gets a token by the client credentials grant; what the server says when it refuses.
    pub fn token(
        &self,
        endpoint: &str,
        credential: &Credential,
        scope: &str,
        audience: Option<&str>,
    ) -> Result<Token, Refused> {
        let mut form = vec![("grant_type", "client_credentials".to_owned()), ("scope", scope.to_owned())];
        form.extend(audience.map(|audience| ("audience", audience.to_owned())));
        let mut request = self.client.post(endpoint);
        match credential {
            Credential::ClientSecretBasic { client_id, client_secret } => {
                // Encoded first (RFC 6749 section 2.3.1).
                let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
                request = request.basic_auth(encoded(client_id), Some(encoded(client_secret.expose_secret())));
            }
            Credential::ClientSecretPost { client_id, client_secret } => {
                form.push(("client_id", client_id.clone()));
                form.push(("client_secret", client_secret.expose_secret().to_owned()));
            }
            Credential::PrivateKeyJwt { client_id, key, .. } => {
                let assertion = client_assertion(client_id, endpoint, key, now()).expect("an assertion");
                form.push(("client_assertion_type", ASSERTION_TYPE.to_owned()));
                form.push(("client_assertion", assertion.expose_secret().to_owned()));
            }
            Credential::Public { .. } => panic!("a public client has no token of its own"),
        }
        let (status, body) = self.send(request.form(&form));
        let Some(value) = body["access_token"].as_str() else {
            return Err(Refused { status, error: body["error"].clone() });
        };
        Ok(Token {
            value: value.to_owned(),
            scopes: body["scope"].as_str().unwrap_or_default().split(' ').map(str::to_owned).collect(),
            lifetime: body["expires_in"].as_u64().unwrap_or_default(),
        })
    }
}
