//! A cluster with the operator's CRDs and rights.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

use super::provider::TOKEN;
use super::proxy::Proxy;
use super::root;

/// A cluster with the operator's CRDs and rights.
pub struct Bed {
    name: String,
    dir: PathBuf,
    env: BTreeMap<String, String>,
    /// What stories read the cluster with.
    token: String,
}

impl Bed {
    /// Starts a cluster of its own, with the chart as it is installed by default.
    pub fn up(name: &str) -> Self {
        let mut bed = Self::bare(name);
        bed.install(&root().join("charts/oauthclient-operator").to_string_lossy(), &[]);
        bed.furnish();
        bed
    }

    /// Installs a chart, or a package of it, as docs/install.md says.
    pub fn install(&self, chart: &str, flags: &[&str]) {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": "oauthclient-system", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
        });
        self.kubectl_with(&["apply", "-f", "-"], Some(&namespace.to_string())).expect("a namespace");
        let install = ["install", "oauthclient-operator", chart, "-n", "oauthclient-system"];
        self.helm(&[&install, flags].concat()).unwrap_or_else(|e| panic!("helm install: {e}"));
        self.kubectl(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=120s"]);
    }

    /// What the tests need besides the chart: a policy that allows everything, the credential for the server, and somebody who
    /// reads everything.
    pub fn furnish(&mut self) {
        let bed = self;
        // For some seconds after the CRDs came up the API server takes none, where a policy is about them.
        let everything = root().join("tests/support/everything.yaml");
        let apply = ["apply", "-f", &everything.to_string_lossy()];
        super::process::wait("the API server takes ClientPolicies", || bed.try_kubectl(&apply).is_ok());
        let token = format!("--from-literal=token={TOKEN}");
        bed.kubectl(&["-n", "oauthclient-system", "create", "secret", "generic", "corp-registration", &token]);
        let reader = ["serviceaccount", "reader-of-the-tests"];
        bed.kubectl(&["create", reader[0], reader[1]]);
        let account = format!("--serviceaccount=default:{}", reader[1]);
        bed.kubectl(&["create", "clusterrolebinding", reader[1], "--clusterrole=cluster-admin", &account]);
        let token = bed.kubectl(&["create", "token", reader[1], "--duration=6h"]);
        token.trim().clone_into(&mut bed.token);
        // The garbage collector looks for new kinds every half minute; a restart makes it look now.
        let testbed = root().join("tests/testbed/testbed");
        let done = Command::new(testbed).args(["restart", "kube-controller-manager", "--dir"]).arg(&bed.dir).status();
        assert!(done.is_ok_and(|s| s.success()));
        bed.until_clients_are_taken();
    }

    /// Starts a cluster that knows nothing of the operator.
    pub fn bare(name: &str) -> Self {
        Self::start(name, &[("TESTBED_USE_KUBECONFIG", "0")])
    }

    /// Starts authorization servers alone: what needs a cluster fails.
    pub fn without_a_cluster(name: &str) -> Self {
        Self::start(name, &[("TESTBED_CLUSTER", "none")])
    }

    fn start(name: &str, settings: &[(&str, &str)]) -> Self {
        let dir = root().join("target").join(format!("testbed-{name}"));
        let done = Command::new(root().join("tests/testbed/testbed"))
            .args(["up", "--dir"])
            .arg(&dir)
            .envs(settings.iter().copied())
            .status()
            .expect("run the test bed");
        assert!(done.success(), "the test bed did not start");
        let text = std::fs::read_to_string(dir.join("env")).expect("read the bed's env");
        let env = text
            .lines()
            .filter_map(|l| l.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.trim_matches('\'').to_owned()))
            .collect();
        Self { name: name.to_owned(), dir, env, token: String::new() }
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A token that reads everything.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The CA of everything here, in PEM.
    pub fn ca(&self) -> String {
        std::fs::read_to_string(self.get("TESTBED_CA")).expect("read the CA")
    }

    /// A proxy with the bed's certificate, that points nowhere yet.
    pub fn proxy(&self) -> Proxy {
        Proxy::new(self.get("TESTBED_CERT").as_ref(), self.get("TESTBED_KEY").as_ref(), &self.ca())
    }

    /// As [`Bed::proxy`], for a server to which connections are dear: they are kept open.
    pub fn keeping_proxy(&self) -> Proxy {
        Proxy::with_idle(self.get("TESTBED_CERT").as_ref(), self.get("TESTBED_KEY").as_ref(), &self.ca(), 32)
    }

    /// A value of the bed's environment.
    pub fn get(&self, key: &str) -> &str {
        &self.env[key]
    }

    /// Runs kubectl as the administrator; its output, or what it said.
    pub fn try_kubectl(&self, args: &[&str]) -> Result<String, String> {
        self.kubectl_with(args, None)
    }

    /// Runs helm as the administrator; its output, or what it said.
    pub fn helm(&self, args: &[&str]) -> Result<String, String> {
        let out = Command::new(self.get("HELM"))
            .args(args)
            .current_dir(root())
            .env("KUBECONFIG", self.get("KUBECONFIG"))
            // Repositories and plugins of whoever runs the tests are none of theirs.
            .env("HELM_DATA_HOME", self.dir.join("helm"))
            .env("HELM_CONFIG_HOME", self.dir.join("helm"))
            .env("HELM_CACHE_HOME", self.dir.join("helm"))
            .output()
            .expect("run helm");
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
    }

    /// Runs kubectl as the administrator with something on its standard input.
    pub fn kubectl_with(&self, args: &[&str], input: Option<&str>) -> Result<String, String> {
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

    /// Makes a kind that pipelines are of, and lets the operator watch it; `--workload-kind` names it.
    pub fn pipeline_kind(&self) {
        let path = root().join("tests/support/pipelinerun.yaml");
        self.kubectl(&["apply", "-f", &path.to_string_lossy()]);
        self.kubectl(&["wait", "--for=condition=Established", "crd/pipelineruns.testing.example", "--timeout=120s"]);
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        let log = self.dir.join("operator.log");
        let _ = std::fs::copy(log, root().join(format!("target/operator-of-the-last-run-of-{}.log", self.name)));
        let testbed = root().join("tests/testbed/testbed");
        let _ = Command::new(testbed).args(["down", "--dir"]).arg(&self.dir).status();
    }
}
