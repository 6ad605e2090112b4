//! Registering.

use std::collections::BTreeSet;
use std::time::Duration;

use oauthclient_operator::authorization_server::keys::SigningAlg;
use oauthclient_operator::authorization_server::probe::Credential;
use oauthclient_operator::authorization_server::{ClientMetadata, RegisterError};
use oauthclient_operator::domain::evidence::Verdict;

use super::exactly;
use crate::results::{
    AUDIENCES, KEEPS_OWNER, METHODS, NEEDS_CREDENTIAL, OPENID, REGISTERS, Results, TOKEN_LIFETIME, UNKNOWN_SCOPE,
};
use crate::server::{READ, Server, WRITE};

pub fn exactly_what_was_asked(s: &Server, r: &mut Results) {
    let client = s.client();
    exactly(&client.registered.granted, &client.asked);
    assert!(s.administrator.client(&client.management.client_id).is_some());
    let token = s.token(&client.credential, READ).expect("a token");
    assert_eq!(token.scopes, [READ]);
    // Some refuse the scope, some leave it out without a word.
    let more = s.token(&client.credential, WRITE);
    assert!(more.as_ref().is_err() || !more.unwrap().scopes.contains(&WRITE.to_owned()));
    r.yes(REGISTERS, format!("answered {}", client.registered.status));
    s.delete(&client.management).expect("it goes");
}

pub fn every_method(s: &Server, r: &mut Results) {
    let mut clients = Vec::new();
    for alg in SigningAlg::ALL {
        let (client, key) = s.client_by_key(alg);
        // Hydra makes one all the same; it must be of no use.
        if let Some(client_secret) = client.registered.client_secret.clone() {
            let client_id = client.management.client_id.clone();
            let with_secret = Credential::ClientSecretBasic { client_id, client_secret };
            assert_ne!(s.probe(&with_secret).status, 200, "{alg:?}");
        }
        if let Some(keys) = &client.registered.granted.key_thumbprints {
            assert_eq!(*keys, [key.key_id], "{alg:?}");
        }
        s.token(&client.credential, READ).expect("a token by a key");
        clients.push(client);
    }
    for method in ["client_secret_basic", "client_secret_post"] {
        let client = s.client_of(ClientMetadata { token_endpoint_auth_method: method.into(), ..s.wanted() }, None);
        s.token(&client.credential, READ).expect(method);
        clients.push(client);
    }
    for method in ["client_secret_post", "none"] {
        let users = ClientMetadata {
            token_endpoint_auth_method: method.into(),
            grant_types: vec!["authorization_code".into(), "refresh_token".into()],
            redirect_uris: vec!["https://app.example/cb".into()],
            ..s.wanted()
        };
        clients.push(s.client_of(users, None));
    }
    let mut others = BTreeSet::new();
    for mut client in clients {
        let method = client.asked.token_endpoint_auth_method.clone();
        let got = client.registered.granted.token_endpoint_auth_method.clone().expect("a method");
        if got != method {
            others.insert(format!("`{method}` is registered as `{got}`, which the operator does not take for it"));
            client.asked.token_endpoint_auth_method = got;
        }
        exactly(&client.registered.granted, &client.asked);
        let live = s.probe(&client.credential);
        assert_eq!(live.status, 200, "{method}");
        s.delete(&client.management).expect("it goes");
        assert_eq!(s.verdict(&live, &client.credential), Verdict::RefusedAsUnknown, "{method}");
    }
    if others.is_empty() {
        r.yes(METHODS, "`client_secret_basic`, `client_secret_post`, `private_key_jwt` by ES256 and RS256, `none`");
    } else {
        r.no(METHODS, others.into_iter().collect::<Vec<_>>().join("; "));
    }
}

pub fn credential(s: &Server, r: &mut Results) {
    let Some(without) = &s.without_credential else {
        return r.no(NEEDS_CREDENTIAL, "whoever reaches it may register");
    };
    let asked = s.wanted();
    let refused = s.wire.run(without.register(&asked, s.choose(&asked).as_ref()));
    let refused = refused.expect_err("it is refused without");
    assert!(matches!(refused, RegisterError::Refused(_) | RegisterError::NoEffect { .. }), "{refused:?}");
    assert!(s.administrator.named(&asked.client_name).is_empty());
    r.yes(NEEDS_CREDENTIAL, "refused with a wrong one");
}

pub fn unknown_scope(s: &Server, r: &mut Results) {
    let asked = ClientMetadata { scopes: vec!["reports.raed".into()], ..s.wanted() };
    match s.register(&asked, s.choose(&asked).as_ref()) {
        Err(RegisterError::Refused(refusal)) => {
            assert!(s.administrator.named(&asked.client_name).is_empty());
            let near = refusal.description.is_some_and(|d| d.contains(READ));
            let near = if near { ", and the nearest names are told" } else { "" };
            r.yes(UNKNOWN_SCOPE, format!("refused{near}"));
        }
        Err(error) => panic!("{error:?}"),
        Ok(registered) => {
            s.delete(&registered.management).expect("it goes");
            r.no(UNKNOWN_SCOPE, "the server knows no list of scopes");
        }
    }
}

pub fn openid(s: &Server, r: &mut Results) {
    let asked = ClientMetadata {
        scopes: vec!["openid".into(), READ.into()],
        grant_types: vec!["authorization_code".into()],
        redirect_uris: vec!["https://app.example/cb".into()],
        ..s.wanted()
    };
    match s.register(&asked, s.choose(&asked).as_ref()) {
        Ok(registered) => {
            exactly(&registered.granted, &asked);
            s.delete(&registered.management).expect("it goes");
            r.yes(OPENID, "granted");
        }
        Err(RegisterError::Refused(refusal)) => {
            assert!(s.administrator.named(&asked.client_name).is_empty());
            r.no(OPENID, format!("refused with {}", refusal.status));
        }
        Err(error) => panic!("{error:?}"),
    }
}

pub fn owner(s: &Server, r: &mut Results) {
    let client = s.client();
    let at_the_server = s.administrator.client(&client.management.client_id).expect("the client").to_string();
    // As JSON writes it within JSON.
    let asked = &client.asked;
    let purpose = asked.purpose.split('"').next().expect("a part");
    let kept = [asked.owner_team.as_str(), &asked.owner_email, purpose, &asked.object];
    let kept = kept.iter().all(|word| at_the_server.contains(word));
    assert_eq!(kept, s.abilities().keeps_owner, "{at_the_server}");
    s.delete(&client.management).expect("it goes");
    r.put(KEEPS_OWNER, kept, if kept { "as the administrator sees it" } else { "the name carries the entry's" });
}

pub fn lifetime(s: &Server, r: &mut Results) {
    let seconds = 77;
    let asked = ClientMetadata { access_token_lifetime: Some(Duration::from_secs(seconds)), ..s.wanted() };
    let client = s.client_of(asked, None);
    let token = s.token(&client.credential, READ).expect("a token");
    let kept = token.lifetime.abs_diff(seconds) <= 2;
    assert_eq!(kept, s.abilities().token_lifetime, "{token:?}");
    s.delete(&client.management).expect("it goes");
    r.put(TOKEN_LIFETIME, kept, if kept { "what was asked" } else { "the server's own" });
}

pub fn audiences(s: &Server, r: &mut Results) {
    let [one, another] = ["https://api.corp.example/reports", "https://api.corp.example/billing"];
    let asked = ClientMetadata { audiences: vec![one.into()], ..s.wanted() };
    if !s.abilities().restricts_audiences {
        let refused = s.register(&asked, s.choose(&asked).as_ref()).expect_err("nothing is left out without a word");
        assert!(matches!(refused, RegisterError::Refused(_)), "{refused:?}");
        assert!(s.administrator.named(&asked.client_name).is_empty());
        return r.no(AUDIENCES, "the operator refuses `spec.audiences`");
    }
    let mut client = s.client_of(asked, None);
    exactly(&client.registered.granted, &client.asked);
    let token = s.token_for(&client.credential, READ, one).expect("a token for what was asked");
    assert_eq!(s.administrator.audiences(&token), [one]);
    s.token_for(&client.credential, READ, another).expect_err("a token for another");
    let below = s.token_for(&client.credential, READ, &format!("{one}/2026")).is_ok();
    let changed = ClientMetadata { audiences: vec![another.into()], ..client.asked.clone() };
    exactly(&s.change(&mut client, changed).granted, &client.asked);
    s.token_for(&client.credential, READ, another).expect("a token after the change");
    s.token_for(&client.credential, READ, one).expect_err("and none for what was asked before");
    s.delete(&client.management).expect("it goes");
    let below = if below { ", and what is below its path" } else { "" };
    r.yes(AUDIENCES, format!("those that were asked for{below}; others are refused"));
}
