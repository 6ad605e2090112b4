//! Redirect URIs in policies, matched part by part on the parsed URI.
//!
//! A server and a browser may read a URI in other ways than each other (RFC 3986, the WHATWG URL standard): user
//! information, backslashes, dots that climb, escaped slashes. So a pattern with a `*` matches only a URI that is
//! written in the one form that all read alike.

use url::{Host, Url};

use super::pattern;

/// A part that any run of characters may stand in for, where the pattern has it.
const ANY: &str = "*";

/// Why a redirect URI is not what any of the patterns stands for; `None` when it is.
pub fn objection(patterns: &[String], uri: &str) -> Option<String> {
    if patterns.iter().any(|p| p == ANY || p == uri) {
        return None;
    }
    let url = match Url::parse(uri) {
        Ok(url) => url,
        Err(error) => return Some(format!("redirect URI {uri} cannot be read: {error}")),
    };
    if matches!(url.scheme(), "http" | "https") && url.as_str() != uri && patterns.iter().any(|p| matches(p, &url)) {
        return Some(format!("redirect URI {uri} is written in a way that not everybody reads alike; write {url}"));
    }
    let fits = url.as_str() == uri && patterns.iter().any(|p| matches(p, &url));
    (!fits).then(|| format!("redirect URI {uri} is not in allow.redirectUris{}", super::listed(patterns)))
}

/// Whether a URI of http or https is what the pattern stands for.
fn matches(pattern: &str, url: &Url) -> bool {
    let Some(parts) = Parts::of(pattern) else { return false };
    if parts.scheme != url.scheme() || !url.username().is_empty() || url.password().is_some() {
        return false;
    }
    let path = url.path();
    let by_wildcard = parts.path.contains('*');
    parts.matches_host(url)
        && (parts.port == Some(ANY) || parts.port_number() == url.port_or_known_default())
        && pattern::matches(parts.path, path)
        && !(by_wildcard && climbs(path))
        && parts.query == url.query()
        && url.fragment().is_none()
}

/// Whether somebody who decodes a path may come out elsewhere.
fn climbs(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    ["%2e", "%2f", "%5c", "%25"].iter().any(|escape| path.contains(escape)) || path.contains("//")
}

/// A pattern, taken apart.
struct Parts<'a> {
    scheme: &'a str,
    host: &'a str,
    port: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    /// `None` for a pattern that is no URI of http or https: it stands for the very same text only.
    fn of(pattern: &'a str) -> Option<Self> {
        let (scheme, rest) = pattern.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"))?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let bracket = authority.rfind(']').unwrap_or(0);
        let (host, port) = match authority[bracket..].rfind(':') {
            Some(colon) => (&authority[..bracket + colon], Some(&authority[bracket + colon + 1..])),
            None => (authority, None),
        };
        if host.is_empty() || host.contains('@') {
            return None;
        }
        Some(Self { scheme, host, port, path: if path.is_empty() { "/" } else { path }, query })
    }

    /// `*.corp.example` stands for every name below it, `*` alone for every host; otherwise the host is the same.
    fn matches_host(&self, url: &Url) -> bool {
        if self.host == ANY {
            return true;
        }
        let of = self.host.to_ascii_lowercase();
        match (of.strip_prefix("*."), url.host()) {
            (Some(parent), Some(Host::Domain(name))) => {
                !parent.contains('*')
                    && name.strip_suffix(parent).and_then(|n| n.strip_suffix('.')).is_some_and(|n| !n.is_empty())
            }
            (Some(_), _) => false,
            (None, _) => url.host_str() == Some(of.as_str()),
        }
    }

    fn port_number(&self) -> Option<u16> {
        match self.port {
            None if self.scheme == "http" => Some(80),
            None => Some(443),
            Some(text) => text.parse().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const CORP: &str = "https://*.corp.example/*";

    #[rstest]
    #[case(CORP, "https://app.corp.example/callback", true)]
    #[case(CORP, "https://a.b.corp.example/", true)]
    #[case(CORP, "https://corp.example/callback", false)]
    #[case(CORP, "https://evilcorp.example/callback", false)]
    #[case(CORP, "http://app.corp.example/callback", false)]
    #[case(CORP, "https://app.corp.example:8443/callback", false)]
    #[case(CORP, "https://evil.example/?.corp.example/", false)]
    #[case(CORP, "https://evil.example/.corp.example/", false)]
    #[case(CORP, "https://evil.example#.corp.example/", false)]
    #[case(CORP, "https://app.corp.example@evil.example/", false)]
    #[case(CORP, "https://evil.example@app.corp.example/", false)]
    #[case(CORP, "https://evil.example\\.corp.example/", false)]
    #[case(CORP, "https://evil.example%2f.corp.example/", false)]
    #[case(CORP, "https://evil.example%00.corp.example/", false)]
    #[case(CORP, "https://app.corp.example.evil.example/", false)]
    #[case(CORP, "https://app.corp.example./callback", false)]
    #[case(CORP, "https://app.corp.example/callback?next=https://evil.example", false)]
    #[case(CORP, "https://.corp.example/callback", false)]
    #[case("https://app.corp.example/cb/*", "https://app.corp.example/cb/a/b", true)]
    #[case("https://app.corp.example/cb/*", "https://app.corp.example/cb/../admin", false)]
    #[case("https://app.corp.example/cb/*", "https://app.corp.example/cb/%2e%2e/admin", false)]
    #[case("https://app.corp.example/cb/*", "https://app.corp.example/cb/..%2fadmin", false)]
    #[case("https://app.corp.example/cb/*", "https://app.corp.example/cb/%252e%252e/admin", false)]
    #[case("https://app.corp.example/cb/*", "https://app.corp.example/cb//evil.example", false)]
    #[case("https://app.corp.example/cb?from=sso", "https://app.corp.example/cb?from=sso", true)]
    #[case("https://app.corp.example/*?from=sso", "https://app.corp.example/cb?from=sso", true)]
    #[case("https://app.corp.example/*?from=sso", "https://app.corp.example/cb?from=other", false)]
    #[case("https://app.corp.example", "https://app.corp.example/", true)]
    #[case("http://127.0.0.1:*/callback", "http://127.0.0.1:51234/callback", true)]
    #[case("http://127.0.0.1:*/callback", "http://127.0.0.1/callback", true)]
    #[case("http://[::1]:*/callback", "http://[::1]:51234/callback", true)]
    #[case("http://127.0.0.1:*/callback", "http://127.0.0.2:51234/callback", false)]
    #[case("https://*.0.0.1/*", "https://127.0.0.1/", false)]
    #[case("https://*/callback", "https://anything.example/callback", true)]
    #[case("com.example.app:/callback", "com.example.app:/callback", true)]
    #[case("com.example.app:/*", "com.example.app:/callback", false)]
    #[case("*", "com.example.app:/callback", true)]
    fn parts(#[case] pattern: &str, #[case] uri: &str, #[case] allowed: bool) {
        assert_eq!(objection(&[pattern.to_owned()], uri).is_none(), allowed, "{pattern} {uri}");
    }

    #[rstest]
    #[case("https://APP.corp.example/callback", "https://app.corp.example/callback")]
    #[case("https://app.corp.example:443/callback", "https://app.corp.example/callback")]
    #[case("https://app.corp.example", "https://app.corp.example/")]
    #[case("https://app.corp.example/a/../b", "https://app.corp.example/b")]
    #[case("https://b\u{fc}ro.corp.example/b", "https://xn--bro-hoa.corp.example/b")]
    fn another_way_of_writing_is_named(#[case] uri: &str, #[case] better: &str) {
        let why = objection(&[CORP.to_owned()], uri).expect("an objection");
        assert!(why.ends_with(&format!("write {better}")), "{why}");
    }

    #[test]
    fn the_very_same_text_is_always_allowed() {
        let odd = "https://APP.corp.example/a/../b".to_owned();
        assert_eq!(objection(std::slice::from_ref(&odd), &odd), None);
    }
}
