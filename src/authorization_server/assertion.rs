//! Client assertions: how a client with `private_key_jwt` says who it is (RFC 7523 sections 2.2 and 3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use serde_json::{Value, json};

use super::keys::{ClientKey, KeyError};

/// `client_assertion_type` (RFC 7523 section 2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion is good.
pub const LIFETIME: TimeDelta = TimeDelta::seconds(60);

/// Makes and signs an assertion of the client for one audience, good from `now` for 60 seconds, to be used once. A key
/// whose id is empty is not named in it.
///
/// # Errors
///
/// [`KeyError`] when the key cannot sign.
pub fn client_assertion(
    client_id: &str,
    audience: &str,
    key: &ClientKey,
    now: DateTime<Utc>,
) -> Result<SecretString, KeyError> {
    let mut header = json!({ "typ": "JWT", "alg": key.alg.as_str() });
    if !key.key_id.is_empty() {
        header["kid"] = key.key_id.clone().into();
    }
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        // One audience, as a string: Keycloak refuses two at once.
        "aud": audience,
        "jti": URL_SAFE_NO_PAD.encode(rand::random::<[u8; 16]>()),
        "iat": now.timestamp(),
        "exp": (now + LIFETIME).timestamp(),
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(&header), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())?);
    Ok(format!("{message}.{signature}").into())
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::Jwk;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
    use rstest::rstest;
    use secrecy::ExposeSecret;

    use super::super::keys::SigningAlg;
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// Verified by another library than the one that signed.
    fn verified(assertion: &SecretString, jwk: &Value, alg: Algorithm, audience: &str) -> Result<Value, String> {
        let jwk: Jwk = serde_json::from_value(jwk.clone()).unwrap();
        let mut validation = Validation::new(alg);
        validation.validate_exp = false;
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["iss", "sub", "aud", "exp"]);
        decode(assertion.expose_secret(), &DecodingKey::from_jwk(&jwk).unwrap(), &validation)
            .map(|token| token.claims)
            .map_err(|e| e.to_string())
    }

    #[rstest]
    #[case(SigningAlg::Es256, Algorithm::ES256)]
    #[case(SigningAlg::Rs256, Algorithm::RS256)]
    fn the_registered_key_verifies_it(#[case] alg: SigningAlg, #[case] algorithm: Algorithm) {
        let key = ClientKey::generate(alg).unwrap();
        let assertion = client_assertion("client-1", "https://sso.example/token", &key, at(1_800_000_000)).unwrap();
        let claims = verified(&assertion, &key.public_jwk, algorithm, "https://sso.example/token").unwrap();
        assert_eq!((&claims["iss"], &claims["sub"]), (&json!("client-1"), &json!("client-1")));
        assert_eq!(claims["aud"], "https://sso.example/token");
        assert_eq!((&claims["iat"], &claims["exp"]), (&json!(1_800_000_000), &json!(1_800_000_060)));
        assert_eq!(decode_header(assertion.expose_secret()).unwrap().kid, Some(key.key_id.clone()));
        let nameless = ClientKey { key_id: String::new(), ..key.clone() };
        let assertion =
            client_assertion("client-1", "https://sso.example/token", &nameless, at(1_800_000_000)).unwrap();
        assert_eq!(decode_header(assertion.expose_secret()).unwrap().kid, None);

        assert!(verified(&assertion, &key.public_jwk, algorithm, "https://sso.example").is_err());
        let other = ClientKey::generate(alg).unwrap();
        assert!(verified(&assertion, &other.public_jwk, algorithm, "https://sso.example/token").is_err());
    }

    #[test]
    fn each_is_for_one_use() {
        let key = ClientKey::generate(SigningAlg::Es256).unwrap();
        let ids = [0; 2].map(|_| {
            let assertion = client_assertion("c", "a", &key, at(0)).unwrap();
            verified(&assertion, &key.public_jwk, Algorithm::ES256, "a").unwrap()["jti"].clone()
        });
        assert_ne!(ids[0], ids[1]);
    }
}
