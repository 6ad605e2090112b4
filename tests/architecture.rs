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
