//! A namespace and an authorization server for one test.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::proxy::Proxy;
use super::{Bed, PATIENCE, Provider, credentials};

/// A namespace and an authorization server for one test.
pub struct World<'a> {
    /// The cluster.
    pub bed: &'a Bed,
    /// The namespace, and the AuthorizationServer's name.
    pub namespace: String,
    pub(super) provider: RefCell<Provider>,
    pub(super) proxy: Option<Proxy>,
    pub(super) runtime: tokio::runtime::Runtime,
    pub(super) http: reqwest::Client,
}

impl<'a> World<'a> {
    /// Makes it.
    pub fn new(bed: &'a Bed, name: &str) -> Self {
        Self::make(bed, name, None)
    }

    /// Makes it with a proxy between the operator and the authorization server.
    pub fn behind_a_proxy(bed: &'a Bed, name: &str) -> Self {
        Self::make(bed, name, Some(bed.proxy()))
    }

    fn make(bed: &'a Bed, name: &str, proxy: Option<Proxy>) -> Self {
        let namespace = name.replace('_', "-");
        let provider = Provider::start(bed, &namespace, "0", proxy.as_ref().map(|p| p.url.as_str()));
        if let Some(proxy) = &proxy {
            proxy.point_at(&provider.address);
        }
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .tls_certs_only([reqwest::Certificate::from_pem(bed.ca().as_bytes()).expect("the CA")])
            // Nobody tends to idle connections between calls: a server that closes one would break the next call.
            .pool_max_idle_per_host(0)
            .build()
            .expect("an HTTP client");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        bed.kubectl(&["create", "namespace", &namespace]);
        let world = Self { bed, namespace, provider: provider.into(), proxy, runtime, http };
        world.authorization_server(&world.namespace, &json!({}));
        world.wait(&format!("authorizationserver/{}", world.namespace), "condition=Ready");
        world
    }

    /// Applies an object, in this namespace where it has one.
    pub fn apply(&self, object: &Value) -> Result<String, String> {
        self.bed.kubectl_with(&["-n", &self.namespace, "apply", "-f", "-"], Some(&object.to_string()))
    }

    /// Creates an object at this path, not by kubectl: where time is measured.
    pub fn create(&self, path: &str, object: &Value) {
        self.runtime.block_on(async {
            let url = format!("{}{path}", self.bed.get("TESTBED_KUBE_APISERVER"));
            let answer = self.http.post(url).bearer_auth(self.bed.token()).json(object).send().await;
            let status = answer.expect("ask the API server").status();
            assert!(status.is_success(), "POST {path}: {status}");
        });
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
        self.try_client_with(&json!({"name": name}), members)
    }

    /// As [`World::try_client`], with more metadata than a name.
    pub fn try_client_with(&self, metadata: &Value, members: &Value) -> Result<String, String> {
        self.apply(&self.client_object(metadata, members))
    }

    /// Applies many OAuthClients at once.
    pub fn clients(&self, names: &[String], members: &Value) {
        let items: Vec<Value> = names.iter().map(|n| self.client_object(&json!({"name": n}), members)).collect();
        self.apply(&json!({"apiVersion": "v1", "kind": "List", "items": items})).expect("OAuthClients that are valid");
    }

    /// An OAuthClient.
    pub fn client_object(&self, metadata: &Value, members: &Value) -> Value {
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
        json!({"apiVersion": "oauthclient.dev/v1alpha1", "kind": "OAuthClient", "metadata": metadata, "spec": spec})
    }

    /// As [`World::try_client`]; it must be taken.
    pub fn client(&self, name: &str, members: &Value) {
        self.try_client(name, members).expect("an OAuthClient that is valid");
    }

    /// Applies a Job whose pod runs like this.
    pub fn job(&self, name: &str, run: &str) {
        self.apply(&json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
            "spec": {"backoffLimit": 0, "template": {
                "metadata": {"annotations": {"testbed.oauthclient.dev/run": run}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "none.example/none"}]},
            }},
        }))
        .expect("a Job");
    }

    /// Lets a Job's running pods complete.
    pub fn finish_job(&self, name: &str) {
        self.end_job(name, "complete");
    }

    /// Lets a Job's running pods `complete` or `fail`.
    pub fn end_job(&self, name: &str, how: &str) {
        let selector = format!("batch.kubernetes.io/job-name={name}");
        let run = format!("testbed.oauthclient.dev/run={how}");
        self.until("the Job has a pod", || !self.kubectl(&["get", "pods", "-l", &selector, "-o", "name"]).is_empty());
        self.kubectl(&["annotate", "pods", "-l", &selector, "--overwrite", &run]);
    }

    /// Deletes the namespace and takes its finalizers off by force: it is gone, and what was in it is not.
    pub fn finalize_namespace_by_force(&self) {
        self.kubectl(&["delete", "namespace", &self.namespace, "--wait=false"]);
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": self.namespace}, "spec": {"finalizers": []},
        });
        let path = format!("/api/v1/namespaces/{}/finalize", self.namespace);
        let done = self.bed.kubectl_with(&["replace", "--raw", &path, "-f", "-"], Some(&object.to_string()));
        done.expect("finalize a namespace");
    }

    /// Waits for a condition.
    pub fn wait(&self, object: &str, what: &str) {
        let (timeout, what) = (format!("--timeout={}s", PATIENCE.as_secs()), format!("--for={what}"));
        let mut args = vec!["wait", &what, &timeout];
        args.extend(object.split(' '));
        self.kubectl(&args);
    }

    /// Waits until an object is gone.
    pub fn wait_gone(&self, object: &str) {
        self.until(&format!("{object} is gone"), || !self.exists(object));
    }

    /// Waits until this holds.
    pub fn until(&self, what: &str, holds: impl FnMut() -> bool) {
        self.until_after(PATIENCE, what, holds);
    }

    /// Waits until this holds, with another patience: that of back-off.
    pub fn until_after(&self, patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(start.elapsed() < patience, "waited in vain: {what}");
            self.runtime.block_on(async { tokio::time::sleep(Duration::from_millis(150)).await });
        }
    }

    /// A merge patch.
    pub fn patch(&self, object: &str, patch: &Value) {
        self.kubectl(&["patch", object, "--type=merge", "-p", &patch.to_string()]);
    }

    /// A Secret's data.
    pub fn secret(&self, name: &str) -> BTreeMap<String, String> {
        let path = format!("/api/v1/namespaces/{}/secrets/{name}", self.namespace);
        self.read(&path).map_or_else(BTreeMap::new, |secret| credentials::data(&secret.to_string()))
    }

    /// A file of this test's own, in the bed's folder.
    pub fn scratch(&self, name: &str) -> String {
        self.bed.dir().join(name).to_string_lossy().into_owned()
    }

    /// What the operator has logged.
    pub fn operator_log(&self) -> String {
        std::fs::read_to_string(self.scratch("operator.log")).unwrap_or_default()
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
