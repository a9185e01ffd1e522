//! A web server: POST of the same JSON that a program reads.

use std::thread;
use std::time::Duration;

use ureq::Agent;
use ureq::http::Uri;
use ureq::tls::{RootCerts, TlsConfig};

use super::{Notice, Settings};

/// Attempts per notice: right after a takeover the way to the server may be coming up.
const TRIES: u32 = 3;
/// Between two of them.
const PAUSE: Duration = Duration::from_secs(2);

pub fn deliver(notice: &Notice, lost: u64, settings: &Settings) -> Result<(), String> {
    let Some(url) = &settings.webhook else { return Ok(()) };
    let body = notice.json(settings, lost).to_string();
    let agent = agent(settings.timeout);
    let mut tries = 1;
    loop {
        match post(&agent, url, &body) {
            Ok(()) => return Ok(()),
            Err(error) if tries == TRIES => return Err(format!("{} does not take a notice: {error}", server(url))),
            Err(_) => tries += 1,
        }
        thread::sleep(PAUSE);
    }
}

fn post(agent: &Agent, url: &str, body: &str) -> Result<(), ureq::Error> {
    agent.post(url).content_type("application/json").send(body).map(drop)
}

fn agent(timeout: Duration) -> Agent {
    // The host's own certificate store: an operator's server has an operator's certificate.
    let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
    Agent::config_builder()
        .timeout_global(Some(timeout))
        .max_redirects(0)
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
    use std::time::Instant;

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
    fn https_to_a_server_without_a_certificate_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        let server = thread::spawn(move || listener.accept().unwrap().0.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap());
        let error = post(&agent(Duration::from_secs(10)), &url, "{}").unwrap_err();
        assert!(!matches!(error, ureq::Error::Timeout(_)), "{error}");
        server.join().unwrap();
    }

    #[test]
    fn what_is_said_of_a_url_holds_no_token() {
        assert_eq!(server("https://user:s3cret@hooks.example/T0/B0/s3cret?x=s3cret"), "https://hooks.example");
    }
}
