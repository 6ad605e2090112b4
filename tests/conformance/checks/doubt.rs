//! Requests whose outcome is not known: the server acts and the connection breaks, or acts after all was given up.

use std::time::{Duration, Instant};

use oauthclient_operator::authorization_server::{CallError, Chosen, ClientMetadata, RegisterError};
use oauthclient_operator::domain::evidence::Verdict;

use super::exactly;
use crate::results::{CHANGES_AGAIN, DELETES_AGAIN, LATE_REGISTRATION, REGISTERS_AGAIN, Results};
use crate::server::{Server, WRITE, credential};
use crate::support::PATIENCE;
use crate::support::proxy::{Call, Lie};

/// A request about clients by this method, and none for a token.
fn about_clients(method: &'static str) -> impl Fn(&Call) -> bool {
    move |call| call.method == method && !call.target.contains("token")
}

/// The server acts on the next of these, and its answer is lost.
fn answer_is_lost<T>(s: &Server, method: &'static str, act: impl FnOnce() -> T) -> T {
    let told = s.proxy.lie_times(1, about_clients(method), Lie::ActedButReset);
    let outcome = act();
    assert_eq!(told.matched(), 1, "the lie was told");
    told.stop();
    outcome
}

fn registered_in_doubt(s: &Server, asked: &ClientMetadata, chosen: Option<&Chosen>) {
    let outcome = answer_is_lost(s, "POST", || s.wire.run(s.lossy.register(asked, chosen)));
    assert!(matches!(outcome, Err(RegisterError::OutcomeUnknown { .. })), "{outcome:?}");
    assert_eq!(s.administrator.named(&asked.client_name).len(), 1, "it took effect");
}

pub fn registering(s: &Server, r: &mut Results) {
    let asked = s.wanted();
    let chosen = s.choose(&asked);
    registered_in_doubt(s, &asked, chosen.as_ref());
    let again = s.register(&asked, chosen.as_ref()).expect("asked again, it works");
    exactly(&again.granted, &asked);
    let credential = credential(&asked, &again, chosen.as_ref(), None);
    let live = s.probe(&credential);
    assert_eq!(live.status, 200);
    let there = s.administrator.named(&asked.client_name);
    s.delete(&again.management).expect("it goes");
    assert_eq!(s.verdict(&live, &credential), Verdict::RefusedAsUnknown);
    let left = s.administrator.named(&asked.client_name);
    if s.abilities().chooses_id {
        assert_eq!((there.len(), left.len()), (1, 0));
        r.yes(REGISTERS_AGAIN, "the same client, brought to what is asked");
    } else {
        assert_eq!((there.len(), left.len()), (2, 1));
        r.no(REGISTERS_AGAIN, "a second client; nobody can manage the first, whose token is lost: *PossibleOrphan*");
        for id in left {
            s.administrator.remove(&id);
        }
    }
}

/// A registration is held back until its client has been deleted, and then takes effect.
pub fn registering_late(s: &Server, r: &mut Results) {
    let asked = s.wanted();
    let chosen = s.choose(&asked);
    let held = s.proxy.lie_times(1, about_clients("POST"), Lie::Held);
    let outcome = std::thread::scope(|scope| {
        let call = scope.spawn(|| s.wire.run(s.lossy.register(&asked, chosen.as_ref())));
        until("the request is held", || held.matched() == 1);
        s.proxy.cut();
        call.join().expect("an outcome")
    });
    assert!(matches!(outcome, Err(RegisterError::OutcomeUnknown { .. })), "{outcome:?}");
    let release = || {
        held.release();
        until("the request has taken effect", || s.proxy.in_flight() == 0);
        s.administrator.named(&asked.client_name)
    };
    let Some(chosen) = chosen else {
        let there = release();
        assert_eq!(there.len(), 1);
        s.administrator.remove(&there[0]);
        return r.no(LATE_REGISTRATION, "its id and its token are in the lost answer");
    };
    let management = oauthclient_operator::authorization_server::Management {
        client_id: chosen.client_id.clone(),
        registration: None,
    };
    assert!(s.delete(&management).expect("nothing is there yet").was_gone);
    assert_eq!(release(), [chosen.client_id.as_str()]);
    let listed = s.wire.run(s.backend.list(&s.installation)).expect("a list");
    assert!(listed.iter().any(|c| c.client_id == chosen.client_id && c.entry.as_ref() == Some(&asked.mark.entry)));
    assert!(!s.delete(&management).expect("it goes").was_gone);
    assert!(s.administrator.named(&asked.client_name).is_empty());
    r.yes(LATE_REGISTRATION, "it is listed, and deleted by its id");
}

pub fn changing(s: &Server, r: &mut Results) {
    let client = s.client();
    let live = s.probe(&client.credential);
    let wider = ClientMetadata { scopes: vec![client.asked.scopes[0].clone(), WRITE.into()], ..client.asked.clone() };
    let there = s.through_the_proxy(&client.management);
    let outcome = answer_is_lost(s, "PUT", || s.wire.run(s.lossy.update(&there, &wider, None)));
    assert!(matches!(outcome, Err(CallError::Inconclusive { may_have_acted: true, .. })), "{outcome:?}");
    match s.wire.run(s.backend.update(&client.management, &wider, None)) {
        Ok(updated) => {
            exactly(&updated.granted, &wider);
            assert_eq!(s.token(&client.credential, WRITE).expect("a token").scopes, [WRITE]);
            s.delete(&updated.management).expect("it goes");
            assert_eq!(s.verdict(&live, &client.credential), Verdict::RefusedAsUnknown);
            r.yes(CHANGES_AGAIN, "the same request again");
        }
        Err(CallError::Refused(refusal)) => {
            assert!(client.management.registration.is_some() && refusal.status == 401, "{refusal:?}");
            let CallError::Refused(kept) = s.delete(&client.management).expect_err("it cannot be deleted") else {
                panic!("it is a refusal")
            };
            assert_eq!(kept.status, 401);
            assert_eq!(s.verdict(&live, &client.credential), Verdict::Accepted, "it lives on");
            s.administrator.remove(&client.management.client_id);
            r.no(CHANGES_AGAIN, "the new registration access token was in the lost answer: the client lives on, and only the server's administrator can end it");
        }
        Err(error) => panic!("{error:?}"),
    }
}

pub fn deleting(s: &Server, r: &mut Results) {
    let client = s.client();
    let live = s.probe(&client.credential);
    let there = s.through_the_proxy(&client.management);
    let outcome = answer_is_lost(s, "DELETE", || s.wire.run(s.lossy.delete(&there, &s.installation)));
    assert!(matches!(outcome, Err(CallError::Inconclusive { may_have_acted: true, .. })), "{outcome:?}");
    let again = s.delete(&client.management);
    assert_eq!(s.verdict(&live, &client.credential), Verdict::RefusedAsUnknown);
    assert!(s.administrator.client(&client.management.client_id).is_none());
    match again {
        Ok(deleted) => {
            assert!(deleted.was_gone);
            r.yes(DELETES_AGAIN, "asked again, it is gone");
        }
        Err(CallError::Refused(refusal)) => {
            r.no(DELETES_AGAIN, format!("asked again, {}; the credential shows it", refusal.status));
        }
        Err(error) => panic!("{error:?}"),
    }
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
