//! Ends, and what is shown of them.

use oauthclient_operator::authorization_server::{CallError, Found};
use oauthclient_operator::domain::evidence::{self, Verdict};

use super::words;
use crate::results::{REVOKES, Results, TELLS_GONE, TOKENS_END};
use crate::server::{READ, Server};

pub fn revocation(s: &Server, r: &mut Results) {
    let client = s.client();
    let live = s.probe(&client.credential);
    let token = s.token(&client.credential, READ).expect("a token");
    assert!(s.administrator.is_live(&token), "a good token is told from a bad one");
    let deleted = s.delete(&client.management).expect("it is deleted");
    assert!(!deleted.was_gone && deleted.tokens_left.is_none(), "{deleted:?}");
    assert!(s.administrator.client(&client.management.client_id).is_none());
    let (after, control) = (s.probe(&client.credential), s.probe(&client.credential.never_existed()));
    assert_eq!(evidence::verdict(&after, &live, &control), Verdict::RefusedAsUnknown, "{after:?} {control:?}");
    assert!(s.token(&client.credential, READ).is_err());
    let seen = format!("deleted with {}; before {}, then {}", deleted.status, words(&live), words(&after));
    r.yes(REVOKES, format!("{seen}, like a client that never existed"));
    let left = s.administrator.is_live(&token);
    r.put(TOKENS_END, !left, if left { "introspection still says active" } else { "introspection says inactive" });
}

pub fn already_gone(s: &Server, r: &mut Results) {
    let client = s.client();
    let live = s.probe(&client.credential);
    s.delete(&client.management).expect("it is deleted");
    let again = s.delete(&client.management);
    let (read, changed) =
        (s.read(&client.management), s.wire.run(s.backend.update(&client.management, &client.asked, None)));
    let changed = changed.expect_err("nothing to change");
    if s.abilities().tells_gone {
        assert!(again.expect("that is fine").was_gone);
        assert!(matches!(read, Ok(Found::Gone)), "{read:?}");
        assert!(matches!(&changed, CallError::Refused(r) if r.status == 404), "{changed:?}");
        r.yes(TELLS_GONE, "404");
    } else {
        let (Err(CallError::Refused(again)), Err(CallError::Refused(read))) = (again, read) else {
            panic!("they are refusals")
        };
        assert_eq!((again.status, read.status), (401, 401));
        let seen = "401, as for a wrong token; the credential shows it";
        match changed {
            CallError::Refused(changed) => {
                assert_eq!(changed.status, 401);
                r.no(TELLS_GONE, seen);
            }
            // Keycloak fails at it: 500.
            _ => r.no(TELLS_GONE, format!("{seen}. A change of it fails without an answer of use")),
        }
    }
    assert_eq!(s.verdict(&live, &client.credential), Verdict::RefusedAsUnknown);
}
