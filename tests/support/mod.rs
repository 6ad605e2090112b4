//! What end-to-end tests share: the test bed, the operator as a process of its own, a world for each test, and a proxy
//! that lies.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub mod admin;
pub mod audit;
mod bed;
pub mod credentials;
pub mod fate;
pub mod hydra;
pub mod keycloak;
pub mod leaks;
pub mod operator;
pub mod process;
pub mod provider;
pub mod proxy;
mod read;
mod rights;
pub mod storm;
mod world;

use std::path::Path;
use std::time::Duration;

pub use bed::Bed;
pub use provider::Provider;
pub use world::World;

/// The longest that anything is waited for; a slow machine is no failure.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// The time.
pub fn now() -> chrono::DateTime<chrono::Utc> {
    std::time::SystemTime::now().into()
}

/// A time in an object.
pub fn time(value: &serde_json::Value) -> chrono::DateTime<chrono::Utc> {
    value.as_str().expect("a time").parse().expect("a time")
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
