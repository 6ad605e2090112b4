//! The image: what is in it, and that it runs the operator as a container would, with nothing of this machine's beside
//! what a kubelet gives to a pod. Built and run by `make image-test`; there is no container runtime here, so its file system is entered by
//! chroot, in a user namespace of its own.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use support::{Bed, World, root};

/// The image, unpacked.
struct Image {
    config: Value,
    files: BTreeMap<String, u64>,
    rootfs: PathBuf,
}

impl Image {
    fn unpack() -> Self {
        let out = root().join("target/image");
        let folder = out.join("unpacked");
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("rootfs")).expect("a folder");
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let archive = out.join(format!("oauthclient-operator-{}-{architecture}.tar", env!("CARGO_PKG_VERSION")));
        assert!(archive.exists(), "{}: make image makes it", archive.display());
        tar(&["-xf", &text(&archive), "-C", &text(&folder)]);
        let blob = |digest: &Value| folder.join("blobs").join(digest.as_str().expect("a digest").replace(':', "/"));
        let json =
            |path: &Path| -> Value { serde_json::from_slice(&std::fs::read(path).expect("a blob")).expect("JSON") };
        let index = json(&folder.join("index.json"));
        let manifest = json(&blob(&index["manifests"][0]["digest"]));
        let config = json(&blob(&manifest["config"]["digest"]));
        let mut files = BTreeMap::new();
        let rootfs = folder.join("rootfs");
        for layer in manifest["layers"].as_array().expect("layers") {
            let layer = text(&blob(&layer["digest"]));
            for line in tar(&["-tvf", &layer]).lines().filter(|l| !l.starts_with('d')) {
                let columns: Vec<&str> = line.split_whitespace().collect();
                files.insert(columns[5].to_owned(), columns[2].parse().expect("a size"));
            }
            tar(&["-xf", &layer, "--no-same-owner", "-C", &text(&rootfs)]);
        }
        Self { config, files, rootfs }
    }

    /// The image's command with these arguments, in its file system and with nothing of this process's environment.
    fn command(&self, args: &[&str]) -> Command {
        let entry: Vec<&str> = self.config["config"]["Entrypoint"]
            .as_array()
            .expect("an entry point")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "chroot", &text(&self.rootfs)]).args(entry).args(args).env_clear();
        command.env("PATH", std::env::var("PATH").unwrap_or_default());
        command
    }

    fn says(&self, args: &[&str]) -> String {
        let out = self.command(args).output().expect("run it");
        assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).expect("UTF-8")
    }
}

fn tar(args: &[&str]) -> String {
    let out = Command::new("tar").args(args).output().expect("run tar");
    assert!(out.status.success(), "tar {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[test]
#[ignore = "make image-test builds the image first"]
fn it_holds_one_binary_and_certificates_and_runs_the_operator() {
    let image = Image::unpack();
    let names: Vec<&str> = image.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["etc/ssl/certs/ca-certificates.crt", "oauthclient-operator"]);
    let size: u64 = image.files.values().sum();
    eprintln!("image: {} bytes: {:?}", size, image.files);
    assert!(size < 40_000_000, "{size}");
    let config = &image.config["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/oauthclient-operator"]));
    assert_eq!(config["Labels"]["org.opencontainers.image.version"], env!("CARGO_PKG_VERSION"));
    assert!(
        config["Env"]
            .as_array()
            .is_none_or(|all| all.iter().all(|e| e.as_str().is_some_and(|e| e.starts_with("PATH="))))
    );
    assert_eq!(image.says(&["--version"]), concat!("oauthclient-operator ", env!("CARGO_PKG_VERSION"), "\n"));
    assert!(image.says(&["--help"]).contains("--lease-duration"));
    let binary = std::fs::read(image.rootfs.join("oauthclient-operator")).expect("the binary");
    let holds = |what: &[u8]| binary.windows(what.len()).any(|w| w == what);
    assert!(!holds(b"FAULT_POINT"), "no fault of the test suite's is in it");
    reconciles(&image);
}

/// As a pod: its ServiceAccount's token and CA, the API server's address in its environment, the files by which names are
/// resolved, and a file system that it may not write to.
fn reconciles(image: &Image) {
    let bed = Bed::up("image");
    let token = bed.kubectl(&["-n", "oauthclient-system", "create", "token", "oauthclient-operator", "--duration=1h"]);
    let account = image.rootfs.join("var/run/secrets/kubernetes.io/serviceaccount");
    std::fs::create_dir_all(&account).expect("a folder");
    for (name, content) in [("token", token.trim()), ("namespace", "oauthclient-system"), ("ca.crt", &bed.ca())] {
        std::fs::write(account.join(name), content).expect("a file");
    }
    for name in ["hosts", "resolv.conf"] {
        let from = Path::new("/etc").join(name);
        std::fs::write(image.rootfs.join("etc").join(name), std::fs::read(from).unwrap_or_default()).expect("a file");
    }
    let (host, port) = bed.api_server().trim_start_matches("https://").rsplit_once(':').expect("a port");
    let log = bed.dir().join("operator.log");
    let mut operator = image
        .command(&["--listen", "127.0.0.1:0"])
        .env("KUBERNETES_SERVICE_HOST", host)
        .env("KUBERNETES_SERVICE_PORT", port.trim_end_matches('/'))
        .stdout(Stdio::null())
        .stderr(std::fs::File::create(&log).expect("a log"))
        .spawn()
        .expect("run the operator");
    let w = World::new(&bed, "image");
    w.client("c", &json!({}));
    w.wait("oauthclient/c", "condition=Ready");
    w.token("c-oauth").expect("its credential works");
    w.kubectl(&["delete", "oauthclient/c", "--timeout=120s"]);
    assert!(w.live().is_empty());
    assert_eq!(w.entry("c")["status"]["evidence"]["level"], "Proven");
    support::process::signal("TERM", operator.id());
    assert!(operator.wait().expect("it ends").success());
}
