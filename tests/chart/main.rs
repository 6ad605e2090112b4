//! The Helm chart: what it renders, what it refuses, and a whole life of an installation with a client that lives.

mod conform;
mod life;
mod people;
mod refusals;
mod render;
mod rendered;
#[path = "../support/mod.rs"]
mod support;
mod values;
