//! The operator as a process of its own.

use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::json;

use super::Bed;

impl Bed {
    /// Starts the operator, as its ServiceAccount with just its rights.
    pub fn operator(&self, env: &[(&str, &str)]) -> Operator {
        self.operator_at(self.get("TESTBED_KUBE_APISERVER"), env)
    }

    /// Starts the operator with this URL for the API server's: that of a proxy before it.
    pub fn operator_at(&self, api: &str, env: &[(&str, &str)]) -> Operator {
        let token =
            self.kubectl(&["-n", "oauthclient-system", "create", "token", "oauthclient-operator", "--duration=6h"]);
        let cluster = json!({"server": api, "certificate-authority": self.get("TESTBED_CA")});
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "operator",
            "clusters": [{"name": "bed", "cluster": cluster}],
            "users": [{"name": "operator", "user": {"token": token.trim()}}],
            "contexts": [{"name": "operator", "context": {"cluster": "bed", "user": "operator"}}],
        });
        let path = self.dir().join("operator.kubeconfig");
        std::fs::write(&path, config.to_string()).expect("write a kubeconfig");
        let log = self.dir().join("operator.log");
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
