//! Durations as Go writes them.

use std::{fmt, ops::Deref, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::pattern::{self, format};

/// A length of time, written `30m`, `1h30m` or `1.5s`; a bare integer counts nanoseconds, as in Go.
///
/// At most 2^63 - 1 nanoseconds, about 292 years.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoDuration(Duration);

impl GoDuration {
    /// A whole number of seconds.
    #[must_use]
    pub const fn from_secs(seconds: u32) -> Self {
        Self(Duration::from_secs(seconds as u64))
    }

    /// A whole number of minutes.
    #[must_use]
    pub const fn from_mins(minutes: u32) -> Self {
        Self(Duration::from_secs(minutes as u64 * 60))
    }
}

impl GoDuration {
    /// Whole seconds, as the protocols count them. `u32::MAX` where there are more.
    #[must_use]
    pub fn whole_seconds(self) -> u32 {
        u32::try_from(self.0.as_secs()).unwrap_or(u32::MAX)
    }

    /// So many nanoseconds.
    ///
    /// # Errors
    /// [`ParseDurationError::Range`] beyond 2^63 - 1.
    pub(super) fn from_nanoseconds(nanoseconds: u64) -> Result<Self, ParseDurationError> {
        if i64::try_from(nanoseconds).is_err() {
            return Err(ParseDurationError::Range);
        }
        Ok(Self(Duration::from_nanos(nanoseconds)))
    }
}

impl From<Duration> for GoDuration {
    /// A duration that Go cannot hold becomes the longest that it can.
    fn from(duration: Duration) -> Self {
        Self(duration.min(Duration::from_nanos(i64::MAX.unsigned_abs())))
    }
}

impl Deref for GoDuration {
    type Target = Duration;

    fn deref(&self) -> &Duration {
        &self.0
    }
}

/// Units in nanoseconds, the longest first. Both the micro sign and the Greek letter are in use.
const UNITS: [(&str, i128); 8] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ns", 1),
];

/// The text is no duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    /// Not a sequence of numbers with units.
    #[error("a duration is written like 30m, 1h30m or 1.5s")]
    Syntax,
    /// Below zero, or above what Go can hold.
    #[error("a duration is from 0 to 2562047h47m16.854775807s, about 292 years")]
    Range,
}

/// Reads a Go duration, sign included, in nanoseconds.
pub(super) fn parse_nanoseconds(text: &str) -> Result<i64, ParseDurationError> {
    let (sign, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(ParseDurationError::Syntax);
    }
    let mut total = 0i128;
    while !rest.is_empty() {
        let (nanoseconds, after) = parse_term(rest)?;
        total += nanoseconds;
        rest = after;
    }
    i64::try_from(sign * total).map_err(|_| ParseDurationError::Range)
}

/// Reads one number and its unit; returns nanoseconds and what follows.
fn parse_term(text: &str) -> Result<(i128, &str), ParseDurationError> {
    let number_end =
        text.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or(ParseDurationError::Syntax)?;
    let (number, rest) = text.split_at(number_end);
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_end);
    let scale = UNITS
        .iter()
        .find_map(|(name, scale)| (*name == unit).then_some(*scale))
        .ok_or(ParseDurationError::Syntax)?;

    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(ParseDurationError::Syntax);
    }
    // Eighteen digits keep the product in range; further ones are below a nanosecond.
    let fraction = fraction.get(..18).unwrap_or(fraction);
    if whole.len() > 19 || fraction.contains('.') {
        return Err(ParseDurationError::Range);
    }
    let digits = |text: &str| if text.is_empty() { Ok(0) } else { text.parse::<i128>() };
    let whole = digits(whole).map_err(|_| ParseDurationError::Syntax)?;
    let part = digits(fraction).map_err(|_| ParseDurationError::Syntax)?;
    Ok((whole * scale + part * scale / 10i128.pow(fraction.len() as u32), rest))
}

impl FromStr for GoDuration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let nanoseconds = parse_nanoseconds(text)?;
        let nanoseconds = u64::try_from(nanoseconds).map_err(|_| ParseDurationError::Range)?;
        Ok(Self(Duration::from_nanos(nanoseconds)))
    }
}

/// Hours, minutes and seconds that are zero are left out; below a second one unit is enough.
impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = i128::try_from(self.0.as_nanos()).unwrap_or(i128::MAX);
        if nanoseconds == 0 {
            return f.write_str("0s");
        }
        if nanoseconds < 1_000_000_000 {
            let divides = |(_, scale): &&(&str, i128)| nanoseconds % scale == 0;
            let (unit, scale) = UNITS.iter().find(divides).unwrap_or(&("ns", 1));
            return write!(f, "{}{unit}", nanoseconds / scale);
        }
        let seconds = self.0.as_secs();
        for (count, unit) in [(seconds / 3600, "h"), (seconds / 60 % 60, "m")] {
            if count != 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        match (seconds % 60, self.0.subsec_nanos()) {
            (0, 0) => Ok(()),
            (whole, 0) => write!(f, "{whole}s"),
            (whole, part) => {
                write!(f, "{whole}.{}s", format!("{part:09}").trim_end_matches('0'))
            }
        }
    }
}

impl Serialize for GoDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for GoDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = GoDuration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration like 30m, 1h30m or 1.5s")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GoDuration, E> {
                text.parse().map_err(|error| E::custom(format_args!("`{text}`: {error}")))
            }

            fn visit_u64<E: de::Error>(self, nanoseconds: u64) -> Result<GoDuration, E> {
                GoDuration::from_nanoseconds(nanoseconds).map_err(E::custom)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for GoDuration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "GoDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["string", "integer"], "format": format::DURATION, "pattern": pattern::DURATION,
            "minimum": 0, "maximum": i64::MAX,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn nanoseconds(text: &str) -> u128 {
        text.parse::<GoDuration>().unwrap().as_nanos()
    }

    #[test]
    fn reads_what_go_reads() {
        assert_eq!(nanoseconds("30m"), 1_800_000_000_000);
        assert_eq!(nanoseconds("1h30m"), 5_400_000_000_000);
        assert_eq!(nanoseconds("1.5s"), 1_500_000_000);
        assert_eq!(nanoseconds(".5s"), 500_000_000);
        assert_eq!(nanoseconds("1.s"), 1_000_000_000);
        assert_eq!(nanoseconds("2ms3us4ns"), 2_003_004);
        assert_eq!(nanoseconds("7µs"), nanoseconds("7μs"));
        assert_eq!(nanoseconds("+1s"), 1_000_000_000);
        assert_eq!(nanoseconds("0"), 0);
    }

    #[test]
    fn refuses_what_is_no_duration() {
        for text in ["", "-", "30", "m", ".s", "1x", "1 s", "1.2.3s", "s1", "1h-30m"] {
            assert!(text.parse::<GoDuration>().is_err(), "{text}");
        }
        assert_eq!("-1s".parse::<GoDuration>(), Err(ParseDurationError::Range));
        assert_eq!("2562048h".parse::<GoDuration>(), Err(ParseDurationError::Range));
        let many_digits = format!("{}h", "9".repeat(60));
        assert_eq!(many_digits.parse::<GoDuration>(), Err(ParseDurationError::Range));
    }

    #[test]
    fn writes_no_more_units_than_needed() {
        for text in ["0s", "30m", "1h30m", "1h", "2m5s", "1.5s", "250ms", "15us", "1500us", "7ns"] {
            assert_eq!(text.parse::<GoDuration>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_bare_integer_counts_nanoseconds() {
        assert_eq!(serde_yaml::from_str::<GoDuration>("1500").unwrap().as_nanos(), 1500);
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(nanoseconds in 0..=i64::MAX as u64) {
            let duration = GoDuration(Duration::from_nanos(nanoseconds));
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn never_panics(text in ".{0,40}") {
            let _ = parse_nanoseconds(&text);
        }
    }
}
