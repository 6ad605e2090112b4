//! What came back, as far as it is of use: a few headers and a bounded body.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName, LINK, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{Refusal, link, text};

/// The longest Retry-After that is honoured.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// Why there is no body to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BrokenBody {
    /// It is longer than anyone needs; the rest was not read.
    #[error("its body is larger than anyone needs")]
    TooLarge,
    /// It broke off, or is not what its headers say.
    #[error("its body broke off")]
    BrokeOff,
    /// It did not end in time.
    #[error("its body did not end in time")]
    TooSlow,
}

/// An answer of a server. Its body may hold secrets and is not printed.
#[derive(Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Media type in lower case, without parameters.
    pub content_type: Option<String>,
    /// Retry-After in either form (RFC 9110 section 10.2.3), at most one hour; a date is taken relative to the
    /// server's own Date, so that no clock of ours is in it.
    pub retry_after: Option<Duration>,
    /// The server's clock (RFC 9110 section 6.6.1).
    pub date: Option<DateTime<Utc>>,
    /// Where the next page of a list is (RFC 8288, relation `next`), as the server wrote it.
    pub next: Option<String>,
    /// Bounded in size.
    pub body: Result<Vec<u8>, BrokenBody>,
    /// The credentials that were sent, without the scheme's name: no server's words may repeat them.
    pub(super) sent: Option<SecretString>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("retry_after", &self.retry_after)
            .field("date", &self.date)
            .field("body", &self.body.as_ref().map(|body| format!("{} bytes", body.len())))
            .finish_non_exhaustive()
    }
}

impl Answer {
    pub(super) fn new(
        status: u16,
        headers: &HeaderMap,
        body: Result<Vec<u8>, BrokenBody>,
        sent: Option<SecretString>,
    ) -> Self {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let date = text(DATE).and_then(http_date);
        Self {
            status,
            content_type: text(CONTENT_TYPE)
                .map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()),
            retry_after: text(RETRY_AFTER).and_then(|value| retry_after(value, date)),
            date,
            next: headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(link::next),
            body,
            sent: sent.map(|header| {
                let header = header.expose_secret();
                header.split_once(' ').map_or(header, |(_, credentials)| credentials).into()
            }),
        }
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Whether the body says that it is JSON (RFC 6839 suffixes included).
    pub fn is_json(&self) -> bool {
        self.content_type.as_deref().is_some_and(|t| t == "application/json" || t.ends_with("+json"))
    }

    /// Whether a page for people came back: of a log-in gateway, a captive portal, a load balancer.
    pub fn is_page(&self) -> bool {
        self.content_type.as_deref().is_some_and(|t| t.contains("html"))
            || self.body.as_ref().is_ok_and(|body| body.trim_ascii_start().starts_with(b"<"))
    }

    /// The body as JSON, whatever its media type says.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(self.body.as_ref().ok()?).ok()
    }

    /// The server's own word for what is wrong, and its description, cleaned: RFC 6749 section 5.2, or what servers
    /// say instead. The given secrets, sent with the request, are removed from both.
    pub fn error(&self, secrets: &[SecretString]) -> (Option<String>, Option<String>) {
        let json = self.json().unwrap_or_default();
        let secrets: Vec<_> = self.sent.iter().chain(secrets).cloned().collect();
        let say = |value: &Value| value.as_str().and_then(|text| text::clean(text, &secrets));
        let error =
            [&json["error"], &json["error"]["message"], &json["errorCode"], &json["errorMessage"], &json["message"]]
                .into_iter()
                .find_map(say);
        let description =
            [&json["error_description"], &json["error"]["reason"], &json["errorSummary"]].into_iter().find_map(say);
        (error, description)
    }

    /// This answer as a refusal of what was being done.
    pub(super) fn refusal(&self, operation: &'static str, secrets: &[SecretString]) -> Refusal {
        let (error, description) = if (300..400).contains(&self.status) {
            (None, Some("a redirect, which is never followed: check the server's addresses".to_owned()))
        } else {
            self.error(secrets)
        };
        Refusal { operation, status: self.status, error, description, retry_after: self.retry_after }
    }
}

fn retry_after(value: &str, server_now: Option<DateTime<Utc>>) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        value.parse().map_or(LONGEST_RETRY_AFTER, Duration::from_secs)
    } else {
        (http_date(value)? - server_now?).to_std().unwrap_or_default()
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

/// All three forms that recipients must accept (RFC 9110 section 5.6.7).
fn http_date(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    DateTime::parse_from_rfc2822(text).map(|date| date.to_utc()).ok().or_else(|| {
        ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"]
            .into_iter()
            .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())
            .map(|date| date.and_utc())
    })
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use rstest::rstest;

    use super::*;

    fn answer(headers: &[(&'static str, &str)], body: &str) -> Answer {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        Answer::new(400, &headers, Ok(body.into()), None)
    }

    const DATE_NOW: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    #[rstest]
    #[case("120", None, Some(120))]
    #[case(" 0 ", None, Some(0))]
    #[case("86400", None, Some(3600))]
    #[case("99999999999999999999999999", None, Some(3600))]
    #[case("Sun, 06 Nov 1994 08:51:37 GMT", Some(DATE_NOW), Some(120))]
    #[case("Sunday, 06-Nov-94 08:50:37 GMT", Some(DATE_NOW), Some(60))]
    #[case("Sun Nov  6 08:49:47 1994", Some(DATE_NOW), Some(10))]
    #[case("Sun, 06 Nov 1994 08:49:37 GMT", Some("Sun, 06 Nov 1994 08:50:00 GMT"), Some(0))]
    #[case("Mon, 07 Nov 1994 08:49:37 GMT", Some(DATE_NOW), Some(3600))]
    #[case("Sun, 06 Nov 1994 08:51:37 GMT", None, None)]
    #[case("soon", Some(DATE_NOW), None)]
    #[case("-5", Some(DATE_NOW), None)]
    #[case("", Some(DATE_NOW), None)]
    fn retry_after_in_both_forms(#[case] value: &str, #[case] date: Option<&str>, #[case] seconds: Option<u64>) {
        let headers: Vec<_> =
            [Some(("retry-after", value)), date.map(|date| ("date", date))].into_iter().flatten().collect();
        assert_eq!(answer(&headers, "").retry_after, seconds.map(Duration::from_secs));
    }

    #[rstest]
    #[case(r#"{"error":"invalid_client","error_description":"no"}"#, Some("invalid_client"), Some("no"))]
    #[case(r#"{"error":"Could not find client"}"#, Some("Could not find client"), None)]
    #[case(r#"{"errorMessage":"Client x already exists"}"#, Some("Client x already exists"), None)]
    #[case(r#"{"error":{"code":404,"message":"Not Found","reason":"no route"}}"#, Some("Not Found"), Some("no route"))]
    #[case(r#"{"errorCode":"E0000011","errorSummary":"Invalid token"}"#, Some("E0000011"), Some("Invalid token"))]
    #[case(r#"{"error":"x","error_description":""}"#, Some("x"), None)]
    #[case("<html>", None, None)]
    #[case("[1]", None, None)]
    #[case("", None, None)]
    fn what_servers_say_is_wrong(#[case] body: &str, #[case] error: Option<&str>, #[case] description: Option<&str>) {
        let (e, d) = answer(&[], body).error(&[]);
        assert_eq!((e.as_deref(), d.as_deref()), (error, description));
    }

    #[rstest]
    #[case("application/json; charset=utf-8", true, false)]
    #[case("Application/JSON", true, false)]
    #[case("application/problem+json", true, false)]
    #[case("text/html;charset=utf-8", false, true)]
    #[case("application/xhtml+xml", false, true)]
    #[case("text/plain", false, false)]
    fn media_types(#[case] content_type: &str, #[case] json: bool, #[case] page: bool) {
        let answer = answer(&[("content-type", content_type)], "{}");
        assert_eq!((answer.is_json(), answer.is_page()), (json, page));
    }

    #[test]
    fn the_body_is_not_printed() {
        let answer = answer(&[("content-type", "application/json")], r#"{"client_secret":"hush-hush"}"#);
        let printed = format!("{answer:?}");
        assert!(printed.contains("29 bytes") && !printed.contains("hush"), "{printed}");
    }
}
