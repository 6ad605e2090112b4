//! Asks an operator over HTTP whether it is ready, for `helm test`: its image has no other program.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

/// How long connecting may take, and how long each part of the answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer is no longer than this.
const LONGEST: u64 = 64 * 1024;

/// The body of what is answered at this `http://` URL with status 200; otherwise, why there is none.
///
/// # Errors
///
/// What is wrong with the URL, what went wrong on the way, or what else was answered.
pub fn check(url: &str) -> Result<String, String> {
    let uri: http::Uri = url.parse().map_err(|e| format!("{url}: {e}"))?;
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(format!("{url}: give a URL such as http://localhost:8080/readyz"));
    };
    let answer = ask(host, uri.port_u16().unwrap_or(80), uri.path()).map_err(|e| format!("{url}: {e}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(|| format!("{url}: no HTTP answer"))?;
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    if status == "200" { Ok(body.trim().to_owned()) } else { Err(format!("{url}: {status}: {}", body.trim())) }
}

fn ask(host: &str, port: u16, path: &str) -> std::io::Result<String> {
    let mut last = std::io::Error::from(ErrorKind::NotFound);
    for address in (host.trim_matches(['[', ']']), port).to_socket_addrs()? {
        let mut stream = match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => stream,
            Err(error) => {
                last = error;
                continue;
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(LONGEST).read_to_string(&mut answer)?;
        return Ok(answer);
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::check;

    fn answering(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/readyz", listener.local_addr().expect("an address"));
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut asked = [0; 1024];
            let read = stream.read(&mut asked).expect("a request");
            assert!(asked[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).expect("answer");
        });
        url
    }

    #[test]
    fn ready_is_200_and_nothing_else() {
        let ready = answering("HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nready\n");
        assert_eq!(check(&ready).as_deref(), Ok("ready"));
        let url = answering("HTTP/1.1 503 Service Unavailable\r\n\r\nnot listed yet: secrets");
        assert_eq!(check(&url), Err(format!("{url}: 503: not listed yet: secrets")));
        let url = answering("SSH-2.0\r\n");
        assert_eq!(check(&url), Err(format!("{url}: no HTTP answer")));
    }

    #[test]
    fn what_cannot_be_asked_is_said() {
        for url in ["https://localhost/readyz", "localhost:8080", "/readyz", ""] {
            assert!(check(url).is_err_and(|e| e.starts_with(url)), "{url}");
        }
        let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        assert!(check(&format!("http://{nobody}/readyz")).is_err());
    }
}
