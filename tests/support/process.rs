//! The operator as a process: what it answers, what it logs, how it ends.

use std::io::{Read, Seek, SeekFrom, Write};
use std::net::TcpStream;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::operator::{INSTALLATION, Installation, Operator};
use super::{Bed, PATIENCE, World};

/// An operator, with what it alone has logged.
pub struct Running {
    operator: Operator,
    from: u64,
    address: String,
}

impl Bed {
    /// Starts the operator and waits until it is ready.
    pub fn ready_operator(&self, env: &[(&str, &str)]) -> Running {
        self.ready_operator_of(INSTALLATION, env)
    }

    /// As [`Bed::ready_operator`], of another installation.
    pub fn ready_operator_of(&self, installation: Installation, env: &[(&str, &str)]) -> Running {
        let from = std::fs::metadata(self.operator_log(installation)).map_or(0, |m| m.len());
        let operator = self.start_operator_of(installation, self.get("TESTBED_KUBE_APISERVER"), &[], env);
        let mut running = Running { operator, from, address: String::new() };
        wait("the operator listens", || {
            let started = running.lines().into_iter().find(|l| l["fields"]["message"] == "started");
            running.address =
                started.and_then(|l| l["fields"]["address"].as_str().map(ToOwned::to_owned)).unwrap_or_default();
            !running.address.is_empty()
        });
        wait("the operator is ready", || running.get("/readyz").is_some_and(|(status, _)| status == 200));
        running
    }

    /// Runs a line of shell as a reader of the documentation would, in the project's folder.
    pub fn shell(&self, line: &str) -> Result<String, String> {
        let folder = |tool| std::path::Path::new(self.get(tool)).parent().expect("a folder").display().to_string();
        let path = [folder("KUBECTL"), folder("HELM"), std::env::var("PATH").unwrap_or_default()].join(":");
        let out = Command::new("bash")
            .args(["-euo", "pipefail", "-c", line])
            .current_dir(super::root())
            .env("KUBECONFIG", self.get("KUBECONFIG"))
            .env("PATH", path)
            .output()
            .expect("run bash");
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
        if out.status.success() { Ok(text) } else { Err(text) }
    }

    /// A file of a test's own, in the bed's folder.
    pub fn scratch(&self, name: &str) -> String {
        self.dir().join(name).to_string_lossy().into_owned()
    }

    /// Has the API server judge an object without keeping it.
    pub fn dry_run(&self, yaml: &str) -> Result<String, String> {
        self.kubectl_with(&["apply", "--dry-run=server", "-f", "-"], Some(yaml))
    }

    /// Waits until the API server takes OAuthClients: for some seconds after its start, and after that of the CRDs, it
    /// does not, where a MutatingAdmissionPolicy is about them.
    pub fn until_clients_are_taken(&self) {
        let client = json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "OAuthClient",
            "metadata": {"name": "taken", "namespace": "default"},
            "spec": {
                "authorizationServerRef": {"name": "corp"}, "owner": {"team": "t", "email": "t@corp.example"},
                "purpose": "A test", "scopes": ["reports.read"], "lifetime": {"ttl": "1h"},
            },
        });
        wait("the API server takes OAuthClients", || self.dry_run(&client.to_string()).is_ok());
    }

    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> &str {
        self.get("KUBECONFIG")
    }

    /// The API server's address.
    pub fn api_server(&self) -> &str {
        self.get("TESTBED_KUBE_APISERVER")
    }

    /// Stops or starts a process of the bed.
    pub fn process(&self, command: &str, name: &str) {
        let testbed = super::root().join("tests/testbed/testbed");
        let done = Command::new(testbed).args([command, name, "--dir"]).arg(self.dir()).status();
        assert!(done.is_ok_and(|s| s.success()), "{command} {name}");
    }
}

impl Running {
    /// Where it answers: host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has logged, each line an object.
    pub fn lines(&self) -> Vec<Value> {
        let mut file = std::fs::File::open(&self.operator.log).expect("the log");
        file.seek(SeekFrom::Start(self.from)).expect("seek");
        let mut text = String::new();
        file.read_to_string(&mut text).expect("UTF-8");
        text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
    }

    /// Whether it has logged this, at this level.
    pub fn said(&self, level: &str, words: &str) -> bool {
        self.lines()
            .iter()
            .any(|l| l["level"] == level && l["fields"]["message"].as_str().is_some_and(|m| m.contains(words)))
    }

    /// Status and body; nothing while it does not answer.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// The sum of a metric's samples that have all these labels.
    pub fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let (_, text) = self.get("/metrics").expect("metrics");
        let samples = text.lines().filter_map(|l| l.rsplit_once(' '));
        let wanted = samples
            .filter(|(series, _)| series.split('{').next() == Some(name) && labels.iter().all(|l| series.contains(l)));
        wanted.map(|(_, value)| value.parse::<f64>().expect("a number")).sum()
    }

    /// Asks it to stop.
    pub fn ask_to_stop(&self) {
        signal("TERM", self.operator.child.id());
    }

    /// Waits until it has ended.
    pub fn ended(mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.operator.child.try_wait().expect("wait") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "the operator does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it in good order.
    pub fn finish(self) {
        self.ask_to_stop();
        assert_eq!(self.ended().code(), Some(0));
    }
}

impl World<'_> {
    /// Freezes the authorization server, or lets it go on: what was asked meanwhile is answered then.
    pub fn freeze_server(&self, frozen: bool) {
        signal(if frozen { "STOP" } else { "CONT" }, self.provider.borrow().pid());
    }

    /// Reasons of the events about an object, oldest first.
    pub fn events(&self, name: &str) -> Vec<String> {
        let selector = format!("involvedObject.name={name}");
        let text = self.kubectl(&["get", "events", "--field-selector", &selector, "-o", "json"]);
        let list: Value = serde_json::from_str(&text).expect("JSON");
        let mut all = list["items"].as_array().expect("items").clone();
        all.sort_by_key(|e| e["eventTime"].as_str().unwrap_or_default().to_owned());
        all.iter().map(|e| e["reason"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// Sends a signal to a process.
pub fn signal(name: &str, pid: u32) {
    let done = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status();
    assert!(done.is_ok_and(|s| s.success()), "signal {name}");
}

/// Waits until this holds.
pub fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
