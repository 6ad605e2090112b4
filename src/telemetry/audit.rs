//! The audit trail: one JSON line for every decision and every effect, to standard output or a file. docs/audit.md says
//! what each member is: members may be added, and none changes its meaning or goes.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use kube::ResourceExt;
use schemars::JsonSchema;
use serde::Serialize;

use crate::api::{ClientRegistrationSpec, ClientRegistrationStatus, OAuthClient, REQUESTED_BY_ANNOTATION};

/// What every line says that it is.
pub const SCHEMA: &str = "oauthclient.dev/audit/v1";

/// What was decided or done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// An OAuthClient came to another state: `reason` and `message` are those of its event.
    Decided,
    /// A ledger entry was made for a client that policy allows; nothing was asked of the server before.
    Allowed,
    /// The server registered the client.
    Registered,
    /// The server refused to.
    Refused,
    /// The end came before the server was asked.
    Cancelled,
    /// The client was changed at the server.
    Changed,
    /// Somebody had changed it there, and it is again as asked for.
    DriftCorrected,
    /// The client has a further key.
    KeyRotated,
    /// The key before is gone.
    KeyRetired,
    /// The Secret holds the credential.
    SecretPublished,
    /// The Secret is gone.
    SecretDeleted,
    /// The end has come; it is being revoked.
    Ended,
    /// The client is gone from the server, with this evidence.
    Revoked,
    /// A client may exist that the ledger cannot revoke.
    PossibleOrphan,
    /// The OAuthClient was let go before its client was proven to be gone, after `revocation.holdDeletionFor`.
    DeletionNotHeld,
    /// The sweep revoked a client that no ledger entry claims.
    OrphanRevoked,
    /// The sweep could not.
    OrphanNotRevoked,
}

/// One line. What is not known, or is nothing, is left out.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// What was decided or done.
    action: Action,
    /// Namespace of the OAuthClient.
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
    /// Name of the OAuthClient.
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    /// Its uid: another object of the same name has another.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_uid: Option<String>,
    /// The team that owns it.
    #[serde(skip_serializing_if = "Option::is_none")]
    team: Option<String>,
    /// Its owner's mailbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
    /// User name of who asked for it, or edited it, last.
    #[serde(skip_serializing_if = "Option::is_none")]
    requested_by: Option<String>,
    /// Name of the AuthorizationServer.
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    /// Name of the ledger entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    entry: Option<String>,
    /// The client's id at the server (RFC 6749 section 2.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    /// Name of the ClientPolicy that allowed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    /// Name of the ClientApproval that it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<String>,
    /// User name of who approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    approved_by: Option<String>,
    /// Why, in one word.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Why, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// How well it is known that the client is gone: Proven, ServerConfirmed, Unverifiable.
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<&'static str>,
}

impl Record {
    fn new(action: Action) -> Self {
        Self {
            action,
            namespace: None,
            client: None,
            client_uid: None,
            team: None,
            owner: None,
            requested_by: None,
            server: None,
            entry: None,
            client_id: None,
            policy: None,
            approval: None,
            approved_by: None,
            reason: None,
            message: None,
            evidence: None,
        }
    }

    /// About an OAuthClient.
    pub fn of_client(action: Action, client: &OAuthClient) -> Self {
        let status = client.status.as_ref();
        Self {
            namespace: client.namespace(),
            client: Some(client.name_any()),
            client_uid: client.uid(),
            team: Some(client.spec.owner.team.clone()),
            owner: Some(client.spec.owner.email.clone()),
            requested_by: client.annotations().get(REQUESTED_BY_ANNOTATION).cloned(),
            server: Some(client.spec.authorization_server_ref.name.clone()),
            entry: status.and_then(|s| s.registration_ref.as_ref()).map(|r| r.name.clone()),
            client_id: status.and_then(|s| s.client_id.clone()),
            ..Self::new(action)
        }
    }

    /// About the ledger entry of this name.
    pub fn of_entry(
        action: Action,
        name: &str,
        spec: &ClientRegistrationSpec,
        status: &ClientRegistrationStatus,
    ) -> Self {
        let end = status.end.as_ref().or(spec.end.as_ref());
        Self {
            namespace: Some(spec.client_ref.namespace.clone()),
            client: Some(spec.client_ref.name.clone()),
            client_uid: Some(spec.client_ref.uid.clone()),
            team: Some(spec.owner.team.clone()),
            owner: Some(spec.owner.email.clone()),
            server: Some(spec.server.name.clone()),
            entry: Some(name.to_owned()),
            client_id: status.client_id.clone(),
            policy: spec.policy.as_ref().map(|p| p.name.clone()),
            approval: spec.approval.as_ref().map(|a| a.name.clone()),
            approved_by: spec.approval.as_ref().map(|a| a.approver.clone()),
            reason: end.map(|e| e.reason.as_str().to_owned()),
            message: end.map(|e| e.message.clone()).or_else(|| status.rejection.as_ref().map(|r| r.message.clone())),
            evidence: status.evidence.as_ref().map(|e| e.level.as_str()),
            ..Self::new(action)
        }
    }

    /// About a client at a server that the ledger does not know, or knows to be gone.
    pub fn of_orphan(action: Action, server: &str, client_id: &str, entry: Option<&str>) -> Self {
        Self {
            server: Some(server.to_owned()),
            client_id: Some(client_id.to_owned()),
            entry: entry.map(ToOwned::to_owned),
            ..Self::new(action)
        }
    }

    /// By whom the OAuthClient was asked for, as far as the API server keeps it true.
    #[must_use]
    pub fn asked_by(mut self, client: Option<&OAuthClient>) -> Self {
        self.requested_by = client.and_then(|c| c.annotations().get(REQUESTED_BY_ANNOTATION).cloned());
        self
    }

    /// Why, in one word and in a sentence.
    #[must_use]
    pub fn because(mut self, reason: impl Into<String>, message: impl Into<String>) -> Self {
        (self.reason, self.message) = (Some(reason.into()), Some(message.into()));
        self
    }
}

/// One line of the audit trail.
#[derive(Serialize, JsonSchema)]
struct Line<'a> {
    /// oauthclient.dev/audit/v1
    schema: &'static str,
    /// When, in UTC (RFC 3339).
    time: String,
    #[serde(flatten)]
    record: &'a Record,
}

/// Where records go. A line is written whole, before the pass that it is about goes on.
pub struct Audit(Mutex<Box<dyn Write + Send>>);

impl Audit {
    /// To standard output, for `-`; else to the end of this file, which only its owner may read where it is made.
    ///
    /// # Errors
    ///
    /// The file can be neither opened nor made.
    pub fn open(path: &Path) -> io::Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::to(io::stdout()));
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(path).map(Self::to)
    }

    /// To this.
    pub fn to(sink: impl Write + Send + 'static) -> Self {
        Self(Mutex::new(Box::new(sink)))
    }

    /// Writes a record. One that cannot be written is in the log: what it tells has been decided or done already.
    pub fn write(&self, record: &Record, at: DateTime<Utc>) {
        let line = Line { schema: SCHEMA, time: at.to_rfc3339_opts(SecondsFormat::Millis, true), record };
        let written = serde_json::to_string(&line).map_err(io::Error::from).and_then(|mut text| {
            text.push('\n');
            let mut sink = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sink.write_all(text.as_bytes()).and_then(|()| sink.flush())
        });
        if let Err(error) = written {
            tracing::error!(%error, ?record, "an audit record could not be written; it is this one");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(record: &Record) -> Value {
        let memory = Memory::default();
        Audit::to(memory.clone()).write(record, DateTime::UNIX_EPOCH);
        let text = String::from_utf8(memory.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with('\n') && text.lines().count() == 1, "one line: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// As it was first written: what reads these lines goes by it.
    #[test]
    fn a_line_says_what_it_always_said() {
        let record = Record::of_orphan(Action::OrphanNotRevoked, "corp", "id", Some("oac-1")).because("orphan", "a\nb");
        assert_eq!(
            written(&record),
            json!({
                "schema": "oauthclient.dev/audit/v1", "time": "1970-01-01T00:00:00.000Z",
                "action": "orphan-not-revoked", "server": "corp", "clientId": "id", "entry": "oac-1",
                "reason": "orphan", "message": "a\nb",
            })
        );
    }

    /// `docs/audit.md` has each action and each member, as they are described here; `UPDATE_DOCS=1` writes it.
    #[test]
    fn docs_say_what_is_written() {
        use std::fmt::Write as _;
        let schema = serde_json::to_value(schemars::schema_for!(Line)).unwrap();
        let mut text = String::from("| action | |\n|---|---|\n");
        for action in schema["$defs"]["Action"]["oneOf"].as_array().unwrap() {
            writeln!(text, "| `{}` | {} |", action["const"].as_str().unwrap(), action["description"].as_str().unwrap())
                .unwrap();
        }
        text += "\n| member | |\n|---|---|\n";
        for (name, member) in schema["properties"].as_object().unwrap() {
            writeln!(text, "| `{name}` | {} |", member["description"].as_str().unwrap()).unwrap();
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/audit.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (head, rest) = page.split_once("<!-- generated -->\n").unwrap();
        let (_, tail) = rest.split_once("<!-- end -->\n").unwrap();
        let wanted = format!("{head}<!-- generated -->\n{text}<!-- end -->\n{tail}");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &wanted).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), wanted, "run: UPDATE_DOCS=1 cargo test --lib audit");
    }

    #[test]
    fn a_client_is_told_with_its_owner_and_who_asked() {
        let client: OAuthClient = serde_json::from_value(json!({
            "apiVersion": "oauthclient.dev/v1alpha1", "kind": "OAuthClient",
            "metadata": {"name": "c", "namespace": "n", "uid": "u",
                "annotations": {"oauthclient.dev/requested-by": "jo"}},
            "spec": {
                "authorizationServerRef": {"name": "corp"}, "owner": {"team": "data", "email": "data@corp.example"},
                "purpose": "p", "scopes": ["s"], "lifetime": {"ttl": "1h"},
            },
        }))
        .unwrap();
        let said = written(&Record::of_client(Action::Decided, &client).because("NotAllowed", "no policy"));
        for (member, value) in [
            ("namespace", "n"),
            ("client", "c"),
            ("clientUid", "u"),
            ("team", "data"),
            ("owner", "data@corp.example"),
            ("requestedBy", "jo"),
            ("server", "corp"),
            ("reason", "NotAllowed"),
        ] {
            assert_eq!(said[member], value, "{member}: {said}");
        }
        assert!(said.get("clientId").is_none(), "what is not known is left out: {said}");
    }

    #[test]
    fn a_file_is_added_to_and_is_its_owners() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("audit-{}", std::process::id()));
        let record = Record::of_orphan(Action::OrphanRevoked, "corp", "id", None);
        for _ in 0..2 {
            Audit::open(&path).unwrap().write(&record, DateTime::UNIX_EPOCH);
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 2);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&path).unwrap();
        assert!(Audit::open(Path::new("/nowhere/at/all")).is_err());
    }
}
