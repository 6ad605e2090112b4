//! The reference in `docs/reference` is what the code says: kinds by their schemas and flags by `--help`, both written by
//! `UPDATE_DOCS=1 cargo test --features faults --test reference`; of conditions and events each word, explained by hand.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Compares a page with what it has to be, or writes it.
fn is_up_to_date(page: &str, wanted: &str) {
    let path = root().join("docs/reference").join(page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, wanted).expect("write a page");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(wanted.lines()).find(|(a, b)| a != b);
    assert!(
        found == wanted,
        "docs/reference/{page} is not what the code says, first at {differs:?}: UPDATE_DOCS=1 writes it"
    );
}

/// A text as it stands in a cell of a table.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "\\<")
}

/// The type of a member, in words.
fn kind_of(member: &Value) -> String {
    let words = match member["type"].as_str() {
        Some("array") => format!("list of {}", kind_of(&member["items"])),
        Some("object") if member["additionalProperties"].is_object() => {
            format!("map to {}", kind_of(&member["additionalProperties"]))
        }
        Some("string") if member["enum"].is_array() => {
            let values = member["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
            format!("one of {}", values.map(|v| format!("`{v}`")).collect::<Vec<_>>().join(", "))
        }
        Some("string") if member["format"] == "date-time" => "time".to_owned(),
        other => other.unwrap_or("anything").to_owned(),
    };
    match (member["minimum"].as_f64(), member["maximum"].as_f64()) {
        (Some(least), Some(most)) => format!("{words} from {least} to {most}"),
        (Some(least), None) => format!("{words}, at least {least}"),
        _ => words,
    }
}

/// A row for each member of an object, and of what is in it.
fn members(schema: &Value, path: &str, rows: &mut String) {
    let required: BTreeSet<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let mut kind = kind_of(member);
        if required.contains(name.as_str()) {
            kind += ", required";
        }
        // What an object is by default stands with its members.
        if !member["default"].is_null() && !member["default"].is_object() {
            let default = member["default"].as_str().map_or_else(|| member["default"].to_string(), str::to_owned);
            write!(kind, ", default `{default}`").expect("a text");
        }
        let what = cell(member["description"].as_str().unwrap_or_default());
        writeln!(rows, "| `{path}` | {} | {what} |", cell(&kind)).expect("a text");
        members(member, &path, rows);
        members(&member["items"], &format!("{path}[]"), rows);
        members(&member["additionalProperties"], &format!("{path}.*"), rows);
    }
}

/// What the API server refuses besides, as it says it.
fn rules(schema: &Value, path: &str, lines: &mut String) {
    for rule in schema["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let says = cell(rule["message"].as_str().unwrap_or_default());
        writeln!(lines, "- `{path}`: {says}").expect("a text");
    }
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        rules(member, &format!("{path}.{name}"), lines);
    }
    for (inner, mark) in [("items", "[]"), ("additionalProperties", ".*")] {
        if schema[inner].is_object() {
            rules(&schema[inner], &format!("{path}{mark}"), lines);
        }
    }
}

#[rstest::rstest]
fn kinds_are_as_their_schemas_say(
    #[values("oauthclients", "authorizationservers", "clientpolicies", "clientapprovals", "clientregistrations")]
    plural: &str,
) {
    let crd: Value = serde_yaml::from_str(&read(&root().join(format!("crds/{plural}.yaml")))).expect("YAML");
    let names = &crd["spec"]["names"];
    let version = &crd["spec"]["versions"][0];
    let schema = &version["schema"]["openAPIV3Schema"];
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let mut page = format!(
        "# {}\n\n<!-- Written by UPDATE_DOCS=1 cargo test --features faults --test reference, from crds/{plural}.yaml. -->\n\n",
        text(&names["kind"])
    );
    let scope = if crd["spec"]["scope"] == "Cluster" { "cluster-wide" } else { "in a namespace" };
    writeln!(page, "{}\n", cell(&text(&schema["description"]))).expect("a text");
    writeln!(
        page,
        "`{}/{}`, {scope}; `{plural}`, for short `{}`.",
        text(&crd["spec"]["group"]),
        text(&version["name"]),
        text(&names["shortNames"][0])
    )
    .expect("a text");
    for (part, heading) in [("spec", "Spec"), ("status", "Status")] {
        let mut rows = String::new();
        members(&schema["properties"][part], part, &mut rows);
        if !rows.is_empty() {
            write!(page, "\n## {heading}\n\n| field | type | |\n|---|---|---|\n{rows}").expect("a text");
        }
    }
    let mut lines = String::new();
    rules(&schema["properties"]["spec"], "spec", &mut lines);
    if !lines.is_empty() {
        write!(page, "\n## Refused besides\n\n{lines}").expect("a text");
    }
    is_up_to_date(&format!("{plural}.md"), &page);
}

/// A row for a flag, from its part of `--help`.
fn flag(part: &str) -> String {
    let mut lines = part.lines();
    let name = lines.next().unwrap_or_default();
    let body: Vec<&str> = lines.take_while(|l| l.is_empty() || l.starts_with("          ")).map(str::trim).collect();
    let noted = |what: &str| {
        let start = format!("[{what}: ");
        body.iter().find_map(|l| l.strip_prefix(&start)?.strip_suffix(']')).map(str::to_owned)
    };
    let variable = noted("env").unwrap_or_default();
    let variable = variable.split('=').next().unwrap_or_default();
    let default = noted("default").map(|d| format!("`{d}`")).unwrap_or_default();
    let mut what = body.first().copied().unwrap_or_default().to_owned();
    for value in body.iter().filter_map(|l| l.strip_prefix("- ")) {
        let (word, means) = value.split_once(": ").unwrap_or((value, ""));
        write!(what, "; `{word}`: {means}").expect("a text");
    }
    format!("| `--{name}` | `{variable}` | {default} | {} |\n", cell(&what))
}

#[test]
fn flags_are_as_help_says() {
    let out =
        Command::new(env!("CARGO_BIN_EXE_oauthclient-operator")).arg("--help").output().expect("run the operator");
    let help = String::from_utf8(out.stdout).expect("UTF-8");
    let mut table = String::from("| flag | environment | default | |\n|---|---|---|---|\n");
    table.extend(help.split("\n      --").skip(1).map(flag));
    let page = read(&root().join("docs/reference/flags.md"));
    let (before, rest) = page.split_once("<!-- flags -->\n").expect("a beginning");
    let (_, after) = rest.split_once("<!-- end of flags -->\n").expect("an end");
    is_up_to_date("flags.md", &format!("{before}<!-- flags -->\n{table}<!-- end of flags -->\n{after}"));
}

/// Where conditions, states and events get their words.
const WORDS_COME_FROM: [&str; 5] = [
    "src/domain/client",
    "src/domain/transition.rs",
    "src/controller",
    "src/authorization_server/discovery.rs",
    "src/api/client_registration.rs",
];
/// Words in there that are something else.
const SOMETHING_ELSE: [&str; 5] = ["ClientApproval", "InPlace", "NewRegistration", "Revok", "True"];

fn sources(path: PathBuf, all: &mut Vec<PathBuf>) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).expect("a folder") {
            sources(entry.expect("an entry").path(), all);
        }
    } else if !path.ends_with("tests.rs") && !path.components().any(|c| c.as_os_str() == "tests") {
        all.push(path);
    }
}

/// One word such as NotAllowedByPolicy.
fn is_a_reason(text: &str) -> bool {
    text.len() > 3
        && text.starts_with(|c: char| c.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_alphabetic())
        && text.bytes().skip(1).any(|b| b.is_ascii_lowercase())
}

#[test]
fn every_condition_and_event_is_explained() {
    let mut files = Vec::new();
    for from in WORDS_COME_FROM {
        // Relative, so that no folder above counts.
        sources(PathBuf::from(from), &mut files);
    }
    let mut said = BTreeSet::new();
    for file in files {
        let text = read(&file);
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        for line in code.lines().filter(|l| !l.trim_start().starts_with("//")) {
            // In the API it is the words of enumerations that count.
            if !file.starts_with("src/api") || line.contains("=> \"") {
                said.extend(line.split('"').skip(1).filter(|w| is_a_reason(w)).map(str::to_owned));
            }
        }
    }
    for word in SOMETHING_ELSE {
        assert!(said.remove(word), "{word} is in no source");
    }
    let page = read(&root().join("docs/reference/conditions.md"));
    let explained: BTreeSet<String> = page
        .lines()
        .flat_map(|l| l.split('`').skip(1).step_by(2))
        .filter(|w| is_a_reason(w))
        .map(str::to_owned)
        .collect();
    let missing: Vec<_> = said.difference(&explained).collect();
    let gone: Vec<_> = explained.difference(&said).collect();
    assert!(missing.is_empty(), "docs/reference/conditions.md does not explain {missing:?}");
    assert!(gone.is_empty(), "docs/reference/conditions.md explains what nothing says: {gone:?}");
    assert!(said.len() > 80, "{}", said.len());
}
