//! Flags explain themselves, and what is wrong with them is said: what, where, and what to do next.

use std::process::{Command, Output};

fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_oauthclient-operator"))
        .args(args)
        .env_remove("KUBECONFIG")
        .env("HOME", "/nonexistent")
        .envs(env.iter().copied())
        .output()
        .expect("run the operator")
}

#[test]
fn help_explains_every_flag() {
    let text = String::from_utf8(run(&["--help"], &[]).stdout).expect("UTF-8");
    insta::assert_snapshot!(text);
    // Each flag has an environment variable, and a sentence.
    let flags = text.split("\n      --").skip(1).filter(|f| !f.starts_with("help") && !f.starts_with("version"));
    for flag in flags {
        let variable = ["[env: OPERATOR_", "[env: OTEL_"].iter().find_map(|v| flag.split_once(v));
        let (words, rest) = variable.unwrap_or_else(|| panic!("no variable: {flag}"));
        assert!(words.split_whitespace().count() > 5 && !rest.is_empty(), "{flag}");
    }
}

#[rstest::rstest]
#[case(&["--watch-namespaces", "team-a,Team_B"], "--watch-namespaces: \"Team_B\" is no name of a namespace; give")]
#[case(&["--workload-kind", "PipelineRun"], "--workload-kind: workload kind \"PipelineRun\" is not of the form group/version/Kind")]
#[case(&["--log", "a=b=c"], "--log \"a=b=c\"")]
#[case(&["--listen", "192.0.2.1:1"], "--listen 192.0.2.1:1: ")]
#[case(&["--listen", "8080"], "invalid value '8080' for '--listen <ADDRESS:PORT>'")]
#[case(&["--otlp-endpoint", "collector:4318"], "for '--otlp-endpoint <URL>': give scheme, host and port")]
#[case(&["--otlp-endpoint", "https://me:secret@collector"], "for '--otlp-endpoint <URL>': give scheme, host and port")]
#[case(&["--otlp-endpoint", "collector"], "invalid value 'collector' for '--otlp-endpoint <URL>'")]
#[case(&["--listen", "127.0.0.1:0"], "find the cluster: ")]
fn what_is_wrong_is_said(#[case] args: &[&str], #[case] says: &str) {
    let out = run(args, &[]);
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success());
    assert!(text.contains(says), "{text}");
    assert!(!text.contains("panicked") && !text.contains("Error {"), "{text}");
}

#[test]
fn a_cluster_that_is_away_is_named() {
    let path = std::env::temp_dir().join(format!("away-{}.kubeconfig", std::process::id()));
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    std::fs::write(&path, config.to_string()).expect("write a kubeconfig");
    let out = run(&["--listen", "127.0.0.1:0"], &[("KUBECONFIG", &path.to_string_lossy())]);
    let _ = std::fs::remove_file(path);
    let text = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success());
    assert!(
        text.contains("installation's id in namespace oauthclient-system") && text.contains("127.0.0.1:1"),
        "{text}"
    );
}
