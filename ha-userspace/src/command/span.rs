//! Durations as people type them: a bare number has the attribute's public unit, `us`, `ms` and `s` are accepted everywhere.

use std::time::Duration;

/// The unit that a bare number has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
}

impl Unit {
    fn micros(self) -> u64 {
        match self {
            Unit::Millis => 1_000,
            Unit::Seconds => 1_000_000,
        }
    }

    /// Returns the unit's suffix.
    pub fn suffix(self) -> &'static str {
        match self {
            Unit::Millis => "ms",
            Unit::Seconds => "s",
        }
    }
}

/// Reads `200`, `30ms`, `3s` or `1500us`; none if it is no duration.
pub fn read(text: &str, unit: Unit) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" => unit.micros(),
        "us" => 1,
        "ms" => 1_000,
        "s" => 1_000_000,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(factor).map(Duration::from_micros)
}

/// Prints the canonical form: bare in the public unit where that is whole, else the largest whole smaller unit.
pub fn print(span: Duration, unit: Unit) -> String {
    let micros = span.as_micros();
    if micros.is_multiple_of(u128::from(unit.micros())) {
        (micros / u128::from(unit.micros())).to_string()
    } else if micros.is_multiple_of(1_000) {
        format!("{}ms", micros / 1_000)
    } else {
        format!("{micros}us")
    }
}

/// Prints for a `show`: `200 msecs`, `3 secs`, `30 msecs`.
pub fn label(span: Duration, unit: Unit) -> String {
    let text = print(span, unit);
    if let Some(digits) = text.strip_suffix("us") {
        format!("{digits} usecs")
    } else if let Some(digits) = text.strip_suffix("ms") {
        format!("{digits} msecs")
    } else {
        format!("{text} {}ecs", unit.suffix())
    }
}

/// Returns the number in the public unit: whole as an integer, otherwise as a fraction.
pub fn json(span: Duration, unit: Unit) -> serde_json::Value {
    let (micros, factor) = (span.as_micros(), u128::from(unit.micros()));
    match u64::try_from(micros / factor) {
        Ok(whole) if micros.is_multiple_of(factor) => whole.into(),
        _ => (micros as f64 / factor as f64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_number_has_the_public_unit_and_suffixes_override_it() {
        assert_eq!(read("200", Unit::Millis), Some(Duration::from_millis(200)));
        assert_eq!(read("3", Unit::Seconds), Some(Duration::from_secs(3)));
        assert_eq!(read("30ms", Unit::Seconds), Some(Duration::from_millis(30)));
        assert_eq!(read("1500US", Unit::Millis), Some(Duration::from_micros(1500)));
        for bad in ["", "ms", "-3", "3.5", "3 s", "3m", "99999999999999999999", "18446744073709551615s"] {
            assert_eq!(read(bad, Unit::Seconds), None, "{bad}");
        }
    }

    #[test]
    fn printing_chooses_the_public_unit_where_it_is_whole() {
        let ms = Duration::from_millis;
        assert_eq!((print(ms(3000), Unit::Seconds), label(ms(3000), Unit::Seconds)), ("3".into(), "3 secs".into()));
        assert_eq!((print(ms(30), Unit::Seconds), label(ms(30), Unit::Seconds)), ("30ms".into(), "30 msecs".into()));
        assert_eq!((print(ms(200), Unit::Millis), label(ms(200), Unit::Millis)), ("200".into(), "200 msecs".into()));
        let us = Duration::from_micros(1500);
        assert_eq!((print(us, Unit::Millis), label(us, Unit::Millis)), ("1500us".into(), "1500 usecs".into()));
        assert_eq!(json(ms(30), Unit::Seconds), serde_json::json!(0.03));
        assert_eq!(json(ms(3000), Unit::Seconds), serde_json::json!(3));
    }
}
