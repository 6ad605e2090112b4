//! Telling a live credential from one that never existed.

use oauthclient_operator::authorization_server::probe::ProbeMethod;
use oauthclient_operator::domain::evidence;

use super::words;
use crate::results::{PROVES, Results};
use crate::server::Server;

pub fn separates(s: &Server, r: &mut Results) {
    let client = s.client();
    let mut seen = Vec::new();
    let mut ways = 0;
    for method in ProbeMethod::ALL {
        if s.endpoints.endpoint(method).is_none() {
            seen.push(format!("{method}: no endpoint"));
            continue;
        }
        let live = s.try_by(method, &client.credential).expect("an answer");
        let control = s.try_by(method, &client.credential.never_existed()).expect("an answer");
        let separates = evidence::separates(method.as_str(), &live, &control);
        ways += usize::from(separates);
        let unusable = if separates { "" } else { " (of no use)" };
        seen.push(format!("{method}: {}, the other {}{unusable}", words(&live), words(&control)));
    }
    assert!(ways > 0, "{seen:?}");
    s.delete(&client.management).expect("it goes");
    r.yes(PROVES, seen.join("; "));
}
