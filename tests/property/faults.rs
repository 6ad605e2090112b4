//! What can become of a call.

use proptest::prelude::*;

/// What becomes of the next call, to the API server or to the authorization server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It works.
    None,
    /// It is not sent.
    NotSent,
    /// It takes effect, but its answer is lost.
    Lost,
    /// Its answer is lost, and it takes effect only later.
    Late,
    /// It is turned away unread (429).
    Busy,
    /// It is refused with this status.
    Refused(u16),
    /// The server fails before it does anything (5xx).
    Broken,
    /// It takes effect, and what comes back cannot be read.
    WrongBody,
    /// A registration is answered without what managing the client takes.
    Unmanageable,
    /// More is granted than was asked.
    GrantsMore,
}

/// A fault.
pub fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        4 => Just(Fault::NotSent),
        6 => Just(Fault::Lost),
        4 => Just(Fault::Late),
        1 => Just(Fault::Busy),
        4 => prop::sample::select(vec![400, 401, 403, 404, 405]).prop_map(Fault::Refused),
        3 => Just(Fault::Broken),
        2 => Just(Fault::WrongBody),
        1 => Just(Fault::Unmanageable),
        1 => Just(Fault::GrantsMore),
    ]
}
