use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rstest::rstest;
use serde_json::json;

use super::super::testing::{Observed, Reply, Server, assert_tells_nothing_of, http, impatient, nobody, patient};
use super::*;

fn get(url: &str) -> Call<'_> {
    Call::new("read metadata", Method::GET, url)
}

fn post<'a>(url: &'a str, body: &str) -> Call<'a> {
    let mut call = Call::new("register client", Method::POST, url);
    call.body = Some(("application/json", body.to_owned().into()));
    call
}

fn observed(config: &HttpConfig) -> (Http, Arc<Observed>) {
    let observed = Arc::new(Observed::default());
    (Http::new(config, observed.clone(), Permit::unlimited()).unwrap(), observed)
}

#[rstest]
#[case("https://sso.example/realms/a", true, Ok(()))]
#[case("https://sso.example:8443/reg?client_id=x", false, Ok(()))]
#[case("http://sso.example/", true, Ok(()))]
#[case("http://sso.example/", false, Err("plain http"))]
#[case("ftp://sso.example/", true, Err("not https"))]
#[case("file:///etc/passwd", true, Err("not https"))]
#[case("/realms/a", true, Err("not absolute"))]
#[case("sso.example/a", true, Err("not absolute"))]
#[case("https:///x", true, Ok(()))]
#[case("https://", true, Err("not absolute"))]
#[case("https://user@sso.example/", true, Err("user information"))]
#[case("https://user:pass@sso.example/", true, Err("user information"))]
#[case("https://@sso.example/", true, Err("user information"))]
#[case("https://:@sso.example/", true, Err("user information"))]
#[case("https://sso.example/#frag", true, Err("fragment"))]
#[case("https://sso.example/#", true, Err("fragment"))]
#[case("https://sso.exa\tmple/", true, Err("belong in no URL"))]
#[case("https://sso.example/a b", true, Err("belong in no URL"))]
#[case(" https://sso.example/", true, Err("belong in no URL"))]
#[case("https:\\\\sso.example\\", true, Err("belong in no URL"))]
#[case("https://ѕso.example/", true, Err("belong in no URL"))]
#[case(&format!("https://sso.example/{}", "a".repeat(2048)), true, Err("longer than"))]
fn urls(#[case] url: &str, #[case] plain: bool, #[case] expected: Result<(), &str>) {
    match (check_url(url, plain), expected) {
        (Ok(_), Ok(())) => {}
        (Err(found), Err(part)) => assert!(found.contains(part), "{url}: {found}"),
        (found, expected) => panic!("{url}: {found:?} instead of {expected:?}"),
    }
}

#[rstest]
#[case("", "it holds no certificate")]
#[case("not PEM at all", "it holds no certificate")]
#[case("-----BEGIN CERTIFICATE-----\naHVzaA==\n-----END CERTIFICATE-----\n", "certificate 1 does not parse")]
#[case("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", "it is not PEM")]
#[case("-----BEGIN PRIVATE KEY-----\naHVzaA==\n-----END PRIVATE KEY-----\n", "it holds a PRIVATE KEY block")]
fn a_bad_bundle_is_told(#[case] bundle: &str, #[case] what: &str) {
    let config = HttpConfig { ca_bundle: Some(bundle.to_owned()), ..patient() };
    let error = Http::new(&config, Arc::new(Observed::default()), Permit::unlimited()).err().expect("refused");
    assert!(error.to_string().contains(what), "{error}");
    assert_tells_nothing_of(&error, &["aHVzaA", "hush"]);
}

#[tokio::test]
async fn what_is_sent_and_what_comes_back() {
    let server = Server::always(
        Reply::typed(429, "Application/JSON; charset=utf-8", "{}")
            .header("retry-after", "7")
            .header("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
    )
    .await;
    let (http, observed) = observed(&patient());
    let url = server.url("/reg?x=1");
    let answer = http.send(post(&url, "{\"a\":1}").bearer(&"t0ken".into())).await.unwrap();
    assert_eq!((answer.status, answer.content_type.as_deref()), (429, Some("application/json")));
    assert_eq!(answer.retry_after, Some(Duration::from_secs(7)));
    assert_eq!(answer.date.unwrap().timestamp(), 784_111_777);
    assert_eq!(answer.body, Ok(b"{}".to_vec()));

    let seen = server.only();
    assert_eq!((seen.method.as_str(), seen.path.as_str(), seen.body.as_str()), ("POST", "/reg?x=1", "{\"a\":1}"));
    assert_eq!(seen.header("authorization"), Some("Bearer t0ken"));
    assert_eq!(seen.header("content-type"), Some("application/json"));
    assert_eq!(seen.header("accept"), Some("application/json"));
    assert_eq!(seen.header("user-agent"), Some(concat!("oauthclient-operator/", env!("CARGO_PKG_VERSION"))));
    assert_eq!(observed.codes(), ["429"]);

    // And now it is left alone for a while, by everybody.
    let error = http.send(get(&url)).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent { retry_after: Some(_), .. }), "{error:?}");
    assert_eq!(server.seen().len(), 1);
}

#[rstest]
#[tokio::test]
async fn redirects_are_answers(#[values(301, 302, 303, 307, 308)] status: u16) {
    let elsewhere = Server::always(Reply::empty(204)).await;
    let server = Server::always(Reply::empty(status).header("location", elsewhere.url("/"))).await;
    let url = server.url("/reg");
    let answer = http(&patient()).send(post(&url, "{}").bearer(&"t0ken".into())).await.unwrap();
    assert_eq!(answer.status, status);
    assert!(elsewhere.seen().is_empty());
}

#[rstest]
#[case::chunks_without_end(
    Reply::Endless("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7fffffff\r\n".into()), BrokenBody::TooLarge)]
#[case::until_it_closes(Reply::Endless("HTTP/1.1 200 OK\r\n\r\n".into()), BrokenBody::TooLarge)]
#[case::one_byte_too_many(Reply::typed(200, "text/plain", &"x".repeat(LARGEST_BODY + 1)), BrokenBody::TooLarge)]
#[case::cut_off(Reply::Raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"client_id\":".into()), BrokenBody::BrokeOff)]
#[case::bad_chunks(Reply::Raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".into()), BrokenBody::BrokeOff)]
#[case::slow(Reply::Hold("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{".into()), BrokenBody::TooSlow)]
#[tokio::test]
async fn bodies_that_are_no_use(#[case] reply: Reply, #[case] broken: BrokenBody) {
    let server = Server::always(reply).await;
    let (http, observed) = observed(&if broken == BrokenBody::TooSlow { impatient() } else { patient() });
    let answer = http.send(get(&server.url("/"))).await.unwrap();
    assert_eq!((answer.status, answer.body), (200, Err(broken)));
    assert_eq!(observed.codes(), ["body"]);
}

#[tokio::test]
async fn the_largest_body_is_read() {
    let server = Server::always(Reply::typed(200, "text/plain", &"x".repeat(LARGEST_BODY))).await;
    let answer = http(&patient()).send(get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.body.map(|body| body.len()), Ok(LARGEST_BODY));
}

#[rstest]
#[case::closed(Reply::closed(), "reset")]
#[case::no_http(Reply::Raw("SSH-2.0-OpenSSH_9.9\r\n".into()), "reset")]
#[case::half_a_head(Reply::Raw("HTTP/1.1 201 Created\r\ncontent-".into()), "reset")]
#[case::silent(Reply::silence(), "timeout")]
#[case::half_a_head_and_silent(Reply::Hold("HTTP/1.1 201 Created\r\ncontent-".into()), "timeout")]
#[tokio::test]
async fn unanswered_may_have_acted_and_is_not_sent_again(#[case] reply: Reply, #[case] code: &str) {
    let server = Server::always(reply).await;
    let (http, observed) = observed(&impatient());
    let url = server.url("/reg?token=hush");
    let error = http.send(post(&url, "{\"secret\":\"hush\"}").bearer(&"hush".into())).await.unwrap_err();
    let SendError::MayHaveActed { why } = &error else { panic!("{error:?}") };
    assert!(why.starts_with(&format!("register client at {}/reg: ", server.origin)), "{why}");
    assert!(why.contains("may have taken effect"), "{why}");
    assert_tells_nothing_of(&error, &["hush"]);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(observed.codes(), [code]);
}

#[tokio::test]
async fn reading_has_no_effect_to_warn_of() {
    let server = Server::always(Reply::closed()).await;
    let error = http(&patient()).send(get(&server.url("/"))).await.unwrap_err();
    assert!(!error.to_string().contains("effect"), "{error}");
}

#[tokio::test]
async fn nobody_there_is_not_sent() {
    let (http, observed) = observed(&patient());
    let error = http.send(post(&nobody(), "{}").bearer(&"hush".into())).await.unwrap_err();
    let SendError::NotSent { why, retry_after: None } = &error else { panic!("{error:?}") };
    assert!(why.contains("not sent, no connection") && why.contains("refused"), "{why}");
    assert_tells_nothing_of(&error, &["hush"]);
    assert_eq!(observed.codes(), ["connect"]);
}

#[tokio::test]
async fn a_name_that_is_not_there_is_not_sent() {
    let (http, observed) = observed(&impatient());
    let error = http.send(get("https://no-such-host.invalid/")).await.unwrap_err();
    assert!(matches!(error, SendError::NotSent { .. }), "{error:?}");
    assert_eq!(observed.codes(), ["connect"]);
}

#[tokio::test]
async fn plain_http_is_refused_unless_allowed() {
    let server = Server::always(Reply::empty(204)).await;
    let (http, observed) = observed(&HttpConfig { allow_plain_http: false, ..patient() });
    let error = http.send(get(&server.url("/"))).await.unwrap_err();
    assert!(matches!(&error, SendError::NotSent { why, .. } if why.contains("plain http is not allowed")), "{error:?}");
    assert!(server.seen().is_empty() && observed.codes().is_empty());
}

#[rstest]
#[case("hush\r\nx-injected: 1")]
#[case("hush\0")]
#[tokio::test]
async fn a_credential_that_no_header_can_carry_is_not_sent(#[case] token: &str) {
    let server = Server::always(Reply::empty(204)).await;
    let error = http(&patient()).send(get(&server.url("/")).bearer(&token.into())).await.unwrap_err();
    assert!(matches!(&error, SendError::NotSent { .. }), "{error:?}");
    assert_tells_nothing_of(&error, &["hush"]);
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn a_server_that_hangs_holds_few() {
    let server = Server::always(Reply::silence()).await;
    let mut config = impatient();
    config.limits.max_in_flight = 1;
    let http = http(&config);
    let url = server.url("/");
    let all = futures::future::join_all((0..20).map(|_| http.send(get(&url)))).await;
    let busy = all.iter().filter(|r| matches!(r, Err(SendError::NotSent { retry_after: Some(_), .. }))).count();
    assert!(busy >= 18, "one in flight and one waiting; the others are told: {busy}");
    assert!(server.seen().len() <= 2);
}

#[rstest]
#[case::says_so(Reply::json(503, &json!({"error": "unavailable"})), true)]
#[case::says_it_once_too_often(Reply::json(500, &json!({})), true)]
#[case::refuses(Reply::json(401, &json!({"error": "invalid_client"})), false)]
#[case::is_called_too_often(Reply::json(429, &json!({})), false)]
#[tokio::test]
async fn a_server_that_fails_again_and_again_is_left_alone(#[case] reply: Reply, #[case] left_alone: bool) {
    let server = Server::always(reply).await;
    let (http, seen) = observed(&patient());
    let url = server.url("/");
    for _ in 0..2 {
        assert!(http.send(get(&url)).await.is_ok());
    }
    assert!(http.send(get(&nobody())).await.is_err(), "another origin");
    let mut refused = 0;
    for _ in 0..18 {
        match http.with_priority(Priority::Ending).send(get(&url)).await {
            Ok(_) => {}
            Err(SendError::NotSent { why, retry_after: Some(_) }) => {
                refused += 1;
                assert!(why.contains("failed 5 times in a row"), "{why}");
            }
            Err(other) => panic!("{other}"),
        }
    }
    let opened = seen.codes().iter().filter(|code| *code == "open").count();
    if left_alone {
        // On a slow machine the time of a try may come meanwhile.
        assert!(server.seen().len() < 10 && refused > 10 && opened >= 1, "{refused} {opened}");
    } else {
        assert_eq!((server.seen().len(), refused, opened), (20, 0, 0));
    }
}

struct Ca {
    bundle: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    Ca { bundle: issuer.pem(), issuer }
}

impl Ca {
    fn server(&self, name: &str) -> rustls::ServerConfig {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap()
    }
}

fn trusting(bundle: &str) -> HttpConfig {
    HttpConfig { ca_bundle: Some(bundle.to_owned()), allow_plain_http: false, ..patient() }
}

#[tokio::test]
async fn a_bundle_is_trusted() {
    let (ca, other) = (ca("ours"), ca("another"));
    let server = Server::tls(ca.server("localhost"), Reply::empty(204)).await;
    for bundle in [ca.bundle.clone(), format!("{}{}", other.bundle, ca.bundle)] {
        let answer = http(&trusting(&bundle)).send(get(&server.url("/"))).await.unwrap();
        assert_eq!(answer.status, 204);
    }
}

#[tokio::test]
async fn other_certificates_are_refused_before_anything_is_sent() {
    let (trusted, unknown) = (ca("ours"), ca("another"));
    let cases = [
        (Server::tls(unknown.server("localhost"), Reply::empty(204)).await, trusting(&trusted.bundle), "UnknownIssuer"),
        (
            Server::tls(trusted.server("other.example"), Reply::empty(204)).await,
            trusting(&trusted.bundle),
            "not valid for name",
        ),
        (
            Server::tls(trusted.server("localhost"), Reply::empty(204)).await,
            HttpConfig { ca_bundle: None, ..patient() },
            "UnknownIssuer",
        ),
    ];
    for (server, config, cause) in cases {
        let (http, observed) = observed(&config);
        let url = server.url("/reg");
        let error = http.send(post(&url, "{}").bearer(&"hush".into())).await.unwrap_err();
        assert!(
            matches!(&error, SendError::NotSent { why, .. } if why.contains("TLS failed") && why.contains(cause)),
            "{error:?}"
        );
        assert!(server.seen().is_empty());
        assert_eq!(observed.codes(), ["tls"]);
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_nothing() {
    let server = Server::always(Reply::empty(204)).await;
    let url = server.url("/reg").replace("http:", "https:");
    let error = http(&patient()).send(post(&url, "{}").bearer(&"hush".into())).await.unwrap_err();
    assert!(matches!(&error, SendError::NotSent { .. }), "{error:?}");
    assert!(server.seen().is_empty());
}
