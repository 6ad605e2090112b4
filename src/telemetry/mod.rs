//! What the operator tells about itself: metrics, readiness, health. Everything that is counted by object is counted
//! when it is asked for, from the controllers' caches: telling costs no call and no write.
//!
//! Labels are bounded: names of AuthorizationServers, which administrators give, and words of our own. Never a
//! client's id or name, a namespace, or anything else that a tenant writes.

pub mod audit;
mod census;
mod check;
mod listen;
mod metrics;
pub mod traces;
mod watches;

pub use census::Census;
pub use check::check;
pub use listen::{Observed, routes};
pub use metrics::{Metrics, Outcome, ServerRequests, Swept};
pub use watches::{Watch, Watches};
