//! Kubernetes: clock, look-ups that tell *gone* from *not found*, Secrets, workloads. Knows nothing of OAuth.

pub mod clock;
pub mod events;
pub mod installation;
pub mod look;
pub mod management_secret;
pub mod scope;
pub mod tenant_secret;
pub mod workloads;
