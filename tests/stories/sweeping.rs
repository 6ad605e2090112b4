//! Asking for sweeps, and what they find.

use serde_json::{Value, json};

use crate::support::World;
use crate::support::admin::AdminServer;
use crate::support::operator::INSTALLATION;
use crate::support::process::Running;

/// Changes how orphans are swept.
pub fn sweeping(w: &World, server: &dyn AdminServer, members: &Value) {
    w.patch(&server.object(), &json!({"spec": {"orphanSweep": members}}));
}

pub fn ask(w: &World, server: &dyn AdminServer) {
    w.kubectl(&["annotate", "authorizationserver", server.name(), "oauthclient.dev/sweep=now", "--overwrite"]);
}

/// Asks for a sweep, and waits until it is done.
pub fn sweep(w: &World, server: &dyn AdminServer) {
    ask(w, server);
    w.until("the annotation has cleared itself", || is_done(w, server));
}

pub fn is_done(w: &World, server: &dyn AdminServer) -> bool {
    w.get(&server.object())["metadata"]["annotations"]["oauthclient.dev/sweep"].is_null()
}

pub fn survey(w: &World, server: &dyn AdminServer) -> Value {
    w.get(&server.object())["status"]["survey"].clone()
}

/// Makes a client at the server that looks as one of this installation's does, with the entry named.
pub fn plant(server: &dyn AdminServer, like: &str, installation: &str, entry: &str) -> String {
    let id = format!("oac-{installation}-{entry}");
    server.plant_like(like, &id, (installation, &format!("oac-{entry}")));
    id
}

pub fn ours(w: &World) -> String {
    w.installation(INSTALLATION)
}

pub fn is(operator: &Running, metric: &str, labels: &[&str], value: u32) -> bool {
    (operator.metric(metric, labels) - f64::from(value)).abs() < f64::EPSILON
}
