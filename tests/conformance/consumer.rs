//! A workload that asks for a token every 100 ms with the credential that is published, and remembers every refusal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use oauthclient_operator::authorization_server::probe::Credential;

use super::support::PATIENCE;
use super::wire::{Refused, Wire};

/// How often it asks.
const EVERY: Duration = Duration::from_millis(100);

/// How many tokens it gets with a credential before anything else happens.
const A_FEW: usize = 3;

struct State {
    credential: Credential,
    /// Tokens got with this credential.
    got: usize,
    refused: Vec<String>,
}

/// The workload, running.
pub struct Consumer {
    shared: Arc<(Mutex<State>, Condvar)>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Consumer {
    /// Starts it; it has got a few tokens when this returns. Where the server's refusals are `doubted`, it asks once more
    /// with the same credential: one that is truly refused is so then, too.
    pub fn start(ca: &str, endpoint: &str, scope: &str, credential: &Credential, doubted: bool) -> Self {
        let state = State { credential: credential.clone(), got: 0, refused: Vec::new() };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (own, told) = (shared.clone(), stop.clone());
        let (wire, endpoint, scope) = (Wire::new(ca), endpoint.to_owned(), scope.to_owned());
        let thread = std::thread::spawn(move || {
            while !told.load(Ordering::SeqCst) {
                let next = Instant::now() + EVERY;
                let used = own.0.lock().expect("no panic in here").credential.clone();
                let ask = || wire.token(&endpoint, &used, &scope, None);
                let answer = ask().or_else(|refused| if doubted { ask() } else { Err(refused) });
                let mut state = own.0.lock().expect("no panic in here");
                match answer {
                    Ok(_) if is_the_same(&state.credential, &used) => state.got += 1,
                    // The server's own trouble, as Hydra's in memory has under two requests at once, refuses nobody.
                    Ok(_) | Err(Refused { status: 500.., .. }) => {}
                    Err(why) => state.refused.push(why.to_string()),
                }
                drop(state);
                own.1.notify_all();
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        let consumer = Self { shared, stop, thread: Some(thread) };
        consumer.goes_on();
        consumer
    }

    /// From now on it uses this credential; it has got a few tokens with it when this returns.
    pub fn publish(&self, credential: &Credential) {
        let mut state = self.shared.0.lock().expect("no panic in here");
        state.credential = credential.clone();
        state.got = 0;
        drop(state);
        self.goes_on();
    }

    /// Waits until it has got a few tokens more.
    pub fn goes_on(&self) {
        let state = self.shared.0.lock().expect("no panic in here");
        let enough = state.got + A_FEW;
        let waits = |s: &mut State| s.got < enough && s.refused.is_empty();
        let waited = self.shared.1.wait_timeout_while(state, PATIENCE, waits).expect("no panic in here");
        assert!(!waited.1.timed_out(), "the consumer gets no tokens");
    }

    /// Ends it; it must never have been refused.
    pub fn was_never_refused(mut self) {
        self.end();
        let refused = std::mem::take(&mut self.shared.0.lock().expect("no panic in here").refused);
        assert!(refused.is_empty(), "the consumer was refused: {refused:?}");
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("a consumer");
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

fn is_the_same(a: &Credential, b: &Credential) -> bool {
    use secrecy::ExposeSecret;
    let what = |c: &Credential| match c {
        Credential::ClientSecretBasic { client_secret, .. } | Credential::ClientSecretPost { client_secret, .. } => {
            client_secret.expose_secret().to_owned()
        }
        Credential::PrivateKeyJwt { key, .. } => key.key_id.clone(),
        Credential::Public { .. } => String::new(),
    };
    a.client_id() == b.client_id() && what(a) == what(b)
}
