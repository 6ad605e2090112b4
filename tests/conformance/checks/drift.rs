//! What somebody changes behind the operator's back.

use oauthclient_operator::authorization_server::CallError;

use super::{exactly, set};
use crate::results::{DRIFT_BY_LIST, DRIFT_BY_READING, DRIFT_CORRECTED, Results};
use crate::server::{READ, Server, WRITE};

pub fn by_hand(s: &Server, r: &mut Results) {
    let mut client = s.client();
    client.management = s.administrator.widen(&client.management);
    assert!(s.token(&client.credential, WRITE).expect("a wider client").scopes.contains(&WRITE.to_owned()));

    let listed = s.wire.run(s.backend.list(&s.installation));
    if s.abilities().lists {
        let listed = listed.expect("a list");
        let found = listed.iter().find(|c| c.client_id == client.management.client_id).expect("the client");
        assert!(set(found.granted.scopes.as_ref()).contains(WRITE), "{found:?}");
        r.yes(DRIFT_BY_LIST, "the scope that was added");
    } else {
        assert!(matches!(listed, Err(CallError::Inconclusive { may_have_acted: false, .. })), "{listed:?}");
        r.no(DRIFT_BY_LIST, "it has no list; `driftCheck` does nothing here");
    }

    let present = s.present(&mut client);
    let shown = set(present.granted.scopes.as_ref()).contains(WRITE);
    let seen = match (shown, s.abilities().reading_rotates) {
        (true, false) => "the scope that was added",
        (true, true) => "never on a timer: some servers replace the token",
        (false, _) => "the scope that was added is not shown",
    };
    r.put(DRIFT_BY_READING, shown, seen);

    let asked = client.asked.clone();
    exactly(&s.change(&mut client, asked).granted, &client.asked);
    exactly(&s.present(&mut client).granted, &client.asked);
    let narrow = s.token(&client.credential, READ).expect("a token").scopes == [READ];
    let more = s.token(&client.credential, WRITE);
    let corrected = narrow && !more.is_ok_and(|t| t.scopes.contains(&WRITE.to_owned()));
    let seen = if corrected { "by asking for the same again" } else { "what is not shown stays" };
    r.put(DRIFT_CORRECTED, corrected, seen);
    assert!(!s.abilities().lists || shown && corrected, "an admin API sees all and undoes all");
    s.delete(&client.management).expect("it goes");
}
