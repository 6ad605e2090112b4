//! The test bed keeps what its README says: its own self-test, and a cluster that `KUBECONFIG` names.

#[path = "support/mod.rs"]
mod support;

use std::path::Path;
use std::process::Command;

use support::Bed;

#[test]
fn it_works() {
    let done = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testbed/selftest")).status();
    assert!(done.is_ok_and(|s| s.success()));
}

/// The cluster of one bed stands in for somebody's own; the file is put elsewhere, since a bed's own does not count.
#[test]
fn a_cluster_that_is_given_is_used_and_left_alone() {
    let theirs = Bed::up("theirs");
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("target");
    let kubeconfig = target.join("their-kubeconfig");
    std::fs::copy(theirs.kubeconfig(), &kubeconfig).expect("copy a kubeconfig");
    let dir = target.join("testbed-given");
    let testbed = |command: &str| {
        let mut run = Command::new("tests/testbed/testbed");
        run.current_dir(env!("CARGO_MANIFEST_DIR")).args([command, "--dir"]).arg(&dir);
        run.env("KUBECONFIG", &kubeconfig).env_remove("TESTBED_USE_KUBECONFIG").output().expect("run the test bed")
    };
    theirs.kubectl(&["create", "configmap", "theirs"]);
    let up = testbed("up");
    let env = std::fs::read_to_string(dir.join("env")).unwrap_or_default();
    let down = testbed("down");
    assert!(up.status.success() && down.status.success(), "{up:?} {down:?}");
    assert!(env.contains(theirs.api_server()), "{env}");
    assert!(env.contains("TESTBED_ISSUER="), "an authorization server is started all the same: {env}");
    assert!(String::from_utf8_lossy(&up.stderr).contains(theirs.api_server()), "it says which: {up:?}");
    theirs.kubectl(&["get", "configmap", "theirs"]);
    let _ = std::fs::remove_file(kubeconfig);
}

/// What the demo needs is less than what all tests need; what is missing is said before anything is compiled.
#[test]
fn java_is_missed_only_where_keycloak_runs() {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(format!("tools-{}", std::process::id()));
    std::fs::create_dir_all(&tools).expect("a folder");
    let path = std::env::var_os("PATH").expect("PATH");
    for tool in std::env::split_paths(&path).filter_map(|folder| folder.read_dir().ok()).flatten().flatten() {
        let name = tool.file_name();
        if !["java", "mvn"].iter().any(|missing| name.to_string_lossy().starts_with(missing)) {
            // The first of a name counts.
            let _ = std::os::unix::fs::symlink(tool.path(), tools.join(name));
        }
    }
    let check = |parts: &[&str]| {
        let mut run = Command::new("tests/testbed/testbed");
        run.current_dir(env!("CARGO_MANIFEST_DIR")).arg("check").args(parts);
        run.env("PATH", &tools).env_remove("JAVA_HOME").output().expect("run the test bed")
    };
    let (demo, all) = (check(&[]), check(&["keycloak"]));
    std::fs::remove_dir_all(&tools).expect("remove the folder");
    assert!(demo.status.success(), "{demo:?}");
    let said = String::from_utf8_lossy(&all.stderr);
    assert!(
        !all.status.success() && said.contains("Java is missing") && said.contains("Maven (mvn) is missing"),
        "{said}"
    );
    let makefile = std::fs::read_to_string("Makefile").expect("the Makefile");
    let recipe = makefile.split("\ntest:").nth(1).expect("the target test");
    let first = recipe.lines().nth(1).expect("a command").trim();
    assert!(recipe.starts_with(" ##"), "nothing is made before: {recipe}");
    assert_eq!(first, "$(TESTBED) check keycloak prometheus");
    let demo = std::fs::read_to_string("tests/demo").expect("the demo");
    assert!(demo.contains("tests/testbed/testbed check\n"));
}
