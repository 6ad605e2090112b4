//! A client ends with its workload, of whatever kind.

use serde_json::{Value, json};

use crate::support::World;
use crate::{Story, stories};

/// The stories told here.
pub const STORIES: &[Story] = &stories![
    job_end_revokes_with_proof,
    every_builtin_kind_bounds_a_client,
    a_job_of_the_same_name_is_another,
    other_kinds_end_by_condition_or_phase,
    a_kind_that_is_not_watched_is_refused,
    nothing_before_the_workload,
    a_workload_that_has_finished_gets_none,
];

fn job_end_revokes_with_proof(w: &World) {
    w.job("work", "forever");
    w.client("c", &json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "work"}}));
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(w.live().len(), 1);
    assert!(w.token("c-oauth").is_ok());
    let secret = w.secret("c-oauth");
    w.finish_job("work");
    w.wait("oauthclient/c", "condition=Revoked");
    assert!(w.live().is_empty());
    assert!(w.token_with(&secret).is_err());
    assert!(!w.exists("secret/c-oauth"));
    let entry = w.entry("c");
    let evidence = &entry["status"]["evidence"];
    assert_eq!(evidence["level"], "Proven", "{entry:#}");
    // What was asked, and what was answered.
    assert_eq!(evidence["before"]["method"], "Revocation");
    assert_eq!(evidence["before"]["answer"]["status"], 200);
    assert_eq!(evidence["deletion"]["status"], 204);
    for refused in ["after", "neverExisted"] {
        assert_eq!(
            (&evidence[refused]["status"], &evidence[refused]["error"]),
            (&json!(401), &json!("invalid_client"))
        );
    }
    let time = |value: &Value| chrono::DateTime::parse_from_rfc3339(value.as_str().expect("a time")).expect("a time");
    assert!(time(&evidence["before"]["answer"]["at"]) <= time(&evidence["deletion"]["answeredAt"]), "{evidence:#}");
    assert!(time(&evidence["deletion"]["answeredAt"]) <= time(&evidence["after"]["at"]), "{evidence:#}");
    assert_eq!(entry["status"]["end"]["reason"], "WorkloadFinished");
    let ready = w.get("oauthclient/c")["status"]["conditions"].as_array().unwrap().iter().any(|c| c["type"] == "Ready");
    assert!(!ready, "an ended client has no Ready");
}

/// A workload of each kind that is built in, with pods that stay.
fn workload(kind: &str) -> Value {
    let name = kind.to_lowercase();
    let labels = json!({"app": name});
    let pod = json!({"containers": [{"name": "main", "image": "none.example/none"}]});
    let template = json!({"metadata": {"labels": labels}, "spec": pod});
    let selector = json!({"matchLabels": labels});
    let (version, spec) = match kind {
        "Pod" => ("v1", pod),
        "CronJob" => {
            let mut template = template;
            template["spec"]["restartPolicy"] = json!("Never");
            let job = json!({"spec": {"template": template}});
            ("batch/v1", json!({"schedule": "0 0 1 1 *", "jobTemplate": job}))
        }
        "StatefulSet" => ("apps/v1", json!({"selector": selector, "template": template, "serviceName": name})),
        _ => ("apps/v1", json!({"selector": selector, "template": template})),
    };
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn bound_to(w: &World, name: &str, object: &Value) {
    let reference =
        json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "name": object["metadata"]["name"]});
    w.client(name, &json!({"workloadRef": reference}));
}

fn every_builtin_kind_bounds_a_client(w: &World) {
    let lasting = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "CronJob"];
    for kind in lasting {
        let object = workload(kind);
        w.apply(&object).expect(kind);
        bound_to(w, &kind.to_lowercase(), &object);
    }
    for how in ["succeeds", "fails", "deleted"] {
        let mut pod = workload("Pod");
        pod["metadata"]["name"] = json!(how);
        w.apply(&pod).expect("a Pod");
        bound_to(w, how, &pod);
    }
    w.job("failing", "forever");
    bound_to(w, "failing", &w.get("job/failing"));
    w.wait("oauthclients --all", "condition=Ready");
    // A roll-out that is through, and a CronJob whose Job is through, go on.
    for (kind, replicas) in [("deployment", 1), ("statefulset", 1), ("replicaset", 1)] {
        w.until("its pods run", || w.get(&format!("{kind}/{kind}"))["status"]["readyReplicas"] == replicas);
    }
    w.kubectl(&["create", "job", "once", "--from=cronjob/cronjob"]);
    w.wait("job/once", "condition=Complete");
    w.kubectl(&["annotate", "pod/succeeds", "testbed.oauthclient.dev/run=complete"]);
    w.kubectl(&["annotate", "pod/fails", "testbed.oauthclient.dev/run=fail"]);
    w.end_job("failing", "fail");
    for name in ["succeeds", "fails", "failing"] {
        w.until_reason(name, "Revoked", "WorkloadFinished");
    }
    w.kubectl(&["delete", "pod/deleted"]);
    w.until_reason("deleted", "Revoked", "WorkloadGone");
    assert_eq!(w.live().len(), lasting.len(), "those that run on keep their clients");
    for kind in lasting {
        let kind = kind.to_lowercase();
        assert!(w.token(&format!("{kind}-oauth")).is_ok(), "{kind}");
        w.kubectl(&["delete", &format!("{kind}/{kind}")]);
        w.until_reason(&kind, "Revoked", "WorkloadGone");
        assert_eq!(w.entry(&kind)["status"]["evidence"]["level"], "Proven", "{kind}");
    }
    assert!(w.live().is_empty());
}

fn a_job_of_the_same_name_is_another(w: &World) {
    w.job("work", "forever");
    let job = w.get("job/work");
    bound_to(w, "c", &job);
    w.wait("oauthclient/c", "condition=Ready");
    assert_eq!(w.entry("c")["spec"]["workload"]["uid"], job["metadata"]["uid"], "a workload is a UID");
    w.kubectl(&["delete", "job/work"]);
    w.job("work", "forever");
    w.until_reason("c", "Revoked", "WorkloadGone");
    bound_to(w, "next", &job);
    w.wait("oauthclient/next", "condition=Ready");
    assert_eq!(w.live().len(), 1, "the first client does not come back with the name");
    w.wait("oauthclient/c", "condition=Revoked");
}

fn pipeline_run(w: &World, name: &str) -> Value {
    let run = json!({"apiVersion": "testing.example/v1", "kind": "PipelineRun", "metadata": {"name": name}});
    w.apply(&run).expect("a PipelineRun");
    run
}

fn report(w: &World, name: &str, status: &Value) {
    let patch = json!({"status": status}).to_string();
    w.kubectl(&["patch", &format!("pipelinerun/{name}"), "--subresource=status", "--type=merge", "-p", &patch]);
}

fn other_kinds_end_by_condition_or_phase(w: &World) {
    let ends = [
        ("succeeded", json!({"conditions": [{"type": "Succeeded", "status": "True"}]})),
        ("failed", json!({"conditions": [{"type": "Succeeded", "status": "False"}]})),
        ("phase", json!({"phase": "Error"})),
    ];
    for (name, _) in &ends {
        let run = pipeline_run(w, name);
        report(w, name, &json!({"phase": "Running", "conditions": [{"type": "Succeeded", "status": "Unknown"}]}));
        bound_to(w, name, &run);
    }
    bound_to(w, "deleted", &pipeline_run(w, "deleted"));
    w.wait("oauthclients --all", "condition=Ready");
    assert_eq!(w.live().len(), 4);
    for (name, status) in &ends {
        report(w, name, status);
        w.until_reason(name, "Revoked", "WorkloadFinished");
        assert_eq!(w.entry(name)["status"]["evidence"]["level"], "Proven", "{name}");
    }
    w.kubectl(&["delete", "pipelinerun/deleted"]);
    w.until_reason("deleted", "Revoked", "WorkloadGone");
    assert!(w.live().is_empty());
}

fn a_kind_that_is_not_watched_is_refused(w: &World) {
    w.client("c", &json!({"workloadRef": {"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "name": "w"}}));
    let says = w.until_reason("c", "Stalled", "WorkloadKindNotAllowed");
    assert!(says.contains("argoproj.io/v1alpha1/Workflow") && says.contains("--workload-kind"), "{says}");
    assert!(says.contains("batch/v1/Job"), "it says which kinds there are: {says}");
    assert!(w.live().is_empty() && w.entries("c").is_empty());
}

fn nothing_before_the_workload(w: &World) {
    w.client("c", &json!({"workloadRef": {"apiVersion": "batch/v1", "kind": "Job", "name": "late"}}));
    w.until("the condition says what is missing", || {
        w.get("oauthclient/c")["status"]["message"].as_str().is_some_and(|m| m.contains("Job late"))
    });
    assert!(w.client_condition("c", "Stalled").is_none(), "what may come by itself is waited for");
    assert!(w.live().is_empty() && w.entries("c").is_empty());
    w.job("late", "forever");
    w.wait("oauthclient/c", "condition=Ready");
    w.kubectl(&["delete", "job/late"]);
    w.wait("oauthclient/c", "condition=Revoked");
    assert!(w.live().is_empty());
}

fn a_workload_that_has_finished_gets_none(w: &World) {
    w.job("done", "complete");
    w.wait("job/done", "condition=Complete");
    bound_to(w, "c", &w.get("job/done"));
    let says = w.until_reason("c", "Stalled", "WorkloadFinished");
    assert!(says.contains("Job done has finished already"), "{says}");
    assert!(w.live().is_empty() && w.entries("c").is_empty());
}
