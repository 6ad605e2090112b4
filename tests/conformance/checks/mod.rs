//! What every backend is put through. Each check asserts what must hold whatever the server, holds what the backend
//! declares against what the server does, and says what was seen.

mod changes;
mod doubt;
mod drift;
mod ends;
mod marks;
mod proof;
mod registering;
mod rotation;

use std::collections::BTreeSet;

use oauthclient_operator::api::ProbeRecord;
use oauthclient_operator::authorization_server::{ClientMetadata, Granted};

use super::results::{self, Results};
use super::server::Server;

/// Puts a server through all of them, and compares what was seen with what is written.
pub fn all(s: &Server) {
    let mut r = Results::of(s.name, &s.version);
    for check in [
        registering::exactly_what_was_asked,
        registering::every_method,
        registering::credential,
        registering::unknown_scope,
        registering::openid,
        registering::owner,
        registering::lifetime,
        registering::audiences,
        marks::foreign,
        marks::list,
        proof::separates,
        changes::scopes,
        changes::reading,
        drift::by_hand,
        rotation::second_registration,
        rotation::second_key,
        rotation::other_secret,
        ends::revocation,
        ends::already_gone,
        doubt::registering,
        doubt::registering_late,
        doubt::changing,
        doubt::deleting,
    ] {
        check(s, &mut r);
    }
    results::judge(r);
}

fn set(list: Option<&Vec<String>>) -> BTreeSet<&str> {
    list.into_iter().flatten().map(String::as_str).collect()
}

/// Nothing but what was asked, as far as the server says.
#[track_caller]
fn exactly(granted: &Granted, asked: &ClientMetadata) {
    let same = |got: &Option<Vec<String>>, wanted: &Vec<String>| match got {
        Some(got) => assert_eq!(set(Some(got)), set(Some(wanted))),
        // RFC 7591 section 3.2.1 has servers say all that they registered.
        None => assert!(wanted.is_empty(), "it does not say that it has {wanted:?}"),
    };
    same(&granted.scopes, &asked.scopes);
    same(&granted.grant_types, &asked.grant_types);
    same(&granted.redirect_uris, &asked.redirect_uris);
    same(&granted.audiences, &asked.audiences);
    assert_eq!(granted.token_endpoint_auth_method.as_ref(), Some(&asked.token_endpoint_auth_method));
    assert!(granted.enabled != Some(false) && granted.extras.is_empty(), "{granted:?}");
}

/// An answer in a few words.
fn words(answer: &ProbeRecord) -> String {
    match &answer.error {
        Some(error) => format!("{} `{error}`", answer.status),
        None => answer.status.to_string(),
    }
}
