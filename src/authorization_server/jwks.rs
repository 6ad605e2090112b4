//! Public JSON Web Keys of others: whether a tenant's key set may be registered, and what a key is called.

use aws_lc_rs::digest;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

/// The most keys in a tenant's set.
const MOST_KEYS: usize = 10;

/// Members that only a private or a symmetric key has (RFC 7518 section 6).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Members that may stand in a key. `x5u` may not: it would make the server fetch what a tenant names.
const PUBLIC: [&str; 13] = ["kty", "use", "key_ops", "alg", "kid", "crv", "x", "y", "n", "e", "x5c", "x5t", "x5t#S256"];

/// Checks a key set that a tenant wants registered (RFC 7517 section 5): an object with one to ten keys, public
/// members only; RSA of 2048 to 8192 bits, EC on P-256 or P-384, or OKP Ed25519; for signing; with distinct `kid`s.
///
/// # Errors
///
/// What is wrong, with the key's position counted from 1. Never quotes a value.
pub fn check_public_jwks(jwks: &Value) -> Result<(), String> {
    let set = jwks.as_object().ok_or("jwks must be a JSON object with a member keys")?;
    if let Some(other) = set.keys().find(|name| *name != "keys") {
        return Err(match PRIVATE.iter().find(|name| *name == other) {
            Some(name) => {
                format!("jwks holds the private member {name}: give public keys only, and consider that key known")
            }
            None => "jwks must have the member keys and no other".to_owned(),
        });
    }
    let keys = set.get("keys").and_then(Value::as_array).ok_or("jwks.keys must be an array")?;
    if keys.is_empty() || keys.len() > MOST_KEYS {
        return Err(format!("jwks.keys must hold 1 to {MOST_KEYS} keys, not {}", keys.len()));
    }
    let mut ids = Vec::new();
    for (position, key) in (1..).zip(keys) {
        let key = key.as_object().ok_or_else(|| format!("jwks key {position} is not an object"))?;
        check_key(key).map_err(|what| format!("jwks key {position} {what}"))?;
        if let Some(id) = key.get("kid") {
            if ids.contains(&id) {
                return Err(format!("jwks key {position} has the kid of another key"));
            }
            ids.push(id);
        }
    }
    Ok(())
}

fn check_key(key: &Map<String, Value>) -> Result<(), String> {
    if let Some(name) = PRIVATE.iter().find(|name| key.contains_key(**name)) {
        return Err(format!("holds the private member {name}: give public keys only, and consider that key known"));
    }
    if key.keys().any(|name| !PUBLIC.contains(&name.as_str())) {
        return Err(format!("holds a member that is not one of {}", PUBLIC.join(", ")));
    }
    for name in ["kid", "use", "alg"] {
        if key.get(name).is_some_and(|value| value.as_str().is_none_or(|s| s.is_empty() || s.len() > 256)) {
            return Err(format!("has a {name} that is not a string of 1 to 256 characters"));
        }
    }
    if key.get("use").is_some_and(|value| value != "sig") {
        return Err("must have use sig, or none".to_owned());
    }
    let verifies = |value: &Value| value.as_array().is_some_and(|ops| ops.len() == 1 && ops[0] == "verify");
    if key.get("key_ops").is_some_and(|value| !verifies(value)) {
        return Err("must have key_ops [verify], or none".to_owned());
    }
    let algs: &[&str] = match (text(key, "kty"), text(key, "crv")) {
        (Some("EC"), Some("P-256")) => check_point(key, 32, &ECDSA_P256_SHA256_FIXED).map(|()| &["ES256"][..])?,
        (Some("EC"), Some("P-384")) => check_point(key, 48, &ECDSA_P384_SHA384_FIXED).map(|()| &["ES384"][..])?,
        (Some("OKP"), Some("Ed25519")) => check_ed25519(key).map(|()| &["EdDSA", "Ed25519"][..])?,
        (Some("RSA"), None) => check_rsa(key).map(|()| &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..])?,
        _ => return Err("must be RSA, EC on P-256 or P-384, or OKP Ed25519".to_owned()),
    };
    match text(key, "alg") {
        Some(alg) if !algs.contains(&alg) => {
            Err(format!("must have an alg that fits it ({}), or none", algs.join(", ")))
        }
        _ => Ok(()),
    }
}

fn check_point(key: &Map<String, Value>, size: usize, curve: &'static dyn VerificationAlgorithm) -> Result<(), String> {
    let (x, y) = (bytes(key, "x")?, bytes(key, "y")?);
    let on_curve =
        x.len() == size && y.len() == size && ParsedPublicKey::new(curve, [&[4], &x[..], &y[..]].concat()).is_ok();
    if on_curve { Ok(()) } else { Err("has x and y that are no point of its curve".to_owned()) }
}

fn check_ed25519(key: &Map<String, Value>) -> Result<(), String> {
    let x = bytes(key, "x")?;
    if x.len() == 32 && ParsedPublicKey::new(&ED25519, x).is_ok() {
        Ok(())
    } else {
        Err("has an x that is no Ed25519 key".to_owned())
    }
}

fn check_rsa(key: &Map<String, Value>) -> Result<(), String> {
    let (n, e) = (bytes(key, "n")?, bytes(key, "e")?);
    // Leading zeroes would let a short key count as a long one.
    let significant: Vec<u8> = n.iter().copied().skip_while(|byte| *byte == 0).collect();
    let bits = significant.len() * 8 - significant.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if !(2048..=8192).contains(&bits) {
        return Err(format!("is RSA of {bits} bits; 2048 to 8192 are allowed"));
    }
    // Exponent 1 makes every signature valid; an even one none.
    let exponent: Vec<u8> = e.iter().copied().skip_while(|byte| *byte == 0).collect();
    let sound = exponent.last().is_some_and(|last| last % 2 == 1) && exponent != [1] && exponent.len() <= 4;
    let components = PublicKeyComponents { n: significant, e: exponent };
    if sound && components.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).is_ok() {
        Ok(())
    } else {
        Err("has an n and e that are no RSA key".to_owned())
    }
}

fn text<'a>(key: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    key.get(name).and_then(Value::as_str)
}

fn bytes(key: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    text(key, name)
        .filter(|value| !value.is_empty() && value.len() <= 2048)
        .and_then(|value| URL_SAFE_NO_PAD.decode(value).ok())
        .ok_or_else(|| format!("needs {name} in base64url without padding"))
}

/// The algorithm that all keys of a set are for: as they say, else the usual one of their kind. `None` where they
/// differ or are of no known kind.
pub(super) fn only_alg(jwks: &Value) -> Option<&str> {
    let keys = jwks["keys"].as_array()?;
    let first = alg(keys.first()?)?;
    keys.iter().all(|key| alg(key) == Some(first)).then_some(first)
}

fn alg(jwk: &Value) -> Option<&str> {
    let usual = match (jwk["kty"].as_str()?, jwk["crv"].as_str()) {
        ("EC", Some("P-256")) => "ES256",
        ("EC", Some("P-384")) => "ES384",
        ("RSA", _) => "RS256",
        ("OKP", Some("Ed25519")) => "EdDSA",
        _ => return None,
    };
    Some(jwk["alg"].as_str().unwrap_or(usual))
}

/// RFC 7638 thumbprint of a public key, SHA-256 in base64url. `None` where a member that it needs is missing.
pub fn thumbprint(jwk: &Value) -> Option<String> {
    let names: &[&str] = match jwk["kty"].as_str()? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    // In order of their names, without white space (section 3.3).
    let members = names.iter().map(|name| {
        let value = jwk[*name].as_str()?;
        Some(format!("{}:{}", Value::from(*name), Value::from(value)))
    });
    let canonical = format!("{{{}}}", members.collect::<Option<Vec<_>>>()?.join(","));
    Some(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, canonical.as_bytes())))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    /// RFC 7638 section 3.1.
    const RSA_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

    fn rsa() -> Value {
        json!({ "kty": "RSA", "n": RSA_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29" })
    }
    /// RFC 7517 appendix A.1.
    fn ec() -> Value {
        json!({ "kty": "EC", "crv": "P-256", "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM", "use": "sig", "kid": "1" })
    }
    /// RFC 8037 appendix A.2.
    fn okp() -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" })
    }
    #[test]
    fn the_only_algorithm_of_a_set() {
        let mut other = rsa();
        assert_eq!(only_alg(&set(&[rsa()])), Some("RS256"));
        assert_eq!(only_alg(&set(&[ec()])), Some("ES256"));
        assert_eq!(only_alg(&set(&[okp()])), Some("EdDSA"));
        assert_eq!(only_alg(&set(&[rsa(), ec()])), None);
        other["alg"] = "PS256".into();
        assert_eq!(only_alg(&set(&[other.clone()])), Some("PS256"));
        assert_eq!(only_alg(&set(&[rsa(), other])), None);
        assert_eq!(only_alg(&set(&[json!({ "kty": "oct" })])), None);
        assert_eq!(only_alg(&set(&[])), None);
        assert_eq!(only_alg(&json!({})), None);
    }

    fn set(keys: &[Value]) -> Value {
        json!({ "keys": keys })
    }
    fn with(mut key: Value, name: &str, value: impl Into<Value>) -> Value {
        key[name] = value.into();
        key
    }

    #[test]
    fn thumbprints_of_the_rfcs() {
        assert_eq!(thumbprint(&rsa()).unwrap(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        assert_eq!(thumbprint(&okp()).unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(thumbprint(&ec()).unwrap(), "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s");
        assert_eq!(thumbprint(&json!({ "kty": "oct", "k": "AA" })), None);
        assert_eq!(thumbprint(&json!({ "kty": "RSA", "n": "AA" })), None);
    }

    #[test]
    fn keys_that_may_be_registered() {
        assert_eq!(check_public_jwks(&set(&[rsa(), ec(), okp()])), Ok(()));
        assert_eq!(check_public_jwks(&set(&[with(ec(), "key_ops", json!(["verify"]))])), Ok(()));
        let p384 = json!({ "kty": "EC", "crv": "P-384",
            "x": "qocHh_QjJrPGqMUHGmwHnvnGFlDRn3Tok7jfMEWtTr2jA0lEFTRBXbr5Ug4CaSwl",
            "y": "dMsDBWBKxOCKuXnjEIVmdwFfWYrZmsvDmVC4iGlbIuFCxZsVWAAnP1O4CRjj2Mbp" });
        // Whether that is a point is for the library to say; a made-up one is not.
        assert!(check_public_jwks(&set(&[p384])).is_err());
    }

    #[rstest]
    #[case::not_an_object(json!([]), "must be a JSON object")]
    #[case::a_key_alone(ec(), "the member keys and no other")]
    #[case::a_private_key_alone(json!({ "d": "hush" }), "private member d")]
    #[case::more_members(json!({ "keys": [ec()], "jwks_uri": "https://x" }), "no other")]
    #[case::no_array(json!({ "keys": {} }), "must be an array")]
    #[case::no_keys(set(&[]), "1 to 10 keys, not 0")]
    #[case::too_many(set(&vec![okp(); 11]), "not 11")]
    #[case::no_object(json!({ "keys": ["x"] }), "key 1 is not an object")]
    #[case::private_rsa(set(&[ec(), with(rsa(), "dp", "hush")]), "key 2 holds the private member dp")]
    #[case::private_ec(set(&[with(ec(), "d", "hush")]), "private member d")]
    #[case::symmetric(set(&[json!({ "kty": "oct", "k": "hush" })]), "private member k")]
    #[case::url(set(&[with(ec(), "x5u", "https://x")]), "member that is not one of")]
    #[case::encryption(set(&[with(ec(), "use", "enc")]), "use sig")]
    #[case::key_ops(set(&[with(ec(), "key_ops", json!(["verify", "sign"]))]), "key_ops")]
    #[case::other_alg(set(&[with(ec(), "alg", "RS256")]), "alg that fits it (ES256)")]
    #[case::no_alg(set(&[with(rsa(), "alg", "none")]), "alg that fits it")]
    #[case::hmac(set(&[with(rsa(), "alg", "HS256")]), "alg that fits it")]
    #[case::other_curve(set(&[with(ec(), "crv", "P-521")]), "must be RSA, EC on")]
    #[case::other_okp(set(&[with(okp(), "crv", "X25519")]), "must be RSA, EC on")]
    #[case::no_point(set(&[with(ec(), "x", "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D5")]), "base64url")]
    #[case::off_curve(set(&[with(ec(), "x", "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM")]), "no point of its curve")]
    #[case::short_coordinate(set(&[with(ec(), "x", "AA")]), "no point of its curve")]
    #[case::short_rsa(set(&[with(rsa(), "n", &RSA_N[..200])]), "is RSA of 1200 bits")]
    #[case::padded_rsa(set(&[with(rsa(), "n", format!("{}{}", "A".repeat(160), &RSA_N[..200]))]), "is RSA of 1200 bits")]
    #[case::zero_rsa(set(&[with(rsa(), "n", "AAAA")]), "is RSA of 0 bits")]
    #[case::exponent_one(set(&[with(rsa(), "e", "AQ")]), "no RSA key")]
    #[case::exponent_even(set(&[with(rsa(), "e", "Ag")]), "no RSA key")]
    #[case::no_exponent(set(&[json!({ "kty": "RSA", "n": RSA_N })]), "needs e")]
    #[case::kid_no_string(set(&[with(ec(), "kid", 1)]), "a kid that is not a string")]
    #[case::same_kid(set(&[ec(), ec()]), "key 2 has the kid of another key")]
    fn keys_that_may_not(#[case] jwks: Value, #[case] what: &str) {
        let error = check_public_jwks(&jwks).unwrap_err();
        assert!(error.contains(what), "{error}");
        assert!(!error.contains("hush"), "values are not quoted: {error}");
    }
}
