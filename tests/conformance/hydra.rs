//! Ory Hydra, by dynamic registration and by its admin API.

use super::support::Bed;

/// Admin and public URL.
pub fn urls() -> Option<(String, String)> {
    let url = |name: &str| std::env::var(name).ok().filter(|url| !url.is_empty());
    Some((url("HYDRA_ADMIN_URL")?, url("HYDRA_PUBLIC_URL")?))
}

pub fn by_registration(_: &Bed) {}
pub fn by_admin_api(_: &Bed) {}
pub fn public_port(_: &Bed) {}
