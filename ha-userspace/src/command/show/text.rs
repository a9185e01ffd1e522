//! Small forms that several shows share.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use crate::config::ANY_PORT;

/// Stands where nothing is known yet of what this node has to look at itself.
pub const NOT_JUDGED: &str = "not judged yet";

/// Prints names in a row, or `None`.
pub fn names(names: &[String]) -> String {
    if names.is_empty() { "None".to_owned() } else { names.join(" ") }
}

/// Prints `ENABLED` or `DISABLED`.
pub fn enabled(on: bool) -> &'static str {
    if on { "ENABLED" } else { "DISABLED" }
}

/// Prints `Enabled` or `Disabled`, as columns do.
pub fn enabled_column(on: bool) -> &'static str {
    if on { "Enabled" } else { "Disabled" }
}

/// Prints `ON` or `OFF`.
pub fn on(on: bool) -> &'static str {
    if on { "ON" } else { "OFF" }
}

/// Prints `YES` or `NO`.
pub fn yes(on: bool) -> &'static str {
    if on { "YES" } else { "NO" }
}

/// Prints `days:hours:minutes:seconds`.
pub fn days_colon(span: Duration) -> String {
    let seconds = span.as_secs();
    format!("{}:{}:{}:{}", seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60)
}

/// Prints `0 days, 00:03:21.430`.
pub fn days_long(span: Duration) -> String {
    let seconds = span.as_secs();
    let (hours, minutes) = (seconds / 3_600 % 24, seconds / 60 % 60);
    format!("{} days, {hours:02}:{minutes:02}:{:02}.{:03}", seconds / 86_400, seconds % 60, span.subsec_millis())
}

/// Prints an address and port as one writes them together.
pub fn socket(ip: IpAddr, port: u16) -> String {
    let host = match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => "*".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    if port == ANY_PORT { format!("{host}:*") } else { format!("{host}:{port}") }
}

/// Prints a MAC address.
pub fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// Prints milliseconds with two decimals.
pub fn millis(span: Duration) -> String {
    format!("{:.2} msecs", span.as_secs_f64() * 1e3)
}

/// Prints a moment as RFC 3339 in UTC, to the millisecond.
pub fn moment(when: SystemTime) -> String {
    let since = when.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", since.subsec_millis())
}

/// Returns the Gregorian date of a day counted from 1970-01-01. Counts from 1 March, so that the leap day ends the year.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // March is 0
    let (day, month) = (day - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_agree_with_date_1() {
        let at =
            |seconds, millis| moment(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis));
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400, 1), "2000-02-29T00:00:00.001Z");
        assert_eq!(at(1_735_689_599, 999), "2024-12-31T23:59:59.999Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn spans_print_as_the_public_shows_do() {
        assert_eq!(days_colon(Duration::from_secs(77)), "0:0:1:17");
        assert_eq!(days_long(Duration::from_millis(86_400_000 + 201_430)), "1 days, 00:03:21.430");
    }
}
