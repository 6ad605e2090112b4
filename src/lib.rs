//! A Kubernetes operator that gives every OAuth client an owner, a purpose, least scopes and an end, and proves
//! that it ended.

pub mod api;
pub mod authorization_server;
pub mod controller;
pub mod domain;
pub mod kubernetes;
pub mod permit;
pub mod telemetry;
