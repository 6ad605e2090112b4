//! A real Prometheus, and its promtool.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Bed, PATIENCE};

/// One of the two programs.
pub fn program(name: &str) -> PathBuf {
    let testbed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testbed/testbed");
    let out = Command::new(testbed).args(["part", "prometheus"]).output().expect("run the test bed");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Path::new(String::from_utf8_lossy(&out.stdout).trim()).join(name)
}

/// A Prometheus that scrapes every second, with the rules as they are shipped.
pub struct Prometheus {
    child: Child,
    address: String,
    targets: PathBuf,
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
}

impl Prometheus {
    /// Starts it in the bed's folder, with nothing to scrape.
    pub fn start(bed: &Bed, rules: &Path) -> Self {
        let dir = bed.dir().join("prometheus");
        std::fs::create_dir_all(&dir).expect("a folder");
        let targets = dir.join("targets.json");
        std::fs::write(&targets, "[]").expect("write");
        let config = json!({
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": [rules],
            "scrape_configs": [{"job_name": "operator", "file_sd_configs": [{"files": [targets]}]}],
        });
        // YAML, of which JSON is a part.
        std::fs::write(dir.join("prometheus.yml"), config.to_string()).expect("write");
        let log = dir.join("log");
        let child = Command::new(program("prometheus"))
            .args(["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"])
            .current_dir(&dir)
            .stderr(std::fs::File::create(&log).expect("a log"))
            .spawn()
            .expect("start Prometheus");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("an HTTP client");
        let mut prometheus = Self { child, address: String::new(), targets, runtime, http };
        prometheus.until("Prometheus is ready", |p| {
            let said = std::fs::read_to_string(&log).expect("the log");
            assert!(p.child.try_wait().is_ok_and(|s| s.is_none()), "Prometheus has ended: {said}");
            let line = said.lines().find(|l| l.contains("Listening on"));
            let address = line.and_then(|l| l.split("address=").nth(1)).unwrap_or_default();
            address.split_whitespace().next().unwrap_or_default().clone_into(&mut p.address);
            !p.address.is_empty() && said.contains("Server is ready")
        });
        prometheus
    }

    fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let began = Instant::now();
        while !holds(self) {
            assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Scrapes these from now on, by host and port.
    pub fn scrape(&self, addresses: &[&str]) {
        let new = self.targets.with_extension("new");
        std::fs::write(&new, json!([{"targets": addresses}]).to_string()).expect("write");
        std::fs::rename(new, &self.targets).expect("rename");
    }

    /// What an expression gives now.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let answer = self.ask("query", &[("query", expression)]);
        answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{expression}: {answer}")).clone()
    }

    /// What an expression gave in the last minute, by steps of a second, as a dashboard asks for it.
    pub fn range(&self, expression: &str) -> Vec<Value> {
        let now = crate::support::now().timestamp();
        let (start, end) = ((now - 60).to_string(), now.to_string());
        let form = [("query", expression), ("start", start.as_str()), ("end", end.as_str()), ("step", "1")];
        let answer = self.ask("query_range", &form);
        answer["data"]["result"].as_array().unwrap_or_else(|| panic!("{expression}: {answer}")).clone()
    }

    /// The rules as they stand there: health, state, alerts.
    pub fn rules(&self) -> Vec<Value> {
        let answer = self.runtime.block_on(async {
            let url = format!("http://{}/api/v1/rules", self.address);
            self.http.get(url).send().await.expect("ask Prometheus").json::<Value>().await.expect("JSON")
        });
        let groups = answer["data"]["groups"].as_array().expect("groups").clone();
        groups.iter().flat_map(|g| g["rules"].as_array().expect("rules").clone()).collect()
    }

    fn ask(&self, what: &str, form: &[(&str, &str)]) -> Value {
        self.runtime.block_on(async {
            let url = format!("http://{}/api/v1/{what}", self.address);
            self.http.post(url).form(form).send().await.expect("ask Prometheus").json().await.expect("JSON")
        })
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
