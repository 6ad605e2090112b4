//! The admin API of a server where the caller chooses the id: what `Backend` promises of one, in memory. A client that
//! does not carry our mark is never touched.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use oauthclient_operator::authorization_server::{
    CallError, Deleted, Granted, Management, RegisterError, Registered, Updated,
};
use oauthclient_operator::domain::drift::Present;
use oauthclient_operator::domain::registration::Found;
use oauthclient_operator::domain::request::Grant;

use super::faults::Fault;
use super::server::{Client, Late, Server, Way, refusal, unclear};

/// When a request without an answer has taken effect, or never will: within the server's `settleFor`.
const LATEST: TimeDelta = TimeDelta::minutes(14);

/// What a client is to be.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub id: String,
    pub entry: String,
    pub scopes: Vec<String>,
    pub secret: String,
    pub keys: Vec<String>,
}

/// A request that changes something.
#[derive(Debug, Clone)]
pub enum Request {
    Post(Wanted),
    Put(Wanted),
    Delete(String),
}

/// The id that an entry's client has.
pub fn chosen_id(entry: &str) -> String {
    format!("oac-i-{entry}")
}

fn foreign() -> String {
    "the client of this id is not ours".into()
}

impl Server {
    fn there(&mut self, id: &str) -> Option<&mut Client> {
        self.clients.iter_mut().find(|c| c.id == id && c.exists)
    }

    fn replace(&mut self, wanted: &Wanted, wider: bool) {
        let Some(client) = self.there(&wanted.id) else { return };
        client.scopes.clone_from(&wanted.scopes);
        if wider {
            client.scopes.push("everything".into());
        }
        client.secret.clone_from(&wanted.secret);
        client.keys.clone_from(&wanted.keys);
        client.tampered = client.disabled;
    }

    fn create(&mut self, wanted: &Wanted, wider: bool) {
        let before = self.clients.iter_mut().find(|c| c.id == wanted.id && c.entry == wanted.entry);
        if let Some(before) = before {
            before.exists = true;
            before.disabled = false;
            before.marked = true;
        } else {
            let token = self.fresh("token");
            self.clients.push(Client {
                id: wanted.id.clone(),
                entry: wanted.entry.clone(),
                secret: String::new(),
                keys: Vec::new(),
                token,
                scopes: Vec::new(),
                exists: true,
                disabled: false,
                marked: true,
                answered: true,
                deleted_by_us: false,
                meddled: false,
                tampered: false,
            });
        }
        self.replace(wanted, wider);
    }

    fn granted(&self, wanted: &Wanted) -> Granted {
        let found = self.clients.iter().find(|c| c.id == wanted.id && c.exists);
        Granted { scopes: found.map(|c| c.scopes.clone()), ..Granted::default() }
    }

    fn refuses(&self, wanted: &Wanted) -> bool {
        self.refuses.as_ref().is_some_and(|scope| wanted.scopes.contains(scope))
    }

    /// A request whose answer nobody waits for any more.
    pub fn acts_late(&mut self, request: Request) {
        match request {
            Request::Post(wanted) => {
                // 409 where there is one.
                if self.there(&wanted.id).is_none() && !self.refuses(&wanted) {
                    self.create(&wanted, false);
                }
            }
            Request::Put(wanted) => {
                let lost = self.there(&wanted.id).is_some_and(|c| c.keys.iter().any(|k| !wanted.keys.contains(k)));
                if self.there(&wanted.id).is_some_and(|c| c.marked) && !self.refuses(&wanted) {
                    self.replace(&wanted, false);
                    // An older request undoes a newer one: nobody can keep it from that.
                    self.there(&wanted.id).into_iter().for_each(|c| c.tampered |= lost);
                }
            }
            Request::Delete(id) => {
                if let Some(client) = self.there(&id).filter(|c| c.marked) {
                    client.exists = false;
                    client.deleted_by_us = true;
                }
            }
        }
    }

    /// Registers, or brings a client of ours that is there to what is asked.
    pub fn admin_post(
        &mut self,
        wanted: &Wanted,
        now: DateTime<Utc>,
        fault: Fault,
    ) -> Result<Registered, RegisterError> {
        let unknown = || Err(RegisterError::OutcomeUnknown { why: "no answer to the registration".into() });
        match self.way(fault) {
            Way::NotSent => return Err(RegisterError::NoEffect { why: "no connection".into(), retry_after: None }),
            Way::Refused(status) => return Err(RegisterError::Refused(refusal("register client", status))),
            Way::Hangs => return unknown(),
            Way::Late => {
                self.late.push(Late::Admin(now + LATEST, Request::Post(wanted.clone())));
                return unknown();
            }
            Way::Through | Way::Lost => {}
        }
        match self.there(&wanted.id).map(|c| c.marked) {
            Some(false) => return Err(RegisterError::Foreign { why: foreign() }),
            _ if self.refuses(wanted) => return Err(RegisterError::Refused(refusal("register client", 400))),
            Some(true) => self.replace(wanted, fault == Fault::GrantsMore),
            None => self.create(wanted, fault == Fault::GrantsMore),
        }
        if matches!(fault, Fault::Lost | Fault::WrongBody) {
            return unknown();
        }
        Ok(Registered {
            management: Management { client_id: wanted.id.clone(), registration: None },
            client_secret: Some(wanted.secret.clone().into()),
            client_secret_expires_at: None,
            granted: self.granted(wanted),
            status: 201,
        })
    }

    /// Brings a client of ours to what is asked.
    pub fn admin_put(&mut self, wanted: &Wanted, now: DateTime<Utc>, fault: Fault) -> Result<Updated, CallError> {
        match self.way(fault) {
            Way::NotSent => return Err(unclear("no connection", false)),
            // A 404 that is not about the client says nothing of it.
            Way::Refused(404) => return Err(unclear("something else answers", false)),
            Way::Refused(status) => return Err(CallError::Refused(refusal("update client", status))),
            Way::Hangs => return Err(unclear("no answer", true)),
            Way::Late => {
                self.late.push(Late::Admin(now + LATEST, Request::Put(wanted.clone())));
                return Err(unclear("no answer", true));
            }
            Way::Through | Way::Lost => {}
        }
        match self.there(&wanted.id).map(|c| c.marked) {
            None => return Err(CallError::Refused(refusal("update client", 404))),
            Some(false) => return Err(CallError::Foreign { why: foreign() }),
            Some(true) if self.refuses(wanted) || wanted.keys.len() > 1 && !self.takes_second_key => {
                return Err(CallError::Refused(refusal("update client", 400)));
            }
            Some(true) => self.replace(wanted, fault == Fault::GrantsMore),
        }
        if matches!(fault, Fault::Lost | Fault::WrongBody) {
            return Err(unclear("no answer that can be used", true));
        }
        Ok(Updated {
            management: Management { client_id: wanted.id.clone(), registration: None },
            client_secret: None,
            granted: self.granted(wanted),
        })
    }

    /// Whether the client of this id is there, and ours.
    pub fn admin_get(&mut self, id: &str, fault: Fault) -> Result<Found, CallError> {
        match self.way(fault) {
            Way::Through => Ok(match self.there(id).map(|c| c.marked) {
                None => Found::Gone,
                Some(true) => Found::Ours,
                Some(false) => Found::Foreign,
            }),
            Way::Refused(status) if status != 404 => Err(CallError::Refused(refusal("read client", status))),
            _ => Err(unclear("no answer that can be used", false)),
        }
    }

    /// Deletes a client of ours.
    pub fn admin_delete(&mut self, id: &str, now: DateTime<Utc>, fault: Fault) -> Result<Deleted, CallError> {
        let deleted = |status, was_gone| Ok(Deleted { status, was_gone, tokens_left: None });
        match self.way(fault) {
            Way::NotSent => return Err(unclear("no connection", false)),
            Way::Refused(404) => return Err(unclear("something else answers", false)),
            Way::Refused(status) => return Err(CallError::Refused(refusal("delete client", status))),
            Way::Hangs => return Err(unclear("no answer", true)),
            Way::Late => {
                self.late.push(Late::Admin(now + LATEST, Request::Delete(id.into())));
                return Err(unclear("no answer", true));
            }
            Way::Through | Way::Lost => {}
        }
        let done = match self.there(id) {
            None => deleted(404, true),
            Some(client) if !client.marked => return Err(CallError::Foreign { why: foreign() }),
            Some(client) => {
                client.exists = false;
                client.deleted_by_us = true;
                deleted(204, false)
            }
        };
        if matches!(fault, Fault::Lost | Fault::WrongBody) {
            return Err(unclear("no answer that can be used", true));
        }
        done
    }

    /// All clients that carry our mark; a role that is too small sees none.
    pub fn admin_list(&mut self, fault: Fault) -> Result<BTreeMap<String, Present>, CallError> {
        match self.way(fault) {
            Way::Through if fault == Fault::Unmanageable => Ok(BTreeMap::new()),
            Way::Through => Ok(self
                .clients
                .iter()
                .filter(|c| c.exists && c.marked)
                .map(|c| {
                    let grant = Grant { scopes: Some(c.scopes.clone()), ..Grant::default() };
                    let keys = Some(c.keys.iter().cloned().collect());
                    (c.id.clone(), Present { grant, enabled: Some(!c.disabled), keys, extras: Vec::new() })
                })
                .collect()),
            _ => Err(unclear("no list", false)),
        }
    }

    /// What is late, and would be later than it can be, takes effect before this instant.
    pub fn settle_before(&mut self, instant: DateTime<Utc>) {
        let due = |late: &Late| matches!(late, Late::Admin(by, _) if *by <= instant);
        let (now, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.late).into_iter().partition(due);
        self.late = later;
        for late in now {
            if let Late::Admin(_, request) = late {
                self.acts_late(request);
            }
        }
    }
}
