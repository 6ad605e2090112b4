//! What end-to-end tests share: the test bed, the operator as a process of its own, and a world for each test.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// The longest that anything is waited for; a slow machine is no failure.
const PATIENCE: Duration = Duration::from_secs(120);
const TOKEN: &str = "initial-access-token-of-the-tests";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A cluster with the operator's CRDs and rights.
pub struct Bed {
    dir: PathBuf,
    env: BTreeMap<String, String>,
}

impl Bed {
    /// Starts a cluster of its own.
    pub fn up(name: &str) -> Self {
        let dir = root().join("target").join(format!("testbed-{name}"));
        let testbed = root().join("tests/testbed/testbed");
        let done = Command::new(&testbed)
            .args(["up", "--dir"])
            .arg(&dir)
            .env("TESTBED_USE_KUBECONFIG", "0")
            .status()
            .expect("run the test bed");
        assert!(done.success(), "the test bed did not start");
        let text = std::fs::read_to_string(dir.join("env")).expect("read the bed's env");
        let env = text
            .lines()
            .filter_map(|l| l.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.trim_matches('\'').to_owned()))
            .collect();
        let bed = Self { dir, env };
        bed.kubectl(&["apply", "-f", &root().join("crds").to_string_lossy()]);
        bed.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
        bed.kubectl(&["apply", "-f", &root().join("deploy").to_string_lossy()]);
        let token = format!("--from-literal=token={TOKEN}");
        bed.kubectl(&["-n", "oauthclient-system", "create", "secret", "generic", "corp-registration", &token]);
        // The garbage collector looks for new kinds every half minute; a restart makes it look now.
        let done = Command::new(&testbed).args(["restart", "kube-controller-manager", "--dir"]).arg(&bed.dir).status();
        assert!(done.is_ok_and(|s| s.success()));
        bed
    }

    fn get(&self, key: &str) -> &str {
        &self.env[key]
    }

    /// Runs kubectl as the administrator; its output, or what it said.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        self.kubectl_with(args, None)
    }

    fn kubectl_with(&self, args: &[&str], input: Option<&str>) -> Result<String, String> {
        use std::io::Write;
        let mut child = Command::new(self.get("KUBECTL"))
            .args(args)
            .env("KUBECONFIG", self.get("KUBECONFIG"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run kubectl");
        child.stdin.take().expect("stdin").write_all(input.unwrap_or_default().as_bytes()).ok();
        let out = child.wait_with_output().expect("kubectl");
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
    }

    /// Runs kubectl as the administrator.
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args).unwrap_or_else(|e| panic!("kubectl {}: {e}", args.join(" ")))
    }

    /// Every secret value that the operator keeps: tokens, client secrets, the lines of private keys.
    pub fn secret_values(&self) -> Vec<String> {
        let label = "app.kubernetes.io/managed-by=oauthclient-operator";
        let text = self.kubectl(&["get", "secrets", "-A", "-l", label, "-o", "json"]);
        let list: Value = serde_json::from_str(&text).expect("JSON");
        let mut all = Vec::new();
        for secret in list["items"].as_array().expect("items") {
            for key in ["registration_access_token", "client_secret", "private_key.pem"] {
                let Some(encoded) = secret["data"][key].as_str() else { continue };
                all.push(encoded.to_owned());
                let plain = String::from_utf8(BASE64_STANDARD.decode(encoded).expect("base64")).expect("UTF-8");
                all.extend(plain.lines().filter(|l| l.len() >= 16 && !l.contains("-----")).map(ToOwned::to_owned));
            }
        }
        all
    }

    /// Everything that people and programs other than Secrets' readers see: objects, events, the operator's log.
    pub fn everything_public(&self) -> String {
        let kinds = "events,oauthclients,clientregistrations,authorizationservers,configmaps";
        let log = std::fs::read_to_string(self.dir.join("operator.log")).unwrap_or_default();
        log + &self.kubectl(&["get", kinds, "-A", "-o", "yaml"])
    }

    /// Starts the operator, as its ServiceAccount with just its rights.
    pub fn operator(&self, env: &[(&str, &str)]) -> Operator {
        let token =
            self.kubectl(&["-n", "oauthclient-system", "create", "token", "oauthclient-operator", "--duration=6h"]);
        let ca = self.kubectl(&[
            "config",
            "view",
            "--raw",
            "-o",
            "jsonpath={.clusters[0].cluster.certificate-authority-data}",
        ]);
        let ca_file =
            self.kubectl(&["config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.certificate-authority}"]);
        let mut cluster = json!({"server": self.get("TESTBED_KUBE_APISERVER")});
        if ca.is_empty() {
            cluster["certificate-authority"] = json!(ca_file);
        } else {
            cluster["certificate-authority-data"] = json!(ca);
        }
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "operator",
            "clusters": [{"name": "bed", "cluster": cluster}],
            "users": [{"name": "operator", "user": {"token": token.trim()}}],
            "contexts": [{"name": "operator", "context": {"cluster": "bed", "user": "operator"}}],
        });
        let path = self.dir.join("operator.kubeconfig");
        std::fs::write(&path, config.to_string()).expect("write a kubeconfig");
        let log = self.dir.join("operator.log");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&log).expect("open the operator's log");
        let child = Command::new(env!("CARGO_BIN_EXE_oauthclient-operator"))
            .args(["--listen", "127.0.0.1:0", "--log", "info,oauthclient_operator=debug"])
            .env("KUBECONFIG", path)
            .envs(env.iter().copied())
            .stderr(file)
            .spawn()
            .expect("start the operator");
        Operator { child, log }
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let log = self.dir.join("operator.log");
        let _ = std::fs::copy(log, root().join("target/operator-of-the-last-e2e-run.log"));
        let testbed = root().join("tests/testbed/testbed");
        let _ = Command::new(testbed).args(["down", "--dir"]).arg(&self.dir).status();
    }
}

/// The operator, running.
pub struct Operator {
    child: Child,
    log: PathBuf,
}

impl Operator {
    /// Ends it and says where its log is.
    pub fn stop(mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.log.to_string_lossy().into_owned()
    }
}

impl Operator {
    /// Kills it after so long; true when it died by itself before, at the step that was named.
    pub fn kill_after(mut self, patience: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < patience {
            if self.child.try_wait().is_ok_and(|s| s.is_some()) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts an authorization server that keeps its clients on disk; the process and its issuer.
fn provider(bed: &Bed, name: &str, port: &str) -> (Child, String) {
    let mut child = Command::new(bed.get("TESTBED_NODE"))
        .arg(bed.get("TESTBED_OIDC_SERVER"))
        .env("PORT", port)
        .env("TLS_CERT", bed.get("TESTBED_CERT"))
        .env("TLS_KEY", bed.get("TESTBED_KEY"))
        .env("INITIAL_ACCESS_TOKEN", TOKEN)
        .env("STORE_FILE", bed.dir.join(format!("{name}.clients")))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("start an authorization server");
    let mut ready = String::new();
    BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut ready).expect("ready");
    (child, ready.split_whitespace().nth(1).expect("the server's issuer").to_owned())
}

/// A namespace and an authorization server for one test.
pub struct World<'a> {
    bed: &'a Bed,
    /// The namespace, and the AuthorizationServer's name.
    pub namespace: String,
    provider: std::cell::RefCell<Child>,
    issuer: String,
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
}

impl<'a> World<'a> {
    /// Makes it.
    pub fn new(bed: &'a Bed, name: &str) -> Self {
        let namespace = name.replace('_', "-");
        let (provider, issuer) = provider(bed, &namespace, "0");
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ca = std::fs::read_to_string(bed.get("TESTBED_CA")).expect("read the CA");
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes()).expect("the CA")])
            .build()
            .expect("an HTTP client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        bed.kubectl(&["create", "namespace", &namespace]);
        let world = Self { bed, namespace, provider: provider.into(), issuer, runtime, http };
        world.apply(&json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "AuthorizationServer",
            "metadata": {"name": world.namespace},
            "spec": {
                "issuer": world.issuer,
                "backend": {"dynamicRegistration": {"initialAccessToken": {"secretName": "corp-registration", "key": "token"}}},
                "tls": {"caBundle": ca},
                "allowedNamespaces": {"names": [world.namespace]},
            },
        }))
        .expect("make an AuthorizationServer");
        world.wait(&format!("authorizationserver/{}", world.namespace), "condition=Ready");
        world
    }

    /// Ends the authorization server; its clients are on disk.
    pub fn stop_server(&self) {
        let mut provider = self.provider.borrow_mut();
        let _ = provider.kill();
        let _ = provider.wait();
    }

    /// Starts it again, at the same address and with the same clients.
    pub fn start_server(&self) {
        let port = self.issuer.rsplit(':').next().expect("a port");
        *self.provider.borrow_mut() = provider(self.bed, &self.namespace, port).0;
    }

    fn apply(&self, object: &Value) -> Result<String, String> {
        self.bed.kubectl_with(&["-n", &self.namespace, "apply", "-f", "-"], Some(&object.to_string()))
    }

    /// kubectl in this namespace.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        let all: Vec<&str> =
            if args.contains(&"-n") { args.to_vec() } else { [&["-n", &self.namespace], args].concat() };
        self.bed.try_kubectl(&all)
    }

    /// kubectl in this namespace.
    pub fn kubectl(&self, args: &[&str]) -> String {
        self.try_kubectl(args).unwrap_or_else(|e| panic!("kubectl {}: {e}", args.join(" ")))
    }

    /// Applies an OAuthClient with these members instead of the usual ones.
    pub fn try_client(&self, name: &str, members: &Value) -> Result<String, String> {
        let mut spec = json!({
            "authorizationServerRef": {"name": self.namespace},
            "owner": {"team": "data", "email": "data@corp.example"},
            "purpose": "A test",
            "scopes": ["reports.read"],
            "lifetime": {"ttl": "1h"},
        });
        for (key, value) in members.as_object().expect("members") {
            spec[key] = value.clone();
        }
        self.apply(&json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "OAuthClient",
            "metadata": {"name": name}, "spec": spec,
        }))
    }

    /// As [`World::try_client`]; it must be taken.
    pub fn client(&self, name: &str, members: &Value) {
        self.try_client(name, members).expect("an OAuthClient that is valid");
    }

    /// Applies a Job whose pod runs like this.
    pub fn job(&self, name: &str, run: &str) {
        self.apply(&json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"template": {
                "metadata": {"annotations": {"testbed.oauthclient.dev/run": run}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none.example/none"}]},
            }},
        }))
        .expect("a Job");
    }

    /// Lets a Job's running pods complete.
    pub fn finish_job(&self, name: &str) {
        let selector = format!("batch.kubernetes.io/job-name={name}");
        self.until("the Job has a pod", || !self.kubectl(&["get", "pods", "-l", &selector, "-o", "name"]).is_empty());
        self.kubectl(&["annotate", "pods", "-l", &selector, "--overwrite", "testbed.oauthclient.dev/run=complete"]);
    }

    /// Waits for a condition.
    pub fn wait(&self, object: &str, what: &str) {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        self.kubectl(&["wait", object, &format!("--for={what}"), &timeout]);
    }

    /// Waits until an object is gone.
    pub fn wait_gone(&self, object: &str) {
        self.until(&format!("{object} is gone"), || !self.exists(object));
    }

    /// Waits until this holds.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < PATIENCE, "waited in vain: {what}");
            self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(150)).await });
        }
    }

    /// Whether an object exists.
    pub fn exists(&self, object: &str) -> bool {
        !self.kubectl(&["get", object, "--ignore-not-found", "-o", "name"]).is_empty()
    }

    /// An object.
    pub fn get(&self, object: &str) -> Value {
        serde_json::from_str(&self.kubectl(&["get", object, "-o", "json"])).expect("JSON")
    }

    /// A merge patch.
    pub fn patch(&self, object: &str, patch: &Value) {
        self.kubectl(&["patch", object, "--type=merge", "-p", &patch.to_string()]);
    }

    /// A Secret's data.
    pub fn secret(&self, name: &str) -> BTreeMap<String, String> {
        let Ok(text) = self.try_kubectl(&["get", "secret", name, "-o", "json"]) else { return BTreeMap::new() };
        let secret: Value = serde_json::from_str(&text).expect("JSON");
        let data = secret["data"].as_object().cloned().unwrap_or_default();
        data.into_iter()
            .map(|(k, v)| {
                let bytes = BASE64_STANDARD.decode(v.as_str().expect("text")).expect("base64");
                (k, String::from_utf8(bytes).expect("UTF-8"))
            })
            .collect()
    }

    /// The newest ledger entry of a client.
    pub fn entry(&self, client: &str) -> Value {
        let selector = format!("oauthclient.dev/client={client},oauthclient.dev/client-namespace={}", self.namespace);
        let text =
            self.kubectl(&["-n", "oauthclient-system", "get", "clientregistrations", "-l", &selector, "-o", "json"]);
        let list: Value = serde_json::from_str(&text).expect("JSON");
        let all = list["items"].as_array().expect("items");
        all.iter().max_by_key(|e| e["spec"]["attempt"].as_u64()).expect("an entry").clone()
    }

    /// The clients that live at the server.
    pub fn live(&self) -> Vec<Value> {
        let url = format!("{}/test/clients", self.issuer);
        self.runtime.block_on(async { self.http.get(url).send().await.expect("ask").json().await.expect("JSON") })
    }

    /// Gets a token with what is in a Secret.
    pub fn token(&self, secret: &str) -> Result<String, String> {
        self.token_with(&self.secret(secret))
    }

    /// Gets a token with these credentials.
    pub fn token_with(&self, secret: &BTreeMap<String, String>) -> Result<String, String> {
        let form = [("grant_type", "client_credentials"), ("scope", secret["scopes"].as_str())];
        self.runtime.block_on(async {
            let request = self.http.post(&secret["token_endpoint"]).form(&form);
            let answer = request
                .basic_auth(&secret["client_id"], Some(&secret["client_secret"]))
                .send()
                .await
                .map_err(|e| e.to_string())?;
            let status = answer.status();
            let body: Value = answer.json().await.map_err(|e| e.to_string())?;
            body["access_token"].as_str().map(ToOwned::to_owned).ok_or_else(|| status.to_string())
        })
    }

    /// A file of this test's own, in the bed's folder.
    pub fn scratch(&self, name: &str) -> String {
        self.bed.dir.join(name).to_string_lossy().into_owned()
    }

    /// What there is, for a failure.
    pub fn describe(&self) -> String {
        let clients = self.try_kubectl(&["get", "oauthclients", "-o", "yaml"]);
        let selector = format!("oauthclient.dev/client-namespace={}", self.namespace);
        let entries = self.try_kubectl(&[
            "-n",
            "oauthclient-system",
            "get",
            "clientregistrations",
            "-l",
            &selector,
            "-o",
            "yaml",
        ]);
        format!("{clients:?}\n{entries:?}").replace("\\n", "\n")
    }
}

impl Drop for World<'_> {
    fn drop(&mut self) {
        self.stop_server();
    }
}
