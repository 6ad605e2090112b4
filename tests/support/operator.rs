//! The operator as a process of its own.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::Bed;

/// One installation of the operator in a cluster: its namespace and its ServiceAccount there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Installation {
    /// The namespace.
    pub namespace: &'static str,
    /// The ServiceAccount.
    pub account: &'static str,
}

/// The one that `deploy/operator.yaml` makes.
pub const INSTALLATION: Installation =
    Installation { namespace: "oauthclient-system", account: "oauthclient-operator" };

impl Bed {
    /// Starts the operator, as its ServiceAccount with just its rights.
    pub fn operator(&self, env: &[(&str, &str)]) -> Operator {
        self.operator_at(self.get("TESTBED_KUBE_APISERVER"), env)
    }

    /// As [`Bed::operator`], with further flags.
    pub fn operator_with(&self, flags: &[&str]) -> Operator {
        self.start_operator(self.get("TESTBED_KUBE_APISERVER"), flags, &[])
    }

    /// Starts the operator with this URL for the API server's: that of a proxy before it.
    pub fn operator_at(&self, api: &str, env: &[(&str, &str)]) -> Operator {
        self.start_operator(api, &[], env)
    }

    /// Starts one more, beside those that there are and by a lease of so many seconds: the one that holds it goes on.
    pub fn replica_at(&self, api: &str, lease: u64, env: &[(&str, &str)]) -> Operator {
        self.start_replica_of(INSTALLATION, api, &["--lease-duration", &lease.to_string()], env)
    }

    fn start_operator(&self, api: &str, flags: &[&str], env: &[(&str, &str)]) -> Operator {
        self.start_operator_of(INSTALLATION, api, flags, env)
    }

    pub(super) fn start_operator_of(
        &self,
        installation: Installation,
        api: &str,
        flags: &[&str],
        env: &[(&str, &str)],
    ) -> Operator {
        self.let_go_of_the_lease(installation.namespace);
        self.start_replica_of(installation, api, flags, env)
    }

    fn start_replica_of(
        &self,
        installation: Installation,
        api: &str,
        flags: &[&str],
        env: &[(&str, &str)],
    ) -> Operator {
        let Installation { namespace, account } = installation;
        let token = self.kubectl(&["-n", namespace, "create", "token", account, "--duration=6h"]);
        let cluster = json!({"server": api, "certificate-authority": self.get("TESTBED_CA")});
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "operator",
            "clusters": [{"name": "bed", "cluster": cluster}],
            "users": [{"name": "operator", "user": {"token": token.trim()}}],
            "contexts": [{"name": "operator", "context": {"cluster": "bed", "user": "operator"}}],
        });
        let path = self.dir().join(format!("{account}.kubeconfig"));
        std::fs::write(&path, config.to_string()).expect("write a kubeconfig");
        let log = self.operator_log(installation);
        let file = self.append(&log);
        let from = file.metadata().map_or(0, |m| usize::try_from(m.len()).expect("a length"));
        let child = Command::new(env!("CARGO_BIN_EXE_oauthclient-operator"))
            .args(["--listen", "127.0.0.1:0", "--namespace", namespace])
            .args(flags)
            .env("OPERATOR_LOG", "info,oauthclient_operator=debug")
            .env("KUBECONFIG", path)
            .envs(env.iter().copied())
            .stdout(self.append(&self.audit_trail()))
            .stderr(file)
            .spawn()
            .expect("start the operator");
        Operator { child, log, from }
    }

    /// The one that held it is dead for certain: the next need not wait until it would be over.
    fn let_go_of_the_lease(&self, namespace: &str) {
        let nobody = r#"{"spec":{"holderIdentity":""}}"#;
        // Before the first operator there is none.
        let _ = self.try_kubectl(&[
            "-n",
            namespace,
            "patch",
            "lease",
            "oauthclient-operator",
            "--type=merge",
            "-p",
            nobody,
        ]);
    }

    fn append(&self, path: &std::path::Path) -> std::fs::File {
        let opened = std::fs::OpenOptions::new().create(true).append(true).open(path);
        opened.unwrap_or_else(|e| panic!("open {} in {}: {e}", path.display(), self.dir().display()))
    }

    /// Where operators write their audit trail.
    pub fn audit_trail(&self) -> PathBuf {
        self.dir().join("operator-audit.jsonl")
    }

    /// Where an installation's operators log.
    pub(super) fn operator_log(&self, installation: Installation) -> PathBuf {
        if installation == INSTALLATION {
            self.dir().join("operator.log")
        } else {
            self.dir().join(format!("{}.log", installation.account))
        }
    }
}

/// What is in the line by which an operator says where it listens.
const STARTED: &str = "\"message\":\"started\"";

/// What the operator that wrote this line when it started answers at a path; `None` where it has no such page.
fn page(started: &str, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let line: Value = serde_json::from_str(started).expect("JSON");
    let address = line["fields"]["address"].as_str().expect("an address");
    let mut stream = std::net::TcpStream::connect(address).expect("connect to the operator");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n").expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}

impl super::World<'_> {
    /// What the operator that was started last tells of itself.
    pub fn metrics(&self) -> String {
        let log = self.operator_log();
        let started = log.lines().rfind(|l| l.contains(STARTED)).expect("it listens");
        page(started, "/metrics").expect("metrics")
    }
}

/// The operator, running.
pub struct Operator {
    pub(super) child: Child,
    pub(super) log: PathBuf,
    /// Where this process's log begins.
    from: usize,
}

impl Operator {
    /// What it answers at this path; `None` where it has no such page.
    pub fn page(&self, path: &str) -> Option<String> {
        page(&self.log_line(STARTED).expect("it listens"), path)
    }

    /// The first line of its log with this in it.
    fn log_line(&self, with: &str) -> Option<String> {
        let log = std::fs::read_to_string(&self.log).expect("read the operator's log");
        log[self.from..].lines().find(|l| l.contains(with)).map(ToOwned::to_owned)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its name in the lease, once it has started.
    pub fn identity(&self) -> Option<String> {
        let started: Value = serde_json::from_str(&self.log_line(STARTED)?).ok()?;
        started["fields"]["identity"].as_str().map(ToOwned::to_owned)
    }

    /// How it ended, where it has.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().expect("wait for the operator")
    }

    /// Ends it and says where its log is.
    pub fn stop(mut self) -> String {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.log.to_string_lossy().into_owned()
    }

    /// Kills it so long after it began to work; true when it died by itself before, at the step that was named.
    pub fn kill_after(mut self, patience: Duration) -> bool {
        let mut began = None;
        while began.is_none_or(|b: Instant| b.elapsed() < patience) {
            if self.child.try_wait().is_ok_and(|s| s.is_some()) {
                return true;
            }
            if began.is_none() && self.log_line("\"next step\"").is_some() {
                began = Some(Instant::now());
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
