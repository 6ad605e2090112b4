//! Keys for `private_key_jwt`: made here, kept as PKCS#8 PEM, shown to the server as a public JSON Web Key.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pem::{EncodeConfig, LineEnding, Pem};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

pub use super::jwks::{check_public_jwks, thumbprint};

/// PEM label of PKCS#8 (RFC 7468 section 10).
const PRIVATE_KEY: &str = "PRIVATE KEY";

/// How client assertions are signed (RFC 7518 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SigningAlg {
    /// ECDSA on P-256 with SHA-256.
    #[default]
    Es256,
    /// RSA PKCS#1 v1.5 with SHA-256, 2048 bits.
    Rs256,
}

impl SigningAlg {
    /// All of them, the preferred one first.
    pub const ALL: [Self; 2] = [Self::Es256, Self::Rs256];

    /// The name registered with IANA.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm of this name, where it is one of ours.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.as_str() == name)
    }
}

/// Why there is no key. Never says anything about the key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The stored text is no key that this operator makes.
    #[error("the private key is not a PKCS#8 PEM of a P-256 key or of an RSA key of 2048 bits or more")]
    NotAKey,
    /// The cryptographic library failed.
    #[error("the cryptographic library failed")]
    Failed,
}

/// A key pair of a client.
#[derive(Debug, Clone)]
pub struct ClientKey {
    /// RFC 7638 SHA-256 thumbprint of the public key, base64url; also its `kid`.
    pub key_id: String,
    /// What it signs with.
    pub alg: SigningAlg,
    /// PKCS#8 PEM.
    pub private_key_pem: SecretString,
    /// The public key as a JWK (RFC 7517) with `kid`, `alg` and `use`.
    pub public_jwk: Value,
}

enum Pair {
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl ClientKey {
    /// Makes a key pair. RS256 takes about a tenth of a second of computing; prefer ES256.
    ///
    /// # Errors
    ///
    /// [`KeyError::Failed`] when the library has no randomness.
    pub fn generate(alg: SigningAlg) -> Result<Self, KeyError> {
        let (pair, der) = match alg {
            SigningAlg::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| KeyError::Failed)?;
                let der = pair.to_pkcs8v1().map_err(|_| KeyError::Failed)?.as_ref().to_vec();
                (Pair::Ec(pair), der)
            }
            SigningAlg::Rs256 => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| KeyError::Failed)?;
                let der = AsDer::<Pkcs8V1Der<'_>>::as_der(&pair).map_err(|_| KeyError::Failed)?.as_ref().to_vec();
                (Pair::Rsa(pair), der)
            }
        };
        let lines = EncodeConfig::new().set_line_ending(LineEnding::LF);
        let pem = pem::encode_config(&Pem::new(PRIVATE_KEY, der), lines);
        Ok(Self::of(&pair, pem.into()))
    }

    /// The key pair of a stored PEM; its algorithm follows from the kind of key.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotAKey`].
    pub fn from_pem(private_key_pem: &SecretString) -> Result<Self, KeyError> {
        Ok(Self::of(&Pair::parse(private_key_pem)?, private_key_pem.clone()))
    }

    fn of(pair: &Pair, private_key_pem: SecretString) -> Self {
        let mut public_jwk = pair.public_jwk();
        let key_id = thumbprint(&public_jwk).unwrap_or_default();
        let alg = pair.alg();
        public_jwk["kid"] = key_id.clone().into();
        public_jwk["alg"] = alg.as_str().into();
        public_jwk["use"] = "sig".into();
        Self { key_id, alg, private_key_pem, public_jwk }
    }

    /// A key set (RFC 7517 section 5) of this public key alone.
    pub fn public_jwks(&self) -> Value {
        json!({ "keys": [self.public_jwk] })
    }

    /// Signs as JWS wants it (RFC 7518 sections 3.3 and 3.4).
    ///
    /// # Errors
    ///
    /// [`KeyError`] when the PEM is no key, or the library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let random = SystemRandom::new();
        match Pair::parse(&self.private_key_pem)? {
            Pair::Ec(pair) => Ok(pair.sign(&random, message).map_err(|_| KeyError::Failed)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(|_| KeyError::Failed)?;
                Ok(signature)
            }
        }
    }
}

impl Pair {
    fn parse(private_key_pem: &SecretString) -> Result<Self, KeyError> {
        let block = pem::parse(private_key_pem.expose_secret()).map_err(|_| KeyError::NotAKey)?;
        if block.tag() != PRIVATE_KEY {
            return Err(KeyError::NotAKey);
        }
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, block.contents())
            .map(Self::Ec)
            .or_else(|_| RsaKeyPair::from_pkcs8(block.contents()).map(Self::Rsa))
            .map_err(|_| KeyError::NotAKey)
    }

    fn alg(&self) -> SigningAlg {
        match self {
            Self::Ec(_) => SigningAlg::Es256,
            Self::Rsa(_) => SigningAlg::Rs256,
        }
    }

    fn public_jwk(&self) -> Value {
        match self {
            Self::Ec(pair) => {
                // An uncompressed point: 4, then x and y of 32 bytes each (SEC 1 section 2.3.3).
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) })
            }
            Self::Rsa(pair) => {
                let key = pair.public_key();
                json!({
                    "kty": "RSA",
                    "n": URL_SAFE_NO_PAD.encode(key.modulus().big_endian_without_leading_zero()),
                    "e": URL_SAFE_NO_PAD.encode(key.exponent().big_endian_without_leading_zero()),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(SigningAlg::Es256)]
    #[case(SigningAlg::Rs256)]
    fn a_stored_key_is_the_same_key(#[case] alg: SigningAlg) {
        let key = ClientKey::generate(alg).unwrap();
        let again = ClientKey::from_pem(&key.private_key_pem).unwrap();
        assert_eq!(again.alg, alg);
        assert_eq!(again.key_id, key.key_id);
        assert_eq!(again.public_jwk, key.public_jwk);
        assert_eq!(key.public_jwk["alg"], alg.as_str());
        assert_eq!(key.public_jwk["kid"], key.key_id);
        assert_eq!(check_public_jwks(&key.public_jwks()), Ok(()));
        let pem = key.private_key_pem.expose_secret();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n") && !pem.contains('\r'));
        assert!(!format!("{key:?}").contains("BEGIN"), "the key is not printed");
    }

    #[test]
    fn keys_differ() {
        let ids = [0; 3].map(|_| ClientKey::generate(SigningAlg::Es256).unwrap().key_id);
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }

    #[test]
    fn other_texts_are_not_keys_and_are_not_quoted() {
        let key = ClientKey::generate(SigningAlg::Es256).unwrap();
        let other_label = key.private_key_pem.expose_secret().replace("PRIVATE KEY", "EC PRIVATE KEY");
        for text in ["", "hush", "-----BEGIN PRIVATE KEY-----\naHVzaA==\n-----END PRIVATE KEY-----\n", &other_label] {
            let error = ClientKey::from_pem(&text.into()).unwrap_err();
            assert_eq!(error, KeyError::NotAKey);
            assert!(!error.to_string().contains("hush"));
        }
    }

    #[test]
    fn names_of_algorithms() {
        for alg in SigningAlg::ALL {
            assert_eq!(SigningAlg::parse(alg.as_str()), Some(alg));
        }
        assert_eq!(SigningAlg::parse("HS256"), None);
        assert_eq!(SigningAlg::parse("none"), None);
    }
}
