//! The daemon's log, on standard error: `info` and graver, or what `RUST_LOG` asks for.

use tracing::{Level, Metadata};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// Begins it.
pub fn begin() {
    let wanted = EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(false).with_env_filter(wanted).finish();
    log.with(filter_fn(|line: &Metadata<'_>| is_free_of_secrets(line.target(), *line.level()))).init();
}

/// Whether lines of this origin may be written: at its finest the HTTP client tells whole requests, and a webhook's URL may be a secret.
fn is_free_of_secrets(target: &str, level: Level) -> bool {
    !target.starts_with("ureq") || level != Level::TRACE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_http_client_does_not_tell_its_requests() {
        for target in ["ureq::run", "ureq_proto::client"] {
            assert!(!is_free_of_secrets(target, Level::TRACE), "{target}");
            assert!(is_free_of_secrets(target, Level::DEBUG), "{target}");
        }
        assert!(is_free_of_secrets("understudy::daemon", Level::TRACE));
    }
}
