//! Client scopes of a realm: by name to what paths need, and what somebody may have meant.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::super::outcome::unclear;
use super::super::{CallError, Refusal, text};
use super::admin::Admin;
use super::mapping::refusal;

/// How long the realm's scopes are known without asking again. One that is not among them is always asked for again.
const KNOWN_FOR: Duration = Duration::from_secs(60);

/// How many near names a refusal lists.
const NEAR: usize = 3;

/// Internal ids by name.
type Ids = Arc<BTreeMap<String, String>>;

/// The realm's client scopes, kept for a while.
#[derive(Default)]
pub(super) struct Scopes(Mutex<Option<(Ids, Instant)>>);

impl Scopes {
    /// Internal ids of these scopes.
    ///
    /// # Errors
    ///
    /// [`CallError::Refused`] when the realm has none of that name, with those that are near.
    pub(super) async fn resolve(
        &self,
        admin: &Admin,
        operation: &'static str,
        names: &[&str],
    ) -> Result<Ids, CallError> {
        let known = self.known(admin, false).await?;
        if names.iter().all(|name| known.contains_key(*name)) {
            return Ok(known);
        }
        let known = self.known(admin, true).await?;
        match names.iter().find(|name| !known.contains_key(**name)) {
            None => Ok(known),
            Some(missing) => Err(unknown(operation, &admin.realm_name(), missing, &known).into()),
        }
    }

    /// All of them, read anew where that is asked for.
    pub(super) async fn known(&self, admin: &Admin, anew: bool) -> Result<Ids, CallError> {
        let mut state = self.0.lock().await;
        if let Some((known, until)) = &*state
            && !anew
            && Instant::now() < *until
        {
            return Ok(known.clone());
        }
        let list = admin.get_list("list client scopes", &admin.url("/client-scopes")).await?;
        let mut known = BTreeMap::new();
        for scope in &list {
            // Others are for SAML.
            if scope.get("protocol").and_then(|p| p.as_str()).is_some_and(|p| p != "openid-connect") {
                continue;
            }
            let member = |name: &str| scope.get(name).and_then(|value| value.as_str()).map(str::to_owned);
            let (Some(id), Some(name)) = (member("id"), member("name")) else {
                return Err(unclear("list client scopes: the server told of one without its id or name".to_owned()));
            };
            known.insert(name, id);
        }
        let known = Arc::new(known);
        *state = Some((known.clone(), Instant::now() + KNOWN_FOR));
        Ok(known)
    }
}

fn unknown(operation: &'static str, realm: &str, missing: &str, known: &BTreeMap<String, String>) -> Refusal {
    let near = near(missing, known.keys().map(String::as_str));
    let hint = if near.is_empty() { String::new() } else { format!("; near names: {}", near.join(", ")) };
    let what = format!("the realm {realm} has no client scope {missing}{hint}");
    refusal(operation, "invalid_scope", &text::clean(&what, &[]).unwrap_or_default())
}

/// The nearest names, the nearest first: by how many characters must be changed, added or left out, at most half of
/// them.
fn near<'a>(missing: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let most = missing.chars().count().div_ceil(2);
    let mut near: Vec<_> = names.map(|name| (distance(missing, name), name)).filter(|(d, _)| *d <= most).collect();
    near.sort_unstable();
    near.into_iter().take(NEAR).map(|(_, name)| name).collect()
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("", "", 0)]
    #[case("abc", "abc", 0)]
    #[case("abc", "", 3)]
    #[case("kitten", "sitting", 3)]
    #[case("reports.raed", "reports.read", 2)]
    #[case("é", "e", 1)]
    fn distances(#[case] a: &str, #[case] b: &str, #[case] d: usize) {
        assert_eq!(distance(a, b), d);
        assert_eq!(distance(b, a), d);
    }

    #[test]
    fn near_names_are_few_and_near() {
        let names = ["reports.read", "reports.write", "report.read", "profile", "reports.reed", "roles"];
        assert_eq!(near("reports.raed", names.into_iter()), ["reports.reed", "reports.read", "report.read"]);
        assert!(near("zzz", names.into_iter()).is_empty());
    }
}
