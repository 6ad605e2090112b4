//! Every secret value that ever was in a Secret of the operator's, and everywhere that none of them may be (G9).

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use super::Bed;
use super::credentials::decoded;
use super::provider::TOKEN;

/// What in a Secret of ours is no secret, by the names of its keys: those of management Secrets, those that tenants' have
/// unless they are called otherwise, and what stories call them then. Every other value counts.
const PUBLIC: [&str; 23] = [
    "client_id",
    "issuer",
    "token_endpoint",
    "scopes",
    "token_endpoint_auth_method",
    "expires_at",
    "type",
    "provider",
    "key_id",
    "registration_client_uri",
    "client_secret_expires_at",
    "key_brought_by",
    "applied",
    "granted",
    "ID",
    "ISS",
    "URL",
    "SCOPES",
    "METHOD",
    "UNTIL",
    "KID",
    "another",
    "OAUTH_CLIENT_ID",
];

/// Collects every secret value that the operator ever stores: those of today, and those that rotated away.
pub struct Collector {
    watch: Arc<Mutex<Watch>>,
    seen: Arc<Mutex<BTreeSet<String>>>,
    thread: JoinHandle<()>,
}

/// The process that watches; none any more once it was told to stop.
#[derive(Default)]
struct Watch {
    child: Option<Child>,
    stopped: bool,
    ended_early: u32,
}

impl Bed {
    /// Begins to collect. Where the API server goes away meanwhile, it goes on when that is back.
    pub fn collect_secrets(&self) -> Collector {
        let (kubectl, kubeconfig) = (self.get("KUBECTL").to_owned(), self.get("KUBECONFIG").to_owned());
        let watch = Arc::new(Mutex::new(Watch::default()));
        let seen = Arc::new(Mutex::new(BTreeSet::from([TOKEN.to_owned()])));
        let (told, into) = (watch.clone(), seen.clone());
        let thread = std::thread::spawn(move || {
            loop {
                let out = {
                    let mut watch = told.lock().expect("no panic in here");
                    if watch.stopped {
                        return;
                    }
                    let mut child = Command::new(&kubectl)
                        .args(["get", "secrets", "-A", "--watch", "-o", "json"])
                        .env("KUBECONFIG", &kubeconfig)
                        .stdout(Stdio::piped())
                        .stderr(Stdio::null())
                        .spawn()
                        .expect("watch Secrets");
                    let out = child.stdout.take().expect("stdout");
                    watch.child = Some(child);
                    out
                };
                for secret in serde_json::Deserializer::from_reader(out).into_iter::<Value>().map_while(Result::ok) {
                    let values = secret_values(&secret);
                    into.lock().expect("no panic in here").extend(values);
                }
                let mut watch = told.lock().expect("no panic in here");
                watch.end();
                watch.ended_early += u32::from(!watch.stopped);
                drop(watch);
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
        });
        Collector { watch, seen, thread }
    }

    /// Everything that people and programs other than Secrets' readers see: all objects of all other kinds, the
    /// operator's log and audit trail, and the API server's audit log.
    fn everything_public(&self) -> String {
        let kinds = self.kubectl(&["api-resources", "--verbs=list", "-o", "name"]);
        let kinds: Vec<&str> = kinds.lines().filter(|k| *k != "secrets").collect();
        assert!(kinds.len() > 30, "{kinds:?}");
        let mut all = std::fs::read_to_string(self.dir().join("operator.log")).expect("the operator's log");
        all += &std::fs::read_to_string(self.audit_trail()).expect("the operator's audit trail");
        all += &std::fs::read_to_string(self.get("TESTBED_AUDIT_LOG")).expect("the audit log");
        all + &self.kubectl(&["get", &kinds.join(","), "-A", "-o", "yaml"])
    }
}

impl Watch {
    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Collector {
    /// Looks for what was collected in everything public, and in these pages besides. Where not the whole of a test ran,
    /// little may have been collected.
    pub fn nothing_leaked(self, bed: &Bed, pages: &str, whole: bool) {
        let secrets = self.stop();
        let public = bed.everything_public() + pages;
        eprintln!("leaks: looking for {} secret values in {} kB", secrets.len(), public.len() / 1000);
        let enough = secrets.len() > 10 && public.len() > 100_000;
        assert!(enough || !whole, "the leak test has something to look for, and where");
        let before = found_after(bed, &secrets, &public);
        assert!(before.is_empty(), "secret values are outside of Secrets, after: {before:#?}");
    }

    /// As [`Collector::nothing_leaked`], where the API server was there all the time: then the watch must have lasted, since
    /// what came in a gap would be missing.
    pub fn nothing_leaked_and_nothing_missed(self, bed: &Bed, pages: &str, whole: bool) {
        let gaps = self.watch.lock().expect("no panic in here").ended_early;
        assert_eq!(gaps, 0, "the watch on Secrets ended before the stories did");
        self.nothing_leaked(bed, pages, whole);
    }

    fn stop(self) -> BTreeSet<String> {
        {
            let mut watch = self.watch.lock().expect("no panic in here");
            watch.stopped = true;
            watch.end();
        }
        self.thread.join().expect("a collector");
        std::mem::take(&mut *self.seen.lock().expect("no panic in here"))
    }
}

/// What stands before each of these values in a text, where it is in it. By grep: hundreds of values in hundreds of
/// megabytes.
fn found_after(bed: &Bed, secrets: &BTreeSet<String>, public: &str) -> Vec<String> {
    let (values, text) = (bed.scratch("leaks.values"), bed.scratch("leaks.text"));
    let lines: Vec<&str> = secrets.iter().map(String::as_str).collect();
    std::fs::write(&values, lines.join("\n")).expect("write the values");
    std::fs::write(&text, public).expect("write the text");
    let grep = Command::new("grep").args(["-F", "-o", "-b", "-a", "-f", &values, &text]).env("LC_ALL", "C").output();
    let grep = grep.expect("run grep");
    for file in [values, text] {
        std::fs::remove_file(file).expect("remove a file");
    }
    assert!(matches!(grep.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&grep.stderr));
    let found = String::from_utf8_lossy(&grep.stdout).into_owned();
    let places = found.lines().filter_map(|l| l.split(':').next()?.parse::<usize>().ok());
    let before = places.map(|at| String::from_utf8_lossy(&public.as_bytes()[at.saturating_sub(200)..at]).into_owned());
    before.take(20).collect()
}

/// Values that are no public ones, plain and in base64, of the Secrets that the operator makes and of those that it is
/// given in its own namespace; of a private key each line. What is shorter than a secret is none.
fn secret_values(secret: &Value) -> Vec<String> {
    let metadata = &secret["metadata"];
    let ours = metadata["labels"]["app.kubernetes.io/managed-by"] == "oauthclient-operator";
    let mut all = Vec::new();
    if !ours && metadata["namespace"] != "oauthclient-system" {
        return all;
    }
    for (key, bytes) in decoded(secret).into_iter().filter(|(key, _)| !PUBLIC.contains(&key.as_str())) {
        let plain = String::from_utf8(bytes).expect("UTF-8");
        let lines: Vec<_> =
            plain.lines().filter(|l| l.len() >= 16 && !l.contains("-----")).map(ToOwned::to_owned).collect();
        if !lines.is_empty() {
            all.push(BASE64_STANDARD.encode(&plain));
            all.extend(lines);
        } else if ours && plain.len() < 16 && metadata["labels"]["oauthclient.dev/role"] == "management" {
            panic!("{key} in a Secret of ours is too short to be looked for; a secret that short is none");
        }
    }
    all
}
