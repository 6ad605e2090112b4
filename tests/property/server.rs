//! An authorization server in memory: clients, registration tokens that rotate, probes, and every way to misbehave.

use chrono::{DateTime, Utc};
use oauthclient_operator::api::{ProbeRecord, RegistrationRequest};
use oauthclient_operator::authorization_server::probe::NoAnswer;
use oauthclient_operator::authorization_server::{
    CallError, Granted, Management, Refusal, RegisterError, Registered, RegistrationAccess, Updated,
};
use secrecy::{ExposeSecret, SecretString};

use super::faults::Fault;

/// What stands at the server's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The server.
    Up,
    /// Nothing: no connection.
    Down,
    /// Something that takes requests and never answers.
    Hanging,
    /// Another server, with other keys, that knows none of our clients.
    Swapped,
    /// A proxy that answers 404 to everything.
    NotFound,
    /// The server, but its probe endpoints answer 503.
    ProbesUseless,
}

/// How the server's probe endpoints answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probing {
    /// Revocation tells live credentials from others.
    Revocation,
    /// Revocation says 200 to all; a made-up code tells.
    CodeOnly,
    /// Revocation says 401 to all; a made-up code tells.
    RevocationRefuses,
    /// A page answers for revocation; a made-up code tells.
    RevocationIsAPage,
    /// Nothing tells.
    Nothing,
}

/// A client that is or was at the server.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Client {
    pub id: String,
    pub entry: String,
    pub secret: String,
    /// What it may sign assertions with: public and private keys have one name here.
    pub keys: Vec<String>,
    pub token: String,
    pub scopes: Vec<String>,
    pub exists: bool,
    pub disabled: bool,
    /// It carries our mark. Without it, it is somebody else's.
    pub marked: bool,
    /// The answer to its registration was sent.
    pub answered: bool,
    pub deleted_by_us: bool,
    /// An administrator of the server deleted or disabled it, or a new token or secret was lost with its answer: ever.
    pub meddled: bool,
    /// Its credential may not work, for such a reason, and we have not brought it back since.
    pub tampered: bool,
}

/// What takes effect after its time-out.
#[derive(Debug, Clone)]
pub enum Late {
    Post {
        entry: String,
        request: RegistrationRequest,
        keys: Vec<String>,
    },
    Put {
        id: String,
        token: String,
        scopes: Vec<String>,
        keys: Vec<String>,
    },
    Delete {
        id: String,
        token: String,
    },
    /// By an admin API: before this instant.
    Admin(DateTime<Utc>, super::admin::Request),
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Server {
    pub mode: Mode,
    pub probing: Probing,
    pub clients: Vec<Client>,
    pub late: Vec<Late>,
    pub rotates_token: bool,
    pub rotates_secret: bool,
    pub changes_in_place: bool,
    /// A client may have more than one key.
    pub takes_second_key: bool,
    /// It is managed by an admin API, where the caller chooses the id.
    pub admin: bool,
    /// Refuses registrations with these scopes: 400.
    pub refuses: Option<String>,
    pub next: u32,
    pub calls: u64,
}

/// A refusal with this status.
pub fn refusal(operation: &'static str, status: u16) -> Refusal {
    Refusal { operation, status, error: None, description: None, retry_after: None }
}

pub fn unclear(why: &str, may_have_acted: bool) -> CallError {
    CallError::Inconclusive { why: why.into(), may_have_acted, retry_after: None }
}

fn no_answer(why: &str, taken: bool, useless: bool) -> NoAnswer {
    NoAnswer { why: why.into(), taken, useless }
}

/// What becomes of a request: it is acted on or not, and the answer comes or not.
pub enum Way {
    /// Acted on, answered.
    Through,
    /// Never sent.
    NotSent,
    /// Acted on; no answer that can be used.
    Lost,
    /// Not acted on yet; no answer.
    Late,
    /// Not acted on; no answer.
    Hangs,
    /// Refused.
    Refused(u16),
}

impl Client {
    /// Whether this credential authenticates it.
    pub fn accepts(&self, credential: &str) -> bool {
        self.exists && !self.disabled && (self.secret == credential || self.keys.iter().any(|key| key == credential))
    }
}

impl Server {
    pub fn way(&mut self, fault: Fault) -> Way {
        self.calls += 1;
        match (self.mode, fault) {
            (Mode::Down, _) | (_, Fault::NotSent | Fault::Busy) => Way::NotSent,
            (Mode::Hanging, _) => Way::Hangs,
            (Mode::NotFound, _) => Way::Refused(404),
            (Mode::Swapped, _) => Way::Refused(401),
            (_, Fault::Lost | Fault::WrongBody) => Way::Lost,
            (_, Fault::Late) => Way::Late,
            (_, Fault::Refused(status)) => Way::Refused(status),
            (_, Fault::Broken) => Way::Hangs,
            _ => Way::Through,
        }
    }

    pub fn fresh(&mut self, what: &str) -> String {
        self.next += 1;
        format!("{what}{}", self.next)
    }

    fn make(&mut self, entry: &str, request: &RegistrationRequest, keys: &[String], answered: bool) -> usize {
        let (id, secret, token) = (self.fresh("id"), self.fresh("secret"), self.fresh("token"));
        self.clients.push(Client {
            id,
            entry: entry.into(),
            secret,
            keys: keys.to_vec(),
            token,
            scopes: request.scopes.clone(),
            exists: true,
            disabled: false,
            marked: true,
            answered,
            deleted_by_us: false,
            meddled: false,
            tampered: false,
        });
        self.clients.len() - 1
    }

    /// RFC 7591.
    pub fn post(
        &mut self,
        entry: &str,
        request: &RegistrationRequest,
        keys: &[String],
        fault: Fault,
    ) -> Result<Registered, RegisterError> {
        let unknown = || Err(RegisterError::OutcomeUnknown { why: "no answer to the registration".into() });
        match self.way(fault) {
            Way::NotSent => return Err(RegisterError::NoEffect { why: "no connection".into(), retry_after: None }),
            Way::Refused(status) => return Err(RegisterError::Refused(refusal("register client", status))),
            Way::Hangs => return unknown(),
            Way::Late => {
                self.late.push(Late::Post { entry: entry.into(), request: request.clone(), keys: keys.to_vec() });
                return unknown();
            }
            Way::Through | Way::Lost => {}
        }
        if self.refuses.as_ref().is_some_and(|scope| request.scopes.contains(scope)) {
            return Err(RegisterError::Refused(refusal("register client", 400)));
        }
        let answered = matches!(fault, Fault::None | Fault::GrantsMore);
        let at = self.make(entry, request, keys, answered);
        if fault == Fault::Unmanageable {
            let client_id = Some(self.clients[at].id.clone());
            return Err(RegisterError::Unmanageable { why: "no registration_access_token".into(), client_id });
        }
        if !answered {
            return unknown();
        }
        let mut granted = request.scopes.clone();
        if fault == Fault::GrantsMore {
            granted.push("everything".into());
        }
        let client = &self.clients[at];
        Ok(Registered {
            management: management(client),
            client_secret: (!own_key(request)).then(|| client.secret.clone().into()),
            client_secret_expires_at: None,
            granted: Granted { scopes: Some(granted), ..Granted::default() },
            status: 201,
        })
    }

    fn managed(&mut self, id: &str, token: &str) -> Option<&mut Client> {
        self.clients.iter_mut().find(|c| c.id == id && c.exists && !c.disabled && c.token == token)
    }

    fn change(&mut self, id: &str, token: &str, scopes: &[String], keys: &[String], heard: bool) -> Option<Client> {
        let (new_token, new_secret) = (self.fresh("token"), self.fresh("secret"));
        let (rotates_token, rotates_secret) = (self.rotates_token, self.rotates_secret);
        let client = self.managed(id, token)?;
        client.scopes = scopes.to_vec();
        // What an older request takes away is the server's doing.
        client.tampered |= !heard && client.keys.iter().any(|k| !keys.contains(k));
        client.keys = keys.to_vec();
        if rotates_token {
            client.token = new_token;
        }
        if rotates_secret {
            client.secret = new_secret;
        }
        let lost = !heard && (rotates_token || rotates_secret);
        client.meddled |= lost;
        client.tampered |= rotates_secret;
        Some(client.clone())
    }

    /// RFC 7592 section 2.2.
    pub fn put(
        &mut self,
        with: &Management,
        request: &RegistrationRequest,
        keys: &[String],
        fault: Fault,
    ) -> Result<Updated, CallError> {
        let (id, token) = (with.client_id.as_str(), token_of(with));
        match self.way(fault) {
            Way::NotSent => return Err(unclear("no connection", false)),
            Way::Refused(status) => return Err(CallError::Refused(refusal("update client", status))),
            Way::Hangs => return Err(unclear("no answer", true)),
            Way::Late => {
                let scopes = request.scopes.clone();
                self.late.push(Late::Put { id: id.into(), token: token.into(), scopes, keys: keys.to_vec() });
                return Err(unclear("no answer", true));
            }
            Way::Through | Way::Lost => {}
        }
        if !self.changes_in_place {
            return Err(CallError::Refused(refusal("update client", 405)));
        }
        if self.refuses.as_ref().is_some_and(|scope| request.scopes.contains(scope)) {
            return Err(CallError::Refused(refusal("update client", 400)));
        }
        if keys.len() > 1 && !self.takes_second_key {
            return Err(CallError::Refused(refusal("update client", 400)));
        }
        let heard = !matches!(fault, Fault::Lost | Fault::WrongBody);
        let Some(client) = self.change(id, token, &request.scopes, keys, heard) else {
            return Err(CallError::Refused(refusal("update client", 401)));
        };
        if !heard {
            return Err(unclear("no answer that can be used", true));
        }
        let mut granted = request.scopes.clone();
        if fault == Fault::GrantsMore {
            granted.push("everything".into());
        }
        Ok(Updated {
            management: management(&client),
            client_secret: (self.rotates_secret && !own_key(request)).then(|| client.secret.clone().into()),
            granted: Granted { scopes: Some(granted), ..Granted::default() },
        })
    }

    fn remove(&mut self, id: &str, token: &str) -> bool {
        self.managed(id, token).is_some_and(|client| {
            client.exists = false;
            client.deleted_by_us = true;
            true
        })
    }

    /// RFC 7592 section 2.3.
    pub fn delete(&mut self, with: &Management, fault: Fault) -> Result<u16, CallError> {
        let (id, token) = (with.client_id.as_str(), token_of(with));
        match self.way(fault) {
            Way::NotSent => Err(unclear("no connection", false)),
            Way::Refused(status) => Err(CallError::Refused(refusal("delete client", status))),
            Way::Hangs => Err(unclear("no answer", true)),
            Way::Late => {
                self.late.push(Late::Delete { id: id.into(), token: token.into() });
                Err(unclear("no answer", true))
            }
            Way::Lost => {
                self.remove(id, token);
                Err(unclear("no answer that can be used", true))
            }
            Way::Through if self.remove(id, token) => Ok(204),
            Way::Through => Err(CallError::Refused(refusal("delete client", 401))),
        }
    }

    /// Tries a credential; `None` is one that never existed.
    pub fn probe(
        &mut self,
        method: &str,
        credential: Option<(&str, &SecretString)>,
        now: DateTime<Utc>,
        fault: Fault,
    ) -> Result<ProbeRecord, NoAnswer> {
        let answer = |status, error: Option<&str>| Ok(ProbeRecord { at: now, status, error: error.map(Into::into) });
        match self.way(fault) {
            Way::NotSent => return Err(no_answer("no connection", false, false)),
            // A swapped server answers a credential that it does not know; a proxy's 404 is no OAuth answer.
            Way::Refused(401) => return answer(401, Some("invalid_client")),
            Way::Refused(_) => return Err(no_answer("no OAuth answer", true, true)),
            Way::Lost | Way::Late | Way::Hangs => return Err(no_answer("no answer", true, false)),
            Way::Through => {}
        }
        if self.mode == Mode::ProbesUseless {
            return Err(no_answer("503", true, true));
        }
        let accepted = credential
            .is_some_and(|(id, secret)| self.clients.iter().any(|c| c.id == id && c.accepts(secret.expose_secret())));
        match (self.probing, method) {
            (Probing::CodeOnly | Probing::Nothing, "Revocation") => answer(200, None),
            (Probing::RevocationRefuses, "Revocation") => answer(401, Some("invalid_client")),
            (Probing::RevocationIsAPage, "Revocation") => Err(no_answer("a page", true, true)),
            (Probing::Nothing, _) => answer(400, Some("invalid_grant")),
            (_, "Revocation") if accepted => answer(200, None),
            (_, _) if accepted => answer(400, Some("invalid_grant")),
            _ => answer(401, Some("invalid_client")),
        }
    }

    /// The signing keys of whatever answers.
    pub fn keys(&mut self, fault: Fault) -> Option<&'static str> {
        match self.way(fault) {
            Way::Through => Some("ours"),
            Way::Refused(401) if self.mode == Mode::Swapped => Some("another's"),
            _ => None,
        }
    }

    /// Everything that was late takes effect now.
    pub fn settle(&mut self) -> usize {
        let late = std::mem::take(&mut self.late);
        let count = late.len();
        for effect in late {
            match effect {
                Late::Post { entry, request, keys } => {
                    self.make(&entry, &request, &keys, false);
                }
                Late::Put { id, token, scopes, keys } => {
                    self.change(&id, &token, &scopes, &keys, false);
                }
                Late::Admin(_, request) => self.acts_late(request),
                Late::Delete { id, token } => {
                    self.remove(&id, &token);
                }
            }
        }
        count
    }
}

/// Whether the client authenticates with a key.
fn own_key(request: &RegistrationRequest) -> bool {
    request.jwks.is_some() || request.signing_alg.is_some()
}

/// The registration access token of a client that is managed by one.
pub fn token_of(with: &Management) -> &str {
    with.registration.as_ref().map_or("", |r| r.access_token.expose_secret())
}

fn management(client: &Client) -> Management {
    Management {
        client_id: client.id.clone(),
        registration: Some(RegistrationAccess {
            client_uri: format!("https://s.example/reg/{}", client.id),
            access_token: client.token.clone().into(),
        }),
    }
}
