//! A web server: POST of the same JSON that a program reads.

use std::thread;
use std::time::{Duration, Instant};

use ureq::Agent;
use ureq::http::{StatusCode, Uri};
use ureq::tls::{RootCerts, TlsConfig};

use super::{Notice, Settings};

/// Attempts per notice: right after a takeover the way to the server may be coming up.
const TRIES: u32 = 3;
/// Between two of them.
const PAUSE: Duration = Duration::from_secs(2);

pub fn deliver(notice: &Notice, lost: u64, settings: &Settings) -> Result<(), String> {
    let Some(url) = &settings.webhook else { return Ok(()) };
    let body = notice.json(settings, lost).to_string();
    deliver_within(settings.timeout, url, &body).map_err(|error| format!("{} does not take a notice: {error}", server(url)))
}

/// Tries as long as there is time for another one: `limit` is for all of them together.
fn deliver_within(limit: Duration, url: &str, body: &str) -> Result<(), Failure> {
    let deadline = Instant::now() + limit;
    let mut tries = 1;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let failure = match post(&agent(left), url, body) {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        if tries == TRIES || left <= PAUSE {
            return Err(failure);
        }
        tries += 1;
        thread::sleep(PAUSE);
    }
}

/// Why a server does not have the notice.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{}", without_url(.0))]
    Http(#[from] ureq::Error),
    #[error("it answers {0}; only 2xx says that it has it")]
    Status(StatusCode),
}

fn post(agent: &Agent, url: &str, body: &str) -> Result<(), Failure> {
    let status = agent.post(url).content_type("application/json").send(body)?.status();
    if status.is_success() { Ok(()) } else { Err(Failure::Status(status)) }
}

/// What an error says, unless it repeats the URL.
fn without_url(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) | ureq::Error::RequireHttpsOnly(_) => "its URL cannot be used".to_owned(),
        error => error.to_string(),
    }
}

fn agent(timeout: Duration) -> Agent {
    // The host's own certificate store: an operator's server has an operator's certificate.
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(0)
        .http_status_as_error(false)
        .user_agent(concat!("understudy/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build()
        .into()
}

/// A URL without what may be a secret in it: its scheme and host.
#[must_use]
pub fn server(url: &str) -> String {
    match url.parse::<Uri>() {
        Ok(uri) => format!("{}://{}", uri.scheme_str().unwrap_or("http"), uri.host().unwrap_or_default()),
        Err(_) => "webhook".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;

    use super::super::notice::tests::{settings, transition};
    use super::*;

    #[test]
    fn a_server_gets_the_json_as_its_body() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let settings =
            Settings { webhook: Some(format!("http://{}/ha?token=x", listener.local_addr().unwrap())), ..settings() };
        let server = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut len) = (Vec::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    len = value.trim().parse().unwrap();
                }
                if line == "\r\n" {
                    break;
                }
                head.push(line);
            }
            let mut body = vec![0; len];
            reader.read_exact(&mut body).unwrap();
            (&stream).write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
            (head.concat(), String::from_utf8(body).unwrap())
        });
        deliver(&transition(), 1, &settings).unwrap();
        let (head, body) = server.join().unwrap();
        assert!(head.starts_with("POST /ha?token=x HTTP/1.1\r\n") && head.contains("application/json"), "{head}");
        assert_eq!(body, transition().json(&settings, 1).to_string());
    }

    #[test]
    fn a_server_that_hangs_costs_the_timeout_and_no_more() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let began = Instant::now();
        assert!(post(&agent(Duration::from_millis(200)), &url, "{}").is_err());
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_server_that_hangs_gets_one_timeout_for_all_tries() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let began = Instant::now();
        assert!(deliver_within(Duration::from_millis(2500), &url, "{}").is_err());
        assert!(began.elapsed() < PAUSE * 3, "it was tried for {:?}", began.elapsed());
    }

    #[test]
    fn an_answer_other_than_2xx_is_a_failure() {
        for (answer, wanted) in [("302 Found\r\nLocation: /login", Some(302)), ("500 No", Some(500)), ("201 Created", None)] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            let server = thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut [0; 4096]).unwrap();
                write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
            });
            let status = match post(&agent(Duration::from_secs(10)), &url, "{}") {
                Ok(()) => None,
                Err(Failure::Status(status)) => Some(status.as_u16()),
                Err(error) => panic!("{answer}: {error}"),
            };
            assert_eq!(status, wanted);
            server.join().unwrap();
        }
    }

    #[test]
    fn https_to_a_server_without_a_certificate_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let server = thread::spawn(move || listener.accept().unwrap().0.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap());
        let error = post(&agent(Duration::from_secs(10)), &url, "{}").unwrap_err();
        assert!(!matches!(error, Failure::Http(ureq::Error::Timeout(_))), "{error}");
        server.join().unwrap();
    }

    #[test]
    fn a_failure_does_not_repeat_the_url() {
        let failure = Failure::from(ureq::Error::BadUri("https://hooks.example/T0/s3cret".into()));
        assert!(!failure.to_string().contains("s3cret"), "{failure}");
    }

    #[test]
    fn what_is_said_of_a_url_holds_no_token() {
        assert_eq!(server("https://user:s3cret@hooks.example/T0/B0/s3cret?x=s3cret"), "https://hooks.example");
    }
}
