//! A world's authorization server: a real one, alone or behind a proxy that lies.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::proxy::Proxy;
use super::{Bed, World, credentials};

/// What registering takes.
pub const TOKEN: &str = "initial-access-token-of-the-tests";

/// An authorization server that keeps its clients on disk.
pub struct Provider {
    child: Child,
    /// What it calls itself.
    pub issuer: String,
    /// Where it listens.
    pub address: String,
}

impl Provider {
    /// Starts one that keeps its clients under this name; `behind`: the URL of the proxy before it.
    pub fn start(bed: &Bed, name: &str, port: &str, behind: Option<&str>) -> Self {
        Self::start_with(bed, name, port, behind, [bed.get("TESTBED_CERT"), bed.get("TESTBED_KEY")])
    }

    /// As [`Provider::start`], with this certificate and key (paths of PEM files).
    fn start_with(bed: &Bed, name: &str, port: &str, behind: Option<&str>, [cert, key]: [&str; 2]) -> Self {
        let mut command = Command::new(bed.get("TESTBED_NODE"));
        command
            .arg(bed.get("TESTBED_OIDC_SERVER"))
            .env("PORT", port)
            .env("TLS_CERT", cert)
            .env("TLS_KEY", key)
            .env("INITIAL_ACCESS_TOKEN", TOKEN)
            .env("STORE_FILE", bed.dir().join(format!("{name}.clients")))
            .envs(behind.map(|url| ("ISSUER", url)));
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start an authorization server");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut ready).expect("ready");
        // ready ISSUER on ADDRESS
        let words: Vec<&str> = ready.split_whitespace().collect();
        Self { child, issuer: words[1].to_owned(), address: format!("https://{}", words[3]) }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn port(&self) -> &str {
        self.address.rsplit(':').next().expect("a port")
    }

    fn stop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

impl World<'_> {
    /// The proxy between the operator and the authorization server.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("this world has a proxy")
    }

    /// Ends the authorization server; its clients are on disk.
    pub fn stop_server(&self) {
        self.provider.borrow_mut().stop();
    }

    /// Starts it again, at the same address and with the same clients.
    pub fn start_server(&self) {
        let mut provider = self.provider.borrow_mut();
        let started = Provider::start(self.bed, &self.namespace, provider.port(), self.behind());
        *provider = started;
    }

    /// Starts it with another certificate, signed by a CA of its own, which is returned (PEM).
    pub fn start_server_of_another_ca(&self) -> String {
        use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a CA");
        let key = KeyPair::generate().expect("a key");
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let certificate = CertificateParams::new(names).expect("names").signed_by(&key, &ca).expect("a certificate");
        let [cert, private] = [("pem", certificate.pem()), ("key", key.serialize_pem())].map(|(end, pem)| {
            let path = self.bed.scratch(&format!("{}-another-ca.{end}", self.namespace));
            std::fs::write(&path, pem).expect("write a file");
            path
        });
        let mut provider = self.provider.borrow_mut();
        provider.stop();
        let port = provider.port().to_owned();
        *provider = Provider::start_with(self.bed, &self.namespace, &port, self.behind(), [&cert, &private]);
        ca.pem()
    }

    /// Another server, which calls itself like this world's and knows nobody.
    pub fn another_server(&self) -> Provider {
        Provider::start(self.bed, &format!("{}-another", self.namespace), "0", self.behind())
    }

    /// A proxy that points nowhere yet.
    pub fn another_proxy(&self) -> Proxy {
        self.bed.proxy()
    }

    /// A further server, behind a proxy of its own.
    pub fn another_server_behind(&self, proxy: &Proxy) -> Provider {
        let provider = Provider::start(self.bed, &format!("{}-further", self.namespace), "0", Some(&proxy.url));
        proxy.point_at(&provider.address);
        provider
    }

    /// Where the authorization server itself listens.
    pub fn server_address(&self) -> String {
        self.provider.borrow().address.clone()
    }

    fn behind(&self) -> Option<&str> {
        self.proxy.as_ref().map(|p| p.url.as_str())
    }

    /// Applies an AuthorizationServer of this name for this world's server, with these members instead of the usual.
    pub fn authorization_server(&self, name: &str, members: &Value) {
        let token = json!({"secretName": "corp-registration", "key": "token"});
        let mut spec = json!({
            "issuer": self.provider.borrow().issuer,
            "backend": {"dynamicRegistration": {"initialAccessToken": token}},
            "tls": {"caBundle": self.bed.ca()},
            "allowedNamespaces": {"names": [self.namespace]},
        });
        for (key, value) in members.as_object().expect("members") {
            spec[key] = value.clone();
        }
        self.apply(&json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "AuthorizationServer",
            "metadata": {"name": name}, "spec": spec,
        }))
        .expect("make an AuthorizationServer");
    }

    /// The clients that live at the server, asked behind the proxy's back.
    pub fn live(&self) -> Vec<Value> {
        self.live_at(&self.server_address())
    }

    /// The clients that live at a server that listens there.
    pub fn live_at(&self, address: &str) -> Vec<Value> {
        let url = format!("{address}/test/clients");
        self.runtime.block_on(async { self.http.get(url).send().await.expect("ask").json().await.expect("JSON") })
    }

    /// How many requests came to the server, by method and path, since this was asked last.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        let address = self.server_address();
        self.runtime.block_on(async {
            let counted = self.http.get(format!("{address}/test/requests")).send().await.expect("ask");
            let counted = counted.json().await.expect("JSON");
            self.http.post(format!("{address}/test/reset-requests")).send().await.expect("reset");
            counted
        })
    }

    /// What the server calls itself.
    pub fn issuer(&self) -> String {
        self.provider.borrow().issuer.clone()
    }

    /// Changes this world's AuthorizationServer.
    pub fn server(&self, spec: &Value) {
        self.patch(&self.server_name(), &json!({"spec": spec}));
    }

    /// Its name, for kubectl.
    pub fn server_name(&self) -> String {
        format!("authorizationserver/{}", self.namespace)
    }

    /// Gets a token with what is in a Secret.
    pub fn token(&self, secret: &str) -> Result<String, String> {
        self.token_with(&self.secret(secret))
    }

    /// Gets a token with these credentials, as `token_endpoint_auth_method` among them says.
    pub fn token_with(&self, secret: &BTreeMap<String, String>) -> Result<String, String> {
        self.runtime.block_on(credentials::token(&self.http, secret))
    }

    /// Asks for a token every 100 ms with what this Secret held just before, until this holds; every one must be given.
    pub fn used_until(&self, secret: &str, what: &str, holds: impl Fn() -> bool) {
        self.until(what, || {
            for _ in 0..5 {
                let held = self.secret(secret);
                std::thread::sleep(Duration::from_millis(100));
                self.token_with(&held).expect("the consumer is never refused");
            }
            holds()
        });
    }

    /// A workload that asks for tokens with what is in this Secret, all the time.
    pub fn consumer(&self, secret: &str) -> credentials::Consumer {
        let kubectl = self.bed.get("KUBECTL").to_owned();
        let kubeconfig = self.bed.get("KUBECONFIG").to_owned();
        credentials::Consumer::start(kubectl, kubeconfig, self.namespace.clone(), secret.to_owned(), self.http.clone())
    }
}
