//! Credentials as workloads use them.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// A Secret's data, decoded.
pub fn data(secret: &str) -> BTreeMap<String, String> {
    let secret: Value = serde_json::from_str(secret).expect("JSON");
    decoded(&secret).into_iter().map(|(k, v)| (k, String::from_utf8(v).expect("UTF-8"))).collect()
}

pub(super) fn decoded(secret: &Value) -> BTreeMap<String, Vec<u8>> {
    let data = secret["data"].as_object().cloned().unwrap_or_default();
    data.into_iter().map(|(k, v)| (k, BASE64_STANDARD.decode(v.as_str().expect("text")).expect("base64"))).collect()
}

/// Gets a token by the client credentials grant; the server's status and error code when it refuses.
pub async fn token(http: &reqwest::Client, secret: &BTreeMap<String, String>) -> Result<String, String> {
    let value = |key: &str| secret.get(key).cloned().unwrap_or_default();
    let mut form = vec![("grant_type", "client_credentials".to_owned()), ("scope", value("scopes"))];
    // No member of a Secret: what a story adds to ask for one.
    form.extend(Some(("audience", value("audience"))).filter(|(_, audience)| !audience.is_empty()));
    let mut request = http.post(value("token_endpoint"));
    match value("token_endpoint_auth_method").as_str() {
        "client_secret_basic" => request = request.basic_auth(value("client_id"), Some(value("client_secret"))),
        "client_secret_post" => {
            form.extend([("client_id", value("client_id")), ("client_secret", value("client_secret"))]);
        }
        "private_key_jwt" => {
            form.push(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".into()));
            form.push(("client_assertion", assertion(secret)));
        }
        other => return Err(format!("{other:?} is no way to get a token")),
    }
    let answer = request.form(&form).send().await.map_err(|e| e.to_string())?;
    let status = answer.status();
    let body: Value = answer.json().await.map_err(|e| e.to_string())?;
    body["access_token"].as_str().map(ToOwned::to_owned).ok_or_else(|| format!("{status} {}", body["error"]))
}

const RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// A client assertion (RFC 7523) by the private key in a Secret.
fn assertion(secret: &BTreeMap<String, String>) -> String {
    let der = pem::parse(&secret["private_key.pem"]).expect("PEM").into_contents();
    // PKCS#8 around PKCS#1: a header of 26 bytes, with rsaEncryption in it.
    let (alg, key) = if der[..26].windows(RSA.len()).any(|part| part == RSA) {
        (Algorithm::RS256, EncodingKey::from_rsa_der(&der[26..]))
    } else {
        (Algorithm::ES256, EncodingKey::from_ec_der(&der))
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time").as_secs();
    let id = &secret["client_id"];
    let jti = format!("{:x}", rand::random::<u128>());
    let claims =
        json!({"iss": id, "sub": id, "aud": secret["token_endpoint"], "jti": jti, "iat": now, "exp": now + 60});
    let header = Header { kid: secret.get("key_id").cloned(), ..Header::new(alg) };
    jsonwebtoken::encode(&header, &claims, &key).expect("sign")
}

/// A workload that asks for tokens all the time, with what is in its Secret.
pub struct Consumer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(usize, Vec<String>)>,
}

impl Consumer {
    /// Starts it.
    pub fn start(
        kubectl: String,
        kubeconfig: String,
        namespace: String,
        secret: String,
        http: reqwest::Client,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let read = move || {
            let out = Command::new(&kubectl)
                .args(["-n", &namespace, "get", "secret", &secret, "-o", "json"])
                .env("KUBECONFIG", &kubeconfig)
                .output()
                .expect("run kubectl");
            String::from_utf8(out.stdout).ok().filter(|t| !t.is_empty()).map(|t| data(&t))
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let (mut asked, mut refused) = (0, Vec::new());
            while !told.load(Ordering::Relaxed) {
                let Some(secret) = read() else {
                    refused.push("there is no Secret".to_owned());
                    continue;
                };
                asked += 1;
                if let Err(why) = runtime.block_on(token(&http, &secret)) {
                    // Whoever holds what is not in the Secret any more reads it again, and is served.
                    if read().as_ref() == Some(&secret) {
                        refused.push(why);
                    }
                }
            }
            (asked, refused)
        });
        Self { stop, thread }
    }

    /// Ends it: how often it asked, and what it heard instead of a token.
    pub fn stop(self) -> (usize, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a consumer")
    }
}
