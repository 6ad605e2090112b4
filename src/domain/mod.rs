//! What should happen. Pure: no Kubernetes client, no HTTP, no clock; everything that is known comes in as a
//! value and what to do next goes out as one.
//!
//! *Architecture invariant:* nothing in here imports kube, reqwest or tokio (a test checks it).

pub mod backoff;
pub mod client;
pub mod conditions;
pub mod drift;
pub mod ends;
pub mod evidence;
pub mod lifetime;
pub mod merge_patch;
pub mod names;
pub mod policy;
pub mod registration;
pub mod request;
pub mod survey;
pub mod transition;
pub mod workload;
