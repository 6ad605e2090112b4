//! What the chart is without a cluster: `deploy/` for everybody else, and the custom resource definitions as they are.

use serde_json::Value;

use crate::render::{self, CHART, ROOT, helm};

fn file(path: &str) -> String {
    std::fs::read_to_string(format!("{ROOT}/{path}")).unwrap_or_else(|e| panic!("{path}: {e}"))
}

#[test]
fn helm_finds_no_fault() {
    let said = helm(&["lint", "--strict", CHART]).expect("lint");
    assert!(said.contains("0 chart(s) failed"), "{said}");
}

/// `make generate` writes deploy/ from the chart; here nobody had to remember.
#[test]
fn deploy_is_the_chart_with_its_defaults() {
    let mut from_chart = render::objects("namespace: {create: true}\nadmission: {mutating: true}");
    from_chart.retain(|o| o["metadata"]["annotations"]["helm.sh/hook"].is_null());
    from_chart.retain(|o| {
        o["kind"] != "CustomResourceDefinition" && o["metadata"]["name"] != "oauthclient-operator-uninstall"
    });
    let names = ["operator", "process", "governance", "requesters-policy", "finalizer-policy", "guard"];
    let mut deployed: Vec<Value> =
        names.iter().flat_map(|name| render::parse(&file(&format!("deploy/{name}.yaml")))).collect();
    from_chart.sort_by_key(render::name);
    deployed.sort_by_key(render::name);
    let told = |all: &[Value]| all.iter().map(render::name).collect::<Vec<_>>();
    assert_eq!(told(&deployed), told(&from_chart));
    for (deployed, from_chart) in deployed.iter().zip(&from_chart) {
        assert_eq!(deployed, from_chart, "run `make generate`");
    }
    let files = std::fs::read_dir(format!("{ROOT}/deploy")).expect("deploy/").count();
    assert_eq!(files, names.len(), "a file of deploy/ that is not looked at here");
}

#[test]
fn kinds_are_those_of_crds_and_stay() {
    let mut rendered = render::objects("");
    rendered.retain(|o| o["kind"] == "CustomResourceDefinition");
    assert_eq!(rendered.len(), 5);
    for mut crd in rendered {
        let keep = crd["metadata"].as_object_mut().expect("metadata").remove("annotations");
        assert_eq!(keep, Some(serde_json::json!({"helm.sh/resource-policy": "keep"})));
        let plural = crd["spec"]["names"]["plural"].as_str().expect("a plural").to_owned();
        let (ours, charts) = (format!("crds/{plural}.yaml"), format!("{CHART}/files/crds/{plural}.yaml"));
        assert_eq!(file(&ours), std::fs::read_to_string(charts).expect("the chart's"), "run `make generate`");
        assert_eq!(crd, serde_yaml::from_str::<Value>(&file(&ours)).expect("YAML"));
    }
}

#[test]
fn versions_are_the_operators() {
    let chart: Value = serde_yaml::from_str(&file("charts/oauthclient-operator/Chart.yaml")).expect("YAML");
    for version in ["version", "appVersion"] {
        assert_eq!(chart[version], env!("CARGO_PKG_VERSION"));
    }
}

/// Where the API server can put stamps and finalizers on, it does; where it cannot, nothing it does not know is sent.
#[test]
fn older_kubernetes_gets_what_it_knows() {
    let mutating = |flags: &[&str]| {
        let all = render::parse(&render::text_with("", flags).expect("rendered"));
        all.iter().filter(|o| o["kind"] == "MutatingAdmissionPolicy").count()
    };
    let known = "--api-versions=admissionregistration.k8s.io/v1/MutatingAdmissionPolicy";
    assert_eq!(mutating(&["--kube-version=1.36.0", known]), 3);
    assert_eq!(mutating(&["--kube-version=1.35.4"]), 0);
    let too_old = render::text_with("", &["--kube-version=1.29.9"]).expect_err("policies need 1.30");
    assert!(too_old.contains("kubeVersion: >=1.30.0-0"), "{too_old}");
}

/// Approvals count from when the policy about approvers was last changed; an upgrade that has nothing to change in it must not.
#[test]
fn policies_know_no_version() {
    let first = render::text_with("commonLabels: {a: b}\nnameOverride: another", &[]).expect("rendered");
    let policies = |yaml: &str| {
        let mut all = render::parse(yaml);
        all.retain(|o| o["metadata"]["name"] == "oauthclient-approvers");
        assert_eq!(all.len(), 2, "the policy and its binding");
        all
    };
    assert_eq!(policies(&first), policies(&render::text("").expect("rendered")));
    assert!(policies(&first).iter().all(|o| o["metadata"]["labels"].is_null()), "labels change");
}

/// Restricted, whatever the values: nothing of it is for anybody to loosen.
#[test]
fn pods_are_restricted() {
    let mut pods = 0;
    for object in render::objects("") {
        let pod = match object["kind"].as_str() {
            Some("Deployment") => &object["spec"]["template"]["spec"],
            Some("Pod") => &object["spec"],
            _ => continue,
        };
        pods += 1;
        let context = &pod["securityContext"];
        assert_eq!((&context["runAsNonRoot"], &context["runAsUser"]), (&true.into(), &65532.into()));
        assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
        for container in pod["containers"].as_array().expect("containers") {
            let context = &container["securityContext"];
            assert_eq!(
                (&context["allowPrivilegeEscalation"], &context["readOnlyRootFilesystem"]),
                (&false.into(), &true.into())
            );
            assert_eq!(context["capabilities"]["drop"], serde_json::json!(["ALL"]));
            assert!(container["resources"]["limits"]["memory"].is_string());
        }
    }
    assert_eq!(pods, 2);
}
