//! What the suite has seen of a server, and what `docs/authorization-servers.md` says of it.
//!
//! The document is the only record: results of a server that is not there are those of the last run that had one.
//! `UPDATE_DOCS=1` writes what was seen; otherwise what was seen must be what is written.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Mutex;

/// All that is asked of every server, in the document's order.
pub const ABILITIES: [&str; 27] = [
    REGISTERS,
    METHODS,
    CHOOSES_ID,
    NEEDS_CREDENTIAL,
    UNKNOWN_SCOPE,
    OPENID,
    KEEPS_OWNER,
    TOKEN_LIFETIME,
    AUDIENCES,
    PROVES,
    CHANGES_SCOPES,
    CHANGE_KEEPS_TOKEN,
    READ_KEEPS_TOKEN,
    DRIFT_BY_LIST,
    DRIFT_BY_READING,
    DRIFT_CORRECTED,
    SECOND_REGISTRATION,
    SECOND_KEY,
    OTHER_SECRET,
    REVOKES,
    TOKENS_END,
    TELLS_GONE,
    REGISTERS_AGAIN,
    LATE_REGISTRATION,
    CHANGES_AGAIN,
    DELETES_AGAIN,
    LISTS,
];

pub const REGISTERS: &str = "registers a client with what was asked, and no more";
pub const METHODS: &str = "every authentication method";
pub const CHOOSES_ID: &str = "the caller chooses the id; a client of that id that is not ours is left alone";
pub const NEEDS_CREDENTIAL: &str = "registering takes a credential";
pub const UNKNOWN_SCOPE: &str = "an unknown scope is refused";
pub const OPENID: &str = "the scope `openid` may be among those asked for";
pub const KEEPS_OWNER: &str = "owner, purpose and object are kept with the client";
pub const TOKEN_LIFETIME: &str = "a lifetime of tokens for one client";
pub const AUDIENCES: &str = "the audiences that tokens may be for are set for one client";
pub const PROVES: &str = "a live credential is told from one that never existed";
pub const CHANGES_SCOPES: &str = "scopes change in place";
pub const CHANGE_KEEPS_TOKEN: &str = "the registration access token outlives a change";
pub const READ_KEEPS_TOKEN: &str = "the registration access token outlives reading";
pub const DRIFT_BY_LIST: &str = "a change by hand is found by one list of all clients";
pub const DRIFT_BY_READING: &str = "a change by hand is found by reading the client";
pub const DRIFT_CORRECTED: &str = "a change by hand is brought back";
pub const SECOND_REGISTRATION: &str = "rotation by a second registration, and no token refused meanwhile";
pub const SECOND_KEY: &str = "rotation in place by a second key, and no token refused meanwhile";
pub const OTHER_SECRET: &str = "a secret is replaced in place";
pub const REVOKES: &str = "a deletion ends the credential, and that is shown";
pub const TOKENS_END: &str = "tokens that were issued before end with the client";
pub const TELLS_GONE: &str = "a client that is gone is told from one that cannot be seen";
pub const REGISTERS_AGAIN: &str = "registering again after a lost answer makes no second client";
pub const LATE_REGISTRATION: &str = "a registration that takes effect after the deletion is found and ended";
pub const CHANGES_AGAIN: &str = "a change is made again after a lost answer";
pub const DELETES_AGAIN: &str = "a deletion is confirmed after a lost answer";
pub const LISTS: &str = "all clients of this installation, and no others, are listed to the last page";

const BEGIN: &str = "<!-- results -->\n";
const END: &str = "<!-- end of results -->";

#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    ability: String,
    can: bool,
    seen: String,
}

/// What was seen of one server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Results {
    server: String,
    version: String,
    rows: Vec<Row>,
}

impl Results {
    /// Nothing yet.
    pub fn of(server: &str, version: &str) -> Self {
        Self { server: server.to_owned(), version: version.to_owned(), rows: Vec::new() }
    }

    /// It can, or it cannot; and what was seen.
    pub fn put(&mut self, ability: &str, can: bool, seen: impl Into<String>) {
        eprintln!("{}: {ability}: {}", self.server, if can { "yes" } else { "no" });
        self.rows.push(Row { ability: ability.to_owned(), can, seen: seen.into() });
    }

    /// It can.
    pub fn yes(&mut self, ability: &str, seen: impl Into<String>) {
        self.put(ability, true, seen);
    }

    /// It cannot.
    pub fn no(&mut self, ability: &str, seen: impl Into<String>) {
        self.put(ability, false, seen);
    }

    fn can(&self, ability: &str) -> Option<bool> {
        self.rows.iter().find(|r| r.ability == ability).map(|r| r.can)
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/authorization-servers.md")
}

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Compares what was seen with what is written of this server, or writes it.
pub fn judge(mut seen: Results) {
    let order = |ability: &str| ABILITIES.iter().position(|a| *a == ability);
    seen.rows.sort_by_key(|r| order(&r.ability));
    let names: Vec<&str> = seen.rows.iter().map(|r| r.ability.as_str()).collect();
    assert_eq!(names, ABILITIES, "every ability is tried, once");

    let _turn = ONE_AT_A_TIME.lock();
    let text = std::fs::read_to_string(path()).expect("the document");
    let mut all = written(&text);
    let known = all.iter_mut().find(|r| r.server == seen.server).expect("a section of the document");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        *known = seen;
        std::fs::write(path(), with(&text, &all)).expect("write the document");
    } else if known.version == seen.version {
        assert_eq!(*known, seen, "docs/authorization-servers.md is not what was seen: UPDATE_DOCS=1 writes it");
    } else {
        // Somebody's own server, of another version than the one that is written about.
        for (row, known) in seen.rows.iter().zip(&known.rows).filter(|(row, known)| row != known) {
            eprintln!("{} {}: {row:?}, not {known:?}", seen.server, seen.version);
        }
    }
}

/// The table is what the sections say, and every server has one.
pub fn documented() {
    let _turn = ONE_AT_A_TIME.lock();
    let text = std::fs::read_to_string(path()).expect("the document");
    let all = written(&text);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path(), with(&text, &all)).expect("write the document");
        return;
    }
    assert_eq!(text, with(&text, &all), "docs/authorization-servers.md was written by hand: UPDATE_DOCS=1 undoes it");
    for results in all {
        assert_eq!(results.rows.len(), ABILITIES.len(), "{}: no run is on record", results.server);
    }
}

/// The results in the document.
fn written(text: &str) -> Vec<Results> {
    let (_, rest) = text.split_once(BEGIN).expect("a beginning");
    let (part, _) = rest.split_once(END).expect("an end");
    let mut all: Vec<Results> = Vec::new();
    for line in part.lines() {
        if let Some(title) = line.strip_prefix("### ") {
            all.push(Results::of(title, ""));
        } else if let Some(results) = all.last_mut() {
            if let Some(version) = line.strip_prefix("Version ") {
                version.clone_into(&mut results.version);
            }
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            if let [ability, can @ ("yes" | "no"), seen] = cells[..] {
                results.rows.push(Row { ability: ability.to_owned(), can: can == "yes", seen: seen.to_owned() });
            }
        }
    }
    all
}

/// The document with these results.
fn with(text: &str, all: &[Results]) -> String {
    let (before, rest) = text.split_once(BEGIN).expect("a beginning");
    let (_, after) = rest.split_once(END).expect("an end");
    let mut out = format!("{before}{BEGIN}|");
    for results in all {
        let _ = write!(out, " | {}", results.server);
    }
    let _ = writeln!(out, " |\n|---|{}", "---|".repeat(all.len()));
    for ability in ABILITIES {
        let _ = write!(out, "| {ability}");
        for results in all {
            let cell = match results.can(ability) {
                Some(true) => "yes",
                Some(false) => "**no**",
                None => "?",
            };
            let _ = write!(out, " | {cell}");
        }
        out += " |\n";
    }
    for results in all {
        let Results { server, version, rows } = results;
        let _ = write!(out, "\n### {server}\n\nVersion {version}\n\n| | | what was seen |\n|---|---|---|\n");
        for Row { ability, can, seen } in rows {
            let _ = writeln!(out, "| {ability} | {} | {seen} |", if *can { "yes" } else { "no" });
        }
    }
    format!("{out}{END}{after}")
}
