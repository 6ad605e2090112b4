//! Kubernetes: which replica acts, clock, look-ups that tell *gone* from *not found*, events, Secrets, workloads. What Secrets
//! hold is OAuth's, and here is only how it is written down and read; nothing here speaks to an authorization server.

pub mod clock;
pub mod events;
pub mod gate;
pub mod installation;
pub mod lease;
pub mod look;
pub mod management_secret;
pub mod scope;
pub mod stamps;
pub mod tenant_secret;
pub mod workloads;
pub mod writer;
