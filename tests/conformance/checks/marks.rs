//! Whose clients these are.

use std::collections::BTreeSet;

use futures::StreamExt;
use oauthclient_operator::authorization_server::{
    CallError, Chosen, ClientMetadata, Found, Management, Mark, RegisterError,
};

use crate::results::{CHOOSES_ID, LISTS, Results};
use crate::server::{Server, random};
use crate::support::now;

/// More than fit on a page of any of these servers.
const MANY: usize = 103;

pub fn foreign(s: &Server, r: &mut Results) {
    let asked = s.wanted();
    let Some(chosen) = s.choose(&asked) else {
        assert!(!s.abilities().chooses_id);
        return r.no(CHOOSES_ID, "the server does, so none can be taken for ours");
    };
    assert!(s.abilities().chooses_id);
    assert_eq!(s.choose(&asked).map(|c| c.client_id), Some(chosen.client_id.clone()), "always the same");
    let id = &chosen.client_id;
    let management = Management { client_id: id.clone(), registration: None };
    let is_left_alone = |asked: &ClientMetadata, installation: &str| {
        let before = s.administrator.client(id);
        assert!(before.is_some());
        let register = s.register(asked, Some(&chosen));
        assert!(matches!(register, Err(RegisterError::Foreign { .. })), "{register:?}");
        let delete = s.wire.run(s.backend.delete(&management, installation));
        assert!(matches!(delete, Err(CallError::Foreign { .. })), "{delete:?}");
        let read = s.wire.run(s.backend.read(&management, installation));
        assert!(matches!(read, Ok(Found::Foreign { .. })), "{read:?}");
        assert_eq!(s.administrator.client(id), before, "neither adopted nor changed nor deleted");
    };

    // Nobody's.
    s.administrator.plant(id);
    is_left_alone(&asked, &s.installation);
    let update = s.wire.run(s.backend.update(&management, &asked, None));
    assert!(matches!(update, Err(CallError::Foreign { .. })), "{update:?}");
    s.administrator.remove(id);

    // Another installation's, and another entry's of this one.
    let registered = s.register(&asked, Some(&chosen)).expect("the id is free again");
    assert_eq!(registered.management.client_id, *id);
    let mark = Mark { installation: random(), entry: asked.mark.entry.clone() };
    is_left_alone(&ClientMetadata { mark: mark.clone(), ..asked.clone() }, &mark.installation);
    let mark = Mark { entry: "oac-other".into(), ..asked.mark.clone() };
    let other = s.register(&ClientMetadata { mark, ..asked.clone() }, Some(&chosen));
    assert!(matches!(other, Err(RegisterError::Foreign { .. })), "{other:?}");
    s.delete(&management).expect("ours goes");
    r.yes(CHOOSES_ID, "refused with the name of its mark");
}

pub fn list(s: &Server, r: &mut Results) {
    let installation = random();
    let list = |of: &str| s.wire.run(s.backend.list(of));
    if !s.abilities().lists {
        assert!(matches!(list(&installation), Err(CallError::Inconclusive { may_have_acted: false, .. })));
        return r.no(LISTS, "there is no way to list");
    }
    assert_eq!(list(&installation).expect("an empty list"), []);
    let asked: Vec<ClientMetadata> = (0..MANY)
        .map(|_| {
            let asked = s.wanted();
            let mark = Mark { installation: installation.clone(), ..asked.mark.clone() };
            ClientMetadata { mark, ..asked }
        })
        .collect();
    let chosen: Vec<Chosen> = asked.iter().map(|a| s.choose(a).expect("an id")).collect();
    s.wire.run(async {
        let all = asked.iter().zip(&chosen).map(|(asked, chosen)| s.backend.register(asked, Some(chosen)));
        let outcomes: Vec<_> = futures::stream::iter(all).buffer_unordered(s.at_once).collect().await;
        for outcome in outcomes {
            outcome.expect("a client");
        }
    });
    let listed = list(&installation).expect("a list");
    let ids = |of: &mut dyn Iterator<Item = &String>| of.cloned().collect::<BTreeSet<String>>();
    assert_eq!(ids(&mut listed.iter().map(|c| &c.client_id)), ids(&mut chosen.iter().map(|c| &c.client_id)));
    let entries = listed.iter().map(|c| c.entry.as_ref().expect("an entry"));
    assert_eq!(ids(&mut entries.into_iter()), ids(&mut asked.iter().map(|a| &a.mark.entry)));
    assert!(listed.iter().all(|c| (now() - c.created_at.expect("a time")).abs() < chrono::TimeDelta::hours(1)));
    assert_eq!(list(&installation[..15]).expect("a list"), [], "no prefix of it");
    assert_eq!(list(&random()).expect("a list"), [], "not another's");
    s.wire.run(async {
        let all = chosen.iter().map(|c| Management { client_id: c.client_id.clone(), registration: None });
        let all = all.map(|m| async { s.backend.delete(&{ m }, &installation).await.map(|d| d.was_gone) });
        let outcomes: Vec<_> = futures::stream::iter(all).buffer_unordered(s.at_once).collect().await;
        assert!(outcomes.into_iter().all(|gone| !gone.expect("it goes")));
    });
    assert_eq!(list(&installation).expect("an empty list"), []);
    r.yes(LISTS, format!("{MANY} of them"));
}
