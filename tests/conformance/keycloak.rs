//! Keycloak, by dynamic registration and by its Admin REST API.

use super::support::Bed;

pub fn by_registration(_: &Bed) {}
pub fn by_admin_api(_: &Bed) {}
pub fn rights(_: &Bed) {}
