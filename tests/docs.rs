//! What the documentation shows works: every YAML block and example is put before an API server, every line of kubectl
//! and helm is run, every other command is one that the test suite runs; links lead somewhere, and the book has every page.

#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::{Path, PathBuf};

use support::Bed;

/// Where a block is from, its language, and its lines.
struct Block {
    place: String,
    language: String,
    text: String,
}

fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let mut all = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                all.push(path);
            }
        }
    }
    all.sort();
    assert!(!all.is_empty(), "{folder} has no .{extension}");
    all
}

fn blocks() -> Vec<Block> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let mut all = Vec::new();
    for path in std::iter::once(readme).chain(files("docs", "md")) {
        let text = fs::read_to_string(&path).expect("a file");
        let mut open: Option<Block> = None;
        for (number, line) in text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    let place = format!("{}:{}", path.display(), number + 1);
                    open = Some(Block { place, language: language.into(), text: String::new() });
                }
                (Some(_), Some(_)) => all.extend(open.take()),
                (None, Some(block)) => block.text.extend([line, "\n"]),
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block does not end", path.display());
    }
    all
}

/// The commands of a block, without prompt and comment.
fn commands(block: &Block) -> impl Iterator<Item = &str> {
    block.text.lines().filter_map(|l| l.strip_prefix("$ ")).map(|l| l.split(" #").next().unwrap_or(l).trim())
}

/// Whether a command is run against a bed.
fn for_a_cluster(command: &str) -> bool {
    command.starts_with("kubectl ") || command.starts_with("helm ")
}

#[test]
fn make_knows_what_is_shown_and_the_tests_run_it() {
    let makefile = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Makefile")).expect("the Makefile");
    let recipe = makefile.split("\ntest:").nth(1).and_then(|r| r.split("\n\n").next()).expect("the target test");
    let mut seen = 0;
    for block in blocks().iter().filter(|b| b.language == "console") {
        for command in commands(block).filter(|c| !for_a_cluster(c)) {
            seen += 1;
            let target = command.strip_prefix("make ").unwrap_or_else(|| {
                panic!(
                    "{}: {command}: only make, kubectl and helm are shown, since they are what is tested",
                    block.place
                )
            });
            let run =
                target == "test" || recipe.contains(&format!("$(MAKE) {target}")) || recipe.contains("tests/demo");
            assert!(
                makefile.contains(&format!("\n{target}:")) && run,
                "{}: make test does not run {command}",
                block.place
            );
        }
    }
    assert!(seen >= 2, "the two commands of the README");
}

#[test]
fn what_is_shown_works() {
    let bed = Bed::up("docs");
    let mut judged = 0;
    let examples = files("examples", "yaml").into_iter().chain(files("deploy", "yaml"));
    let examples = examples.map(|p| (p.display().to_string(), fs::read_to_string(&p).expect("a file")));
    let blocks = blocks();
    let shown = blocks.iter().filter(|b| b.language == "yaml").map(|b| (b.place.clone(), b.text.clone()));
    for (place, yaml) in examples.chain(shown) {
        judged += 1;
        bed.dry_run(&yaml).unwrap_or_else(|e| panic!("{place}: {e}"));
    }
    assert!(judged >= 4, "only {judged}");

    // A bed has it already; here it is made as it is shown.
    bed.kubectl(&["-n", "oauthclient-system", "delete", "secret", "corp-registration"]);
    // It is in a namespace that enforces the restricted profile: a pod that comes to be has passed it.
    let wait = "rollout status deployment/oauthclient-operator -n oauthclient-system --timeout=120s";
    bed.kubectl(&wait.split(' ').collect::<Vec<_>>());
    let mut run = 0;
    for block in blocks.iter().filter(|b| b.language == "console") {
        for command in commands(block).filter(|c| for_a_cluster(c)) {
            run += 1;
            let done = bed.shell(command);
            // A bed has no kubelet. That one was about to be asked shows that there is such a pod, and no fault in the line.
            let asked_for_logs = |e: &String| command.contains(" logs ") && e.contains("/containerLogs/");
            if let Err(why) = done.map(drop).or_else(|e| if asked_for_logs(&e) { Ok(()) } else { Err(e) }) {
                panic!("{}: {command}: {why}", block.place);
            }
        }
    }
    assert!(run >= 3, "only {run}");
    // It is in a namespace that enforces the restricted profile: a pod that comes to be has passed it.
    let wait = "rollout status deployment/oauthclient-operator -n oauthclient-system --timeout=120s";
    bed.kubectl(&wait.split(' ').collect::<Vec<_>>());
}

#[test]
fn languages_are_known() {
    // This one runs what an administrator of Keycloak does, as it stands there, against a Keycloak.
    let elsewhere = include_str!("testbed/selftest-keycloak");
    for block in blocks() {
        let known = match block.language.as_str() {
            "yaml" | "console" | "text" => true,
            "sh" => block.place.contains("docs/keycloak.md:") && elsewhere.contains("docs/keycloak.md"),
            _ => false,
        };
        assert!(known, "{}: no test knows what to do with {:?}", block.place, block.language);
    }
}

/// What a text says outside of code: links are looked for there.
fn prose(text: &str) -> String {
    let mut code = false;
    let mut all = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            code = !code;
        } else if !code {
            // Every other part stands between backticks.
            all.extend(line.split('`').step_by(2));
            all.push('\n');
        }
    }
    all
}

/// Where the links of a text lead.
fn links(text: &str) -> Vec<String> {
    let text = prose(text);
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
    targets.map(|(target, _)| target.to_owned()).collect()
}

/// The anchors of a page: its headings as mdBook and forges write them.
fn anchors(text: &str) -> Vec<String> {
    let mut code = false;
    let headings = text.lines().filter(|line| {
        code ^= line.trim_start().starts_with("```");
        !code && line.starts_with('#')
    });
    headings
        .map(|line| {
            let words = line.trim_start_matches('#').trim().to_lowercase();
            let kept = words.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c }).collect()
        })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "charts/oauthclient-operator/README.md"];
    let mut seen = 0;
    for page in pages.map(|name| root.join(name)).into_iter().chain(files("docs", "md")) {
        let text = fs::read_to_string(&page).expect("a file");
        for link in links(&text).iter().filter(|l| !l.contains("://") && !l.starts_with("mailto:")) {
            seen += 1;
            let (file, anchor) = link.split_once('#').map_or((link.as_str(), None), |(f, a)| (f, Some(a)));
            let target = if file.is_empty() { page.clone() } else { page.parent().expect("a folder").join(file) };
            let place = page.display();
            assert!(target.exists(), "{place}: {link} leads nowhere");
            if let Some(anchor) = anchor {
                let text = fs::read_to_string(&target).expect("a page");
                assert!(anchors(&text).iter().any(|a| a == anchor), "{place}: {link}: there is no such heading");
            }
        }
    }
    assert!(seen > 100, "only {seen}");
}

/// `make book` builds what `docs/SUMMARY.md` lists, and leaves out what it does not.
#[test]
fn every_page_is_in_the_book() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).expect("the summary");
    let mut listed = links(&summary);
    let pages =
        files("docs", "md").into_iter().map(|p| p.strip_prefix(&docs).expect("below docs").display().to_string());
    let mut there: Vec<String> = pages.filter(|name| name != "SUMMARY.md").collect();
    listed.sort_unstable();
    there.sort_unstable();
    assert_eq!(listed, there);
}
