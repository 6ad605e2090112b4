//! Changes that the operator makes, and what becomes of the means to make the next.

use oauthclient_operator::authorization_server::{ClientMetadata, Management};
use secrecy::ExposeSecret;

use super::exactly;
use crate::results::{CHANGE_KEEPS_TOKEN, CHANGES_SCOPES, READ_KEEPS_TOKEN, Results};
use crate::server::{READ, Server, WRITE};

pub fn scopes(s: &Server, r: &mut Results) {
    let mut client = s.client();
    let before = client.management.clone();
    for scopes in [vec![WRITE], vec![READ, WRITE], vec![READ]] {
        let scopes = scopes.into_iter().map(str::to_owned).collect();
        let asked = ClientMetadata { scopes, ..client.asked.clone() };
        let updated = s.change(&mut client, asked);
        exactly(&updated.granted, &client.asked);
        let present = s.present(&mut client);
        exactly(&present.granted, &client.asked);
        for scope in &client.asked.scopes {
            assert_eq!(s.token(&client.credential, scope).expect("a token").scopes, [scope.as_str()]);
        }
    }
    assert_eq!(s.probe(&client.credential).status, 200, "the secret stays");
    let more = s.token(&client.credential, WRITE);
    assert!(more.as_ref().is_err() || !more.unwrap().scopes.contains(&WRITE.to_owned()), "it is narrower now");
    r.yes(CHANGES_SCOPES, "narrower and wider, with the same secret");
    token(r, CHANGE_KEEPS_TOKEN, &before, &client.management);
    s.delete(&client.management).expect("it goes");
}

pub fn reading(s: &Server, r: &mut Results) {
    assert!(s.abilities().reads);
    let mut client = s.client();
    let before = client.management.clone();
    exactly(&s.present(&mut client).granted, &client.asked);
    token(r, READ_KEEPS_TOKEN, &before, &client.management);
    assert!(s.abilities().reading_rotates || same_token(&before, &client.management) != Some(false));
    s.delete(&client.management).expect("it goes");
}

fn same_token(a: &Management, b: &Management) -> Option<bool> {
    let token = |m: &Management| m.registration.as_ref().map(|r| r.access_token.expose_secret().to_owned());
    Some(token(a)? == token(b)?)
}

fn token(r: &mut Results, ability: &str, before: &Management, after: &Management) {
    match same_token(before, after) {
        None => r.yes(ability, "there is none"),
        Some(true) => r.yes(ability, "the same"),
        Some(false) => r.no(ability, "it is replaced: the answer has the only copy of the new one"),
    }
}
