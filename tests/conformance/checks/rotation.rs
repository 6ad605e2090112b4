//! Replacing a credential under a workload that asks for a token every 100 ms.

use oauthclient_operator::authorization_server::ClientMetadata;
use oauthclient_operator::authorization_server::keys::{ClientKey, SigningAlg};
use oauthclient_operator::authorization_server::probe::Credential;
use oauthclient_operator::domain::evidence::{self, Verdict};
use secrecy::SecretString;

use crate::consumer::Consumer;
use crate::results::{OTHER_SECRET, Results, SECOND_KEY, SECOND_REGISTRATION};
use crate::server::{READ, Server, by_key, random};

fn consumer(s: &Server, credential: &Credential) -> Consumer {
    // Hydra in memory says 401 to a good credential when its look at the client meets a change of it.
    Consumer::start(&s.ca, &s.endpoints.token_endpoint, READ, credential, s.at_once == 1)
}

/// As the operator does it for secrets: a second client beside the first, shown to work, published; then the first goes.
pub fn second_registration(s: &Server, r: &mut Results) {
    let first = s.client();
    let consumer = consumer(s, &first.credential);
    let second = s.client();
    assert_eq!(s.probe(&second.credential).status, 200);
    consumer.publish(&second.credential);
    let live = s.probe(&first.credential);
    assert_eq!(live.status, 200, "both for as long as it takes");
    s.delete(&first.management).expect("the first goes");
    assert_eq!(s.verdict(&live, &first.credential), Verdict::RefusedAsUnknown);
    consumer.goes_on();
    consumer.was_never_refused();
    s.delete(&second.management).expect("the second goes");
    r.yes(SECOND_REGISTRATION, "the first is refused in the end");
}

pub fn second_key(s: &Server, r: &mut Results) {
    for alg in SigningAlg::ALL {
        let (mut client, first) = s.client_by_key(alg);
        let consumer = consumer(s, &client.credential);
        let second = ClientKey::generate(alg).expect("a key");
        let mut both = client.asked.clone();
        let keys = both.jwks.as_mut().and_then(|j| j["keys"].as_array_mut()).expect("keys");
        keys.push(second.public_jwk.clone());
        s.change(&mut client, both);
        consumer.goes_on();
        let with_second = by_key(client.management.client_id.clone(), &second);
        assert_eq!(s.probe(&with_second).status, 200, "{alg:?}");
        consumer.publish(&with_second);
        let only = ClientMetadata { jwks: Some(second.public_jwks()), ..client.asked.clone() };
        s.change(&mut client, only);
        consumer.goes_on();
        let (old, new) = (s.probe(&client.credential), s.probe(&with_second));
        assert_ne!(old.status, 200, "{alg:?}: the first key is refused");
        // As the operator finds it out; a server may have words of its own for a key that it does not know.
        let control = s.probe(&client.credential.never_existed());
        let refused = evidence::refuses_key(&old, &new, &control) || evidence::refuses_key_beside(&old, &new, &new);
        assert!(refused, "{alg:?}: {old:?}");
        assert!(s.token(&client.credential, READ).is_err());
        consumer.was_never_refused();
        assert_ne!(first.key_id, second.key_id);
        s.delete(&client.management).expect("it goes");
    }
    r.yes(SECOND_KEY, "the first key is refused in the end");
}

pub fn other_secret(s: &Server, r: &mut Results) {
    let mut client = s.client();
    let other: SecretString = format!("s-{}+%", random()).into();
    let client_id = client.management.client_id.clone();
    let with_other = Credential::ClientSecretBasic { client_id, client_secret: other.clone() };
    let updated = s.wire.run(s.backend.update(&client.management, &client.asked, Some(&other)));
    if let Ok(updated) = &updated {
        client.management = updated.management.clone();
    }
    if s.abilities().sets_secret {
        updated.expect("it is taken");
        assert_eq!(s.probe(&with_other).status, 200, "the other one works");
        assert_ne!(s.probe(&client.credential).status, 200, "the one before does not");
        r.yes(OTHER_SECRET, "without an overlap: the one before is refused at once");
    } else {
        assert_eq!(s.probe(&client.credential).status, 200, "the secret stays: {updated:?}");
        r.no(OTHER_SECRET, "the server makes it, once");
    }
    s.delete(&client.management).expect("it goes");
}
