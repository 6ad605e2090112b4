//! What must be absent from a folder, kept absent.

use std::fs;
use std::path::Path;

fn files(folder: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push((path.display().to_string(), fs::read_to_string(&path).expect("a file")));
        }
    }
    all
}

#[rstest::rstest]
#[case("src/domain", &["kube::", "reqwest", "tokio", "crate::kubernetes", "crate::controller", "crate::authorization_server"])]
#[case("src/authorization_server", &["use kube", "kube::", "crate::kubernetes", "crate::controller", "crate::domain"])]
#[case("src/api", &["crate::domain", "crate::kubernetes", "crate::controller", "reqwest", "tokio"])]
fn dependencies_point_downwards(#[case] folder: &str, #[case] absent: &[&str]) {
    for (name, text) in files(Path::new(folder)) {
        for word in absent {
            let found = text.lines().find(|l| l.contains(word) && !l.trim_start().starts_with("//"));
            assert!(found.is_none(), "{name} must not use {word}: {found:?}");
        }
    }
}

fn assert_test_exists(file: &str, function: &str) {
    let folder = format!("tests/{file}");
    let path = if Path::new(&folder).is_dir() { folder + "/main.rs" } else { folder + ".rs" };
    let source = fs::read_to_string(&path).unwrap_or_else(|_| panic!("there is no {path}"));
    assert!(source.contains(&format!("fn {function}(")), "{path} has no {function}");
}

/// Tests that `docs/guarantees.md` names exist: `file: function` under `tests/`, or a module below `src/`.
#[test]
fn the_tests_that_guarantees_rest_on_exist() {
    let text = fs::read_to_string("docs/guarantees.md").expect("the guarantees");
    let mut named = 0;
    for quoted in text.lines().filter(|l| l.starts_with('|')).flat_map(|l| l.split('`').skip(1).step_by(2)) {
        if let Some((file, function)) = quoted.split_once(": ") {
            assert_test_exists(file, function);
            named += 1;
        } else if quoted.contains('/') {
            let there = Path::new(&format!("src/{quoted}.rs")).exists()
                || Path::new(&format!("src/{quoted}/tests.rs")).exists();
            assert!(there, "there is no module {quoted}");
        }
    }
    assert!(named > 60, "{named}");
}

/// So do those that other pages name in passing, as `file: function`.
#[rstest::rstest]
#[case("docs/threat-model.md", 20)]
#[case("docs/operations.md", 5)]
#[case("docs/ci.md", 2)]
fn the_tests_that_pages_name_exist(#[case] page: &str, #[case] least: usize) {
    let text = fs::read_to_string(page).expect("a page");
    let is_a_name = |w: &str| w.contains('_') && w.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let mut named = 0;
    for quoted in text.split('`').skip(1).step_by(2) {
        if let Some((file, function)) = quoted.split_once(": ").filter(|(_, function)| is_a_name(function)) {
            assert_test_exists(file, function);
            named += 1;
        }
    }
    assert!(named >= least, "{page}: {named}");
}
