//! A credential is replaced while its client is in use, both ways; and the operator dies at every step of it.

use serde_json::{Value, json};

use super::client;
use crate::support::admin::AdminServer;
use crate::support::{Bed, World};

/// Steps at which the operator dies once each while a key is rotated in place; `/2` is the second time that it gets
/// there, which takes the key before away at the server.
const POINTS: [&str; 12] = [
    "after-rotate-key",
    "before-next-key",
    "after-next-key",
    "before-put",
    "after-put",
    "before-promote",
    "after-promote",
    "after-publish",
    "before-put/2",
    "after-put/2",
    "before-drop-key",
    "after-drop-key",
];

fn members(method: &str) -> Value {
    json!({"tokenEndpointAuthMethod": method, "rotation": {"overlap": "6s"}})
}

fn rotate(w: &World, name: &str) {
    w.kubectl(&["annotate", &format!("oauthclient/{name}"), "oauthclient.dev/rotate=now"]);
}

fn way(w: &World, name: &str) -> Value {
    w.get(&format!("oauthclient/{name}"))["status"]["rotation"]["way"].clone()
}

pub fn rotation(w: &World, server: &dyn AdminServer) {
    let before = server.client_ids();
    for (name, method, expected) in
        [("turns-secret", "client_secret_basic", "NewRegistration"), ("turns-key", "private_key_jwt", "InPlace")]
    {
        client(w, server, name, &members(method));
        w.wait(&format!("oauthclient/{name}"), "condition=Ready");
        let secret = format!("{name}-oauth");
        let (old, id) = (w.secret(&secret), w.get(&format!("oauthclient/{name}"))["status"]["clientId"].clone());
        rotate(w, name);
        w.used_until(&secret, "it is rotated", || way(w, name) == expected && w.secret(&secret) != old);
        w.token_with(&old).expect("the credential before goes on for the overlap");
        let same = w.get(&format!("oauthclient/{name}"))["status"]["clientId"] == id;
        assert_eq!(same, expected == "InPlace");
        w.used_until(&secret, "the credential before is refused", || w.token_with(&old).is_err());
        if same {
            w.until("that is on record", || w.entry(name)["status"]["keyRotation"]["retiredAt"].is_string());
        }
        w.until("one client is left", || server.client_ids().len() == before.len() + 1);
        w.kubectl(&["delete", &format!("oauthclient/{name}"), "--timeout=120s"]);
        assert_eq!(w.entry(name)["status"]["evidence"]["level"], "Proven");
    }
    assert_eq!(server.client_ids(), before);
}

pub fn crashes(bed: &Bed, w: &World, server: &dyn AdminServer) {
    for point in POINTS {
        let name = format!("key-{}", point.replace("/2", "-again"));
        let object = format!("oauthclient/{name}");
        let secret = format!("{name}-oauth");
        let operator = bed.operator(&[]);
        client(w, server, &name, &members("private_key_jwt"));
        w.wait(&object, "condition=Ready");
        operator.stop();
        let (old, id) = (w.secret(&secret), w.get(&object)["status"]["clientId"].clone());
        let mark = w.scratch(&format!("died-at-{name}"));
        rotate(w, &name);
        let operator = bed.operator(&[("FAULT_POINT", point), ("FAULT_FILE", &mark)]);
        w.until(&format!("it dies at {point}"), || std::path::Path::new(&mark).exists());
        operator.stop();
        w.token(&secret).expect("whatever is published works");
        let operator = bed.operator(&[]);
        w.used_until(&secret, "it is rotated", || way(w, &name) == "InPlace" && w.secret(&secret) != old);
        w.until("and the key before is gone, on record", || {
            w.entry(&name)["status"]["keyRotation"]["retiredAt"].is_string()
        });
        w.token_with(&old).expect_err("the key before");
        w.token(&secret).expect("the new one");
        assert_eq!(w.get(&object)["status"]["clientId"], id, "{point}");
        assert_eq!(
            (w.entries(&name).len(), server.keys(id.as_str().expect("an id")).len()),
            (1, 1),
            "{point}: one rotation"
        );
        w.kubectl(&["delete", &object, "--timeout=120s"]);
        operator.stop();
    }
}
