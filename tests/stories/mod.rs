//! Stories that are told of every authorization server where the operator keeps clients by an admin API, each with the
//! server as a parameter.
#![allow(dead_code, reason = "each test binary tells a part of them")]

pub mod crashes;
pub mod drift;
pub mod ends;
pub mod foreign;
pub mod lives;
pub mod lost_ledger;
pub mod many;
pub mod planted;
pub mod rotation;
pub mod sweeping;

use serde_json::{Value, json};

use crate::support::World;
use crate::support::admin::AdminServer;

/// Makes an OAuthClient for this server, with these members besides the usual ones.
pub fn client(w: &World, server: &dyn AdminServer, name: &str, members: &Value) {
    let mut all = members.clone();
    all["authorizationServerRef"] = json!({"name": server.name()});
    w.client(name, &all);
}

/// Makes clients and waits until they are Ready; their ids.
pub fn clients(w: &World, server: &dyn AdminServer, names: &[&str]) -> Vec<String> {
    for name in names {
        client(w, server, name, &json!({}));
    }
    names
        .iter()
        .map(|name| {
            w.wait(&format!("oauthclient/{name}"), "condition=Ready");
            w.client_id(name)
        })
        .collect()
}
