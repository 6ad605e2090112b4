//! Names that follow from what they name, so that making a thing twice is a conflict and not a second thing.

use sha2::{Digest, Sha256};

/// Name of the ledger entry (and of its management Secret) for an attempt at registering an object: the hash of
/// the object's UID and the attempt's number.
pub fn entry(client_uid: &str, attempt: u32) -> String {
    let digest = Sha256::digest(format!("{client_uid}/{attempt}"));
    format!("oac-{}", hex(&digest[..10]))
}

/// The marker that a client carries at the server: which installation made it, by which ledger entry. Never a
/// UID, which changes in a restore.
pub fn marker(installation: &str, entry: &str) -> String {
    format!("oauthclient-operator/{installation}/{entry}")
}

/// A versioned SHA-256 over canonical JSON, such as `v1:sha256:…`.
pub fn hash(value: &impl serde::Serialize) -> String {
    // serde_json's maps are ordered by key, so the same value has one text.
    let text = serde_json::to_value(value).map(|v| v.to_string()).unwrap_or_default();
    format!("v1:sha256:{}", hex(&Sha256::digest(text)))
}

/// A name as a label value: itself, or where it is too long (63 characters) its hash.
pub fn label(name: &str) -> String {
    if name.len() <= 63 { name.to_owned() } else { hex(&Sha256::digest(name))[..40].to_owned() }
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn entries_differ_by_object_and_attempt() {
        assert_eq!(super::entry("a", 1), super::entry("a", 1));
        assert_ne!(super::entry("a", 1), super::entry("a", 2));
        assert_ne!(super::entry("a", 1), super::entry("b", 1));
    }
}
