//! The mark that tells our clients from all others at a server, and the ids that follow from it.

use sha2::{Digest, Sha256};

/// Whose client it is: kept at the server, and what tells our clients from all others there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Id of the operator's installation.
    pub installation: String,
    /// Name of the ledger entry.
    pub entry: String,
}

impl Mark {
    /// The id of this entry's client where the caller chooses it: `oac-<installation>-<entry>`, the entry by what is
    /// after its own `oac-`. Always the same, and no other entry's.
    pub(super) fn client_id(&self) -> String {
        let plain = |part: &str| {
            !part.is_empty() && part.len() <= 40 && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        let entry = match self.entry.strip_prefix("oac-") {
            Some(hash) if plain(hash) => hash.to_owned(),
            // Nobody names entries otherwise; one who does gets an id that is as good. The dash keeps it apart.
            _ => format!("x-{}", &hex(&Sha256::digest(&self.entry))[..20]),
        };
        format!("{}{entry}", client_id_prefix(&self.installation))
    }
}

/// How the ids of all clients of an installation begin.
pub(super) fn client_id_prefix(installation: &str) -> String {
    format!("oac-{installation}-")
}

/// A UUID (version 8, RFC 9562 section 5.8) that follows from these parts.
pub(super) fn uuid(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // Lengths keep ("ab", "c") and ("a", "bc") apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes: [u8; 16] = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let all = hex(&bytes);
    format!("{}-{}-{}-{}-{}", &all[..8], &all[8..12], &all[12..16], &all[16..20], &all[20..])
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(installation: &str, entry: &str) -> String {
        Mark { installation: installation.into(), entry: entry.into() }.client_id()
    }

    #[test]
    fn ids_follow_from_the_mark_alone() {
        assert_eq!(id("7f3a", "oac-00ff12"), "oac-7f3a-00ff12");
        assert_ne!(id("7f3a", "oac-00ff12"), id("7f3a", "oac-00ff13"));
        assert_ne!(id("7f3a", "oac-00ff12"), id("7f3b", "oac-00ff12"));
        let odd = id("7f3a", "Not/One of*ours");
        assert!(odd.starts_with("oac-7f3a-x-") && odd.len() == 31, "{odd}");
        assert_ne!(odd, id("7f3a", "Not/One of*ours2"));
    }

    #[test]
    fn uuids_are_uuids() {
        let one = uuid(&["corp", "oac-7f3a-00ff12"]);
        assert_eq!(one, "4041b71f-0386-8247-94a0-f1045bb46ce5", "stable for ever: clients are found by it");
        assert_ne!(uuid(&["ab", "c"]), uuid(&["a", "bc"]));
    }
}
