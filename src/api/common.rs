//! What several kinds share.

use std::{borrow::Cow, fmt, time::Duration};

use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A span of time as the Gateway API writes it (GEP-2257): one to four of `h`, `m`, `s`, `ms`, such as `1h30m`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(pub String);

impl Span {
    /// The span, or `None` when the text is not one (the API server refuses those; a test may not).
    pub fn get(&self) -> Option<Duration> {
        let mut rest = self.0.as_str();
        let mut total = Duration::ZERO;
        if rest.is_empty() {
            return None;
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|n| (1..=5).contains(n))?;
            let value: u64 = rest[..digits].parse().ok()?;
            rest = &rest[digits..];
            let unit = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            total += match &rest[..unit] {
                "h" => Duration::from_secs(value * 3600),
                "m" => Duration::from_secs(value * 60),
                "s" => Duration::from_secs(value),
                "ms" => Duration::from_millis(value),
                _ => return None,
            };
            rest = &rest[unit..];
        }
        Some(total)
    }

    /// The span in chrono's type; see [`Span::get`].
    pub fn delta(&self) -> Option<chrono::TimeDelta> {
        chrono::TimeDelta::from_std(self.get()?).ok()
    }
}

impl From<&str> for Span {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$",
        })
    }
}

/// Namespaces, by name or by label. A namespace is meant when it is named or carries all the labels; an empty
/// selector means none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamespaceSelector {
    /// Names of namespaces. `*` alone means every namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 1000), inner(length(min = 1, max = 63)))]
    pub names: Vec<String>,
    /// Labels that a namespace must all carry.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 20))]
    pub match_labels: std::collections::BTreeMap<String, String>,
}

impl NamespaceSelector {
    /// Whether the namespace of this name and these labels is meant.
    pub fn matches(&self, name: &str, labels: &std::collections::BTreeMap<String, String>) -> bool {
        self.names.iter().any(|n| n == "*" || n == name)
            || (!self.match_labels.is_empty() && self.match_labels.iter().all(|(k, v)| labels.get(k) == Some(v)))
    }
}

/// A key in a Secret of the operator's own namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret, in the operator's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: String,
    /// Key in the Secret's data.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// Who answers for a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The team that owns the client.
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = ("self.trim() != '' && !self.matches(r'[\\pC\\x{2028}\\x{2029}]')", "owner.team must not be blank and must not hold control or bidirectional characters"))]
    pub team: String,
    /// A mailbox that is read: where a review or an incident about this client goes.
    #[schemars(length(min = 3, max = 254))]
    #[x_kube(validation = ("self.matches(r'^[A-Za-z0-9.!#$%&*+/=?^_{|}~-]+@[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?([.][A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)+$')", "owner.email must be an e-mail address such as team@corp.example"))]
    pub email: String,
}

/// How a client authenticates at the token endpoint (RFC 7591 `token_endpoint_auth_method`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenEndpointAuthMethod {
    /// HTTP Basic (RFC 6749 section 2.3.1).
    #[default]
    ClientSecretBasic,
    /// Secret in the request's body.
    ClientSecretPost,
    /// A signed assertion (RFC 7523); no shared secret exists.
    PrivateKeyJwt,
    /// A public client.
    None,
}

impl TokenEndpointAuthMethod {
    /// The name registered with IANA.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::None => "none",
        }
    }
}

/// Signature algorithm of client assertions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum SigningAlg {
    /// ECDSA on P-256.
    #[default]
    ES256,
    /// RSASSA-PKCS1-v1_5, 2048 bits.
    RS256,
}

impl SigningAlg {
    /// The JOSE name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ES256 => "ES256",
            Self::RS256 => "RS256",
        }
    }
}

/// A set of public keys (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JsonWebKeySet {
    /// The keys.
    #[schemars(length(min = 1, max = 10))]
    pub keys: Vec<JsonWebKey>,
}

/// One public key (RFC 7517, RFC 7518). The members of a private key are known here only to be refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[x_kube(validation = ("!has(self.d) && !has(self.p) && !has(self.q) && !has(self.dp) && !has(self.dq) && !has(self.qi) && !has(self.k)", "jwks must hold public keys only: this one has private members (d, p, q, dp, dq, qi or k). Treat that key as leaked and make a new one"))]
#[x_kube(validation = ("self.kty == 'EC' ? has(self.crv) && has(self.x) && has(self.y) : self.kty == 'RSA' ? has(self.n) && has(self.e) : has(self.crv) && has(self.x)", "a key needs crv, x and y (EC), n and e (RSA), or crv and x (OKP)"))]
pub struct JsonWebKey {
    /// Key type: EC, RSA or OKP.
    #[schemars(regex(pattern = "^(EC|RSA|OKP)$"))]
    pub kty: String,
    /// Key id; assertions name it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub kid: Option<String>,
    /// Algorithm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub alg: Option<String>,
    /// Intended use: `sig`.
    #[serde(default, rename = "use", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8))]
    pub use_: Option<String>,
    /// Curve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub crv: Option<String>,
    /// X coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub x: Option<String>,
    /// Y coordinate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub y: Option<String>,
    /// Modulus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1400))]
    pub n: Option<String>,
    /// Exponent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub e: Option<String>,
    /// Private; refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1400))]
    pub d: Option<String>,
    /// Private; refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1400))]
    pub p: Option<String>,
    /// Private; refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1400))]
    pub q: Option<String>,
    /// Private; refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1400))]
    pub dp: Option<String>,
    /// Private; refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1400))]
    pub dq: Option<String>,
    /// Private; refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1400))]
    pub qi: Option<String>,
    /// Symmetric; refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1400))]
    pub k: Option<String>,
}

/// A workload whose life bounds a client's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadRef {
    /// API version, such as `batch/v1`.
    #[schemars(length(min = 1, max = 317))]
    pub api_version: String,
    /// Kind, such as `Job`.
    #[schemars(length(min = 1, max = 63))]
    pub kind: String,
    /// Name, in the client's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A workload as it was found: another object of the same name is not it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PinnedWorkload {
    /// What `workloadRef` named.
    #[serde(flatten)]
    pub reference: WorkloadRef,
    /// UID of the object found.
    pub uid: String,
}

/// One aspect of an object's state, by the Kubernetes API conventions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub type_: String,
    /// True, False or Unknown.
    pub status: String,
    /// One CamelCase word for programs.
    pub reason: String,
    /// A sentence for people: what, where, and what to do next.
    pub message: String,
    /// When the status last changed.
    pub last_transition_time: chrono::DateTime<chrono::Utc>,
    /// Generation of the object that this is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case("1h", Some(3_600_000))]
    #[case("1h30m", Some(5_400_000))]
    #[case("10m5s250ms", Some(605_250))]
    #[case("0s", Some(0))]
    #[case("", None)]
    #[case("1d", None)]
    #[case("100000h", None)]
    #[case("h", None)]
    #[case("-1h", None)]
    #[case("1.5h", None)]
    fn spans(#[case] text: &str, #[case] millis: Option<u64>) {
        assert_eq!(Span::from(text).get(), millis.map(Duration::from_millis));
    }

    #[test]
    fn an_empty_namespace_selector_means_none() {
        assert!(!NamespaceSelector::default().matches("a", &[("k".into(), "v".into())].into()));
    }
}
