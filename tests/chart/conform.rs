//! What is rendered is what Kubernetes knows, by the schemas of the oldest version that the chart is for and of the newest:
//! kubeconform. The test bed's own API server is asked as well, by `life`; it is of one version.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::render;
use crate::values;

/// What there are schemas of, oldest first: each is a folder of the part.
const VERSIONS: &str = include_str!("../testbed/kubeconform/versions");
/// Of no Kubernetes: those of the Prometheus operator, which `life` puts before an API server that has them.
const OTHERS: &str = "ServiceMonitor,PodMonitor,PrometheusRule";

fn kubeconform(version: &str, yaml: &str) -> Output {
    let part = render::part("kubeconform");
    let location = format!("{part}/{version}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json");
    let mut run = Command::new(format!("{part}/kubeconform"))
        .args(["-strict", "-summary", "-skip", OTHERS, "-schema-location", &location])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run kubeconform");
    run.stdin.take().expect("stdin").write_all(yaml.as_bytes()).expect("ask");
    run.wait_with_output().expect("an answer")
}

#[test]
fn every_value_is_known_to_the_oldest_kubernetes_and_the_newest() {
    assert_eq!(VERSIONS.lines().count(), 2);
    for version in VERSIONS.lines() {
        let mut all = BTreeSet::new();
        // Who asks an older API server for what it does not have is told so by it.
        let asked_for_more = |values: &str| version < "v1.36" && values.contains("mutating: true");
        for values in values::all().into_iter().filter(|values| !asked_for_more(values)) {
            let text =
                render::text_with(values, &["--kube-version", version]).unwrap_or_else(|e| panic!("{values}: {e}"));
            all.extend(text.split("\n---\n").map(|object| object.trim().to_owned()));
        }
        assert!(all.len() > 100, "{}", all.len());
        let said = kubeconform(version, &all.into_iter().collect::<Vec<_>>().join("\n---\n"));
        assert!(said.status.success(), "{version}: {}", String::from_utf8_lossy(&said.stdout));
    }
}

#[test]
fn what_it_does_not_know_it_refuses() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: b, imagePolicy: Always}]}";
    let oldest = VERSIONS.lines().next().expect("a version");
    let said = kubeconform(oldest, pod);
    assert!(!said.status.success() && String::from_utf8_lossy(&said.stdout).contains("imagePolicy"), "{said:?}");
    let newer = "apiVersion: admissionregistration.k8s.io/v1\nkind: MutatingAdmissionPolicy\nmetadata: {name: a}";
    assert!(!kubeconform(oldest, newer).status.success(), "1.30 has none");
}
