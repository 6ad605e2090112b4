//! What a release goes by: the version, the changelog, and the commands of the workflow.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

/// What a command of `release/` says, and whether it succeeds.
fn release(command: &str, version: &str) -> (bool, String) {
    let out = Command::new(format!("release/{command}")).arg(version).output().expect("run it");
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8(text).expect("UTF-8"))
}

#[test]
fn notes_are_the_changelogs_section() {
    let changelog = std::fs::read_to_string("CHANGELOG.md").expect("the changelog");
    let first = changelog.lines().find_map(|l| l.strip_prefix("## ")).expect("a section");
    let (found, notes) = release("notes", first);
    assert!(found && notes.trim().lines().count() > 1 && !notes.contains("## "), "{notes}");
    assert!(notes.lines().all(|line| changelog.contains(line)));
    let (found, why) = release("notes", "99.0.0");
    assert!(!found && why.contains("CHANGELOG.md says nothing of 99.0.0"), "{why}");
}

#[test]
fn everything_speaks_of_one_version() {
    let (_, said) = release("check", env!("CARGO_PKG_VERSION"));
    assert!(!said.contains("Cargo.toml") && !said.contains("Chart.yaml"), "{said}");
    let (same, why) = release("check", "99.0.0");
    let all = [
        "Cargo.toml has version",
        "Chart.yaml has version",
        "Chart.yaml has appVersion",
        "CHANGELOG.md has no section",
    ];
    assert!(!same && all.iter().all(|what| why.contains(what)), "{why}");
}

/// Commands of this repository that the workflow runs are there, and it has no write right that a job does not need.
#[test]
fn the_workflow_runs_what_is_there() {
    let text = std::fs::read_to_string(".github/workflows/release.yaml").expect("the workflow");
    let workflow: Value = serde_yaml::from_str(&text).expect("YAML");
    assert_eq!(workflow["permissions"], serde_json::json!({"contents": "read"}));
    let mut there = 0;
    for word in
        text.split_whitespace().filter(|w| ["release/", "image/", ".ci/", "tests/"].iter().any(|f| w.starts_with(f)))
    {
        let mode = std::fs::metadata(word).unwrap_or_else(|e| panic!("{word}: {e}")).permissions().mode();
        assert!(mode & 0o111 != 0, "{word} cannot be run");
        there += 1;
    }
    assert!(there >= 6, "{there}");
    let makefile = std::fs::read_to_string("Makefile").expect("the Makefile");
    for target in text.split("make ").skip(1).filter_map(|rest| rest.split_whitespace().next()) {
        assert!(makefile.contains(&format!("\n{target}: ")), "make {target}");
    }
}
