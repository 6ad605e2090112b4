//! SIGTERM finishes what was begun, within a bound, and loses nothing.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::json;

use crate::support::{Bed, World};

pub fn stopping_finishes_what_was_begun(bed: &Bed) {
    let operator = bed.ready_operator(&[]);
    let w = World::new(bed, "stopping");
    w.freeze_server(true);
    w.client("c", &json!({}));
    w.until("the server is being asked", || attempted(&w));
    operator.ask_to_stop();
    w.until("it is ready no more", || operator.get("/readyz").is_some_and(|(status, _)| status == 503));
    w.client("late", &json!({}));
    w.freeze_server(false);
    assert_eq!(operator.ended().code(), Some(0));
    assert_eq!(w.live().len(), 1, "what was begun was finished, and nothing else was begun");
    let entry = w.entry("c");
    assert_eq!(entry["status"]["phase"], "Registered", "{entry:#}");

    let operator = bed.ready_operator(&[]);
    w.wait("oauthclient/c", "condition=Ready");
    w.wait("oauthclient/late", "condition=Ready");
    assert_eq!(w.live().len(), 2);
    operator.finish();
}

pub fn stopping_does_not_wait_for_ever(bed: &Bed) {
    let operator = bed.ready_operator(&[("OPERATOR_STOP_WITHIN", "2")]);
    let w = World::new(bed, "patience");
    let limits = json!({"requestTimeout": "60s"});
    let deaf = json!({"issuer": deaf_server(), "allowPlainHttp": true, "tls": null, "limits": limits});
    w.authorization_server("deaf", &deaf);
    w.wait("authorizationserver/deaf", "condition=Ready");
    w.client("c", &json!({"authorizationServerRef": {"name": "deaf"}}));
    w.until("the server is being asked", || attempted(&w));
    operator.ask_to_stop();
    w.until("it says that it waited for long enough", || operator.said("WARN", "stopped with passes under way"));
    assert_eq!(operator.ended().code(), Some(0));
    // Nobody knows what became of that request: that is said.
    let operator = bed.ready_operator(&[]);
    w.until("the possible orphan is on record", || {
        let all = bed.kubectl(&["-n", "oauthclient-system", "get", "clientregistrations", "-o", "json"]);
        all.contains("PossibleOrphan")
    });
    let counted = || operator.metric("oauthclient_possible_orphans", &["server=\"deaf\""]);
    w.until("and counted", || counted() > 0.0);
    w.kubectl(&["delete", "oauthclient/c", "--wait=false"]);
    operator.finish();
}

/// An authorization server that hears registrations and never answers them; its issuer.
fn deaf_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let issuer = format!("http://{}", listener.local_addr().expect("an address"));
    let metadata = json!({
        "issuer": issuer, "token_endpoint": format!("{issuer}/token"),
        "registration_endpoint": format!("{issuer}/register"), "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
    });
    std::thread::spawn(move || {
        let mut unanswered = Vec::new();
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap_or_default();
            if request[..length].starts_with(b"POST") {
                // Kept open.
                unanswered.push(stream);
                continue;
            }
            let body = if request[..length].windows(5).any(|w| w == b"/keys") {
                json!({"keys": []})
            } else {
                metadata.clone()
            };
            let body = body.to_string();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    issuer
}

fn attempted(w: &World) -> bool {
    let selector = format!("oauthclient.dev/client-namespace={}", w.namespace);
    let path = "jsonpath={.items[*].status.attemptedAt}";
    !w.kubectl(&["-n", "oauthclient-system", "get", "clientregistrations", "-l", &selector, "-o", path]).is_empty()
}
