//! HTTP Basic authentication, in the two ways that are in use.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded::byte_serialize;

/// Of an OAuth client (RFC 6749 section 2.3.1): form-encoded first, then base64. Servers decode it; a `+` or `%` sent
/// raw would be another secret.
pub(super) fn of_client(client_id: &str, client_secret: &SecretString) -> SecretString {
    let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    of_user(&encoded(client_id), &encoded(client_secret.expose_secret()).into())
}

/// Of anybody else (RFC 7617): as it is.
pub(super) fn of_user(name: &str, password: &SecretString) -> SecretString {
    format!("Basic {}", STANDARD.encode(format!("{name}:{}", password.expose_secret()))).into()
}
