//! Helm without a cluster.

use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use serde_json::Value;

/// The project's folder.
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The chart.
pub const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/oauthclient-operator");

/// Where a part of the test bed is, once it is built.
pub fn part(name: &str) -> String {
    let testbed = Path::new(ROOT).join("tests/testbed/testbed");
    let out = Command::new(testbed).args(["part", name]).output().expect("run the test bed");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("a path").trim().to_owned()
}

/// Runs helm; its output, or what it said.
pub fn helm(args: &[&str]) -> Result<String, String> {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| format!("{}/helm", part("helm")));
    let out = Command::new(&*PROGRAM).args(args).env_remove("KUBECONFIG").output().expect("run helm");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    if out.status.success() { Ok(text(&out.stdout)) } else { Err(text(&out.stderr)) }
}

/// What the chart renders with these values, in YAML, as text.
pub fn text(values: &str) -> Result<String, String> {
    text_with(values, &[])
}

/// As [`text`], with further flags.
pub fn text_with(values: &str, flags: &[&str]) -> Result<String, String> {
    let mut file = tempfile(values);
    let template = ["template", "oauthclient-operator", CHART, "-n", "oauthclient-system", "-f", &file.path];
    let rendered = helm(&[&template, flags].concat());
    file.gone();
    rendered
}

/// The objects that the chart renders with these values.
pub fn objects(values: &str) -> Vec<Value> {
    parse(&text(values).unwrap_or_else(|e| panic!("{values}: {e}")))
}

/// The objects of a YAML stream.
pub fn parse(yaml: &str) -> Vec<Value> {
    yaml.split("\n---\n")
        .map(|document| serde_yaml::from_str(document).unwrap_or_else(|e| panic!("{e}: {document}")))
        .filter(|object: &Value| !object.is_null())
        .collect()
}

/// `Kind/name` of an object, with its namespace where that is not the operator's.
pub fn name(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    match text("/metadata/namespace").as_str() {
        "" | "oauthclient-system" => format!("{kind}/{name}"),
        other => format!("{kind}/{other}/{name}"),
    }
}

/// A file with this in it, until [`File::gone`].
struct File {
    path: String,
}

fn tempfile(text: &str) -> File {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("chart-values-{}-{}.yaml", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = Path::new(ROOT).join("target").join(name).display().to_string();
    std::fs::write(&path, text).expect("write values");
    File { path }
}

impl File {
    fn gone(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
