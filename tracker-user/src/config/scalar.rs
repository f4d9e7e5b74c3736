//! Whether a single value is what its key takes, by the key's schema, in words for the operator.
//!
//! The types would find the same, but one mistake at a time and in the words of their libraries.

use std::fmt::Display;

use bytesize::ByteSize;
use serde_json::Value as Schema;
use serde_yaml::{Number, Value};
use tracker_common::id::{ClientId, InfoHash};

use super::{
    GoDuration, ListenAddr, Network,
    duration::ParseDurationError,
    pattern::format,
    schema::{has_type, words},
};

/// What is to be said of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Fine,
    /// It is taken, and may not mean what its writer thinks.
    Doubtful(String),
    /// It is not taken.
    Wrong(String),
}

use Verdict::{Doubtful, Fine, Wrong};

/// Judges a value that is neither null nor a list nor a section. Texts that may be secrets are not quoted.
pub(super) fn judge(value: &Value, schema: &Schema) -> Verdict {
    match schema["format"].as_str() {
        Some(format::DURATION) => duration(value, schema),
        Some(format::SIZE) => size(value),
        Some(format::LISTEN_ADDRESS) => address(value),
        Some(format::NETWORK) => parsed::<Network>(value),
        Some(format::INFO_HASH) => parsed::<InfoHash>(value),
        Some(format::CLIENT_ID) => parsed::<ClientId>(value),
        _ if words(schema).next().is_some() => word(value, schema),
        _ if has_type(schema, "boolean") => boolean(value),
        _ if has_type(schema, "integer") => number(value, schema, "a whole number"),
        _ if has_type(schema, "number") => number(value, schema, "a number"),
        _ if has_type(schema, "string") => text(value),
        _ => Fine,
    }
}

/// A number, a truth value or a text as it is written, or nearly so.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        other => serde_yaml::to_string(other).unwrap_or_default().trim_end().to_owned(),
    }
}

const QUOTES: &str = "text is needed; put digits into quotes";

fn text(value: &Value) -> Verdict {
    match value {
        Value::Number(_) | Value::Bool(_) => Wrong(format!("is a {}: {QUOTES}", kind(value))),
        Value::String(text) => match variable(text) {
            Some(variable) => Doubtful(format!(
                "has {variable} in it, which is taken as it stands: variables are expanded in --config only"
            )),
            None => Fine,
        },
        _ => Fine,
    }
}

/// What an environment variable in a text would be written like: `${NAME}`.
fn variable(text: &str) -> Option<&str> {
    let rest = &text[text.find("${")?..];
    let name = rest.get(2..rest.find('}')?)?;
    let is_name = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
    is_name.then(|| &rest[..name.len() + 3])
}

fn kind(value: &Value) -> &'static str {
    if value.is_bool() { "truth value" } else { "number" }
}

fn parsed<T: std::str::FromStr<Err: Display>>(value: &Value) -> Verdict {
    let Value::String(text) = value else {
        return Wrong(format!("{} is a {}: {QUOTES}", shown(value), kind(value)));
    };
    text.parse::<T>().map_or_else(|error| Wrong(format!("`{text}`: {error}")), |_| Fine)
}

fn address(value: &Value) -> Verdict {
    let text = match value {
        Value::String(text) => text.clone(),
        other => shown(other),
    };
    match text.parse::<ListenAddr>() {
        Err(error) => Wrong(error.to_string()),
        // None that is a number or a truth value is an address.
        Ok(_) => Fine,
    }
}

fn word(value: &Value, schema: &Schema) -> Verdict {
    if words(schema).any(|(word, _)| value.as_str() == Some(word)) {
        return Fine;
    }
    let known: Vec<_> = words(schema).map(|(word, _)| format!("`{word}`")).collect();
    Wrong(format!("{} is not known; known are {}", shown(value), known.join(", ")))
}

fn boolean(value: &Value) -> Verdict {
    if value.is_bool() {
        Fine
    } else {
        Wrong(format!("{} is neither true nor false", shown(value)))
    }
}

fn number(value: &Value, schema: &Schema, needed: &str) -> Verdict {
    let Value::Number(given) = value else {
        if let Some(message) = value.as_str().and_then(zero_in_front) {
            return Wrong(message);
        }
        let quotes = match value.as_str() {
            Some(text) if text.parse::<f64>().is_ok() => "; take the quotes away",
            _ => "",
        };
        return Wrong(format!("{} is not {needed}{quotes}", shown(value)));
    };
    // A number that no integer holds is read as a fraction.
    let exact = given.as_f64().unwrap_or(f64::NAN);
    let bound = |key: &str| schema[key].as_f64().map(|bound| (bound, &schema[key]));
    if let Some((_, max)) = bound("maximum").filter(|(max, _)| exact > *max) {
        return Wrong(format!("{given} is more than {max}"));
    }
    if let Some((_, min)) = bound("minimum").filter(|(min, _)| exact < *min) {
        return Wrong(format!("{given} is less than {min}"));
    }
    if let Some((_, min)) = bound("exclusiveMinimum").filter(|(min, _)| exact <= *min) {
        return Wrong(format!("{given} is not more than {min}"));
    }
    if given.is_f64() && has_type(schema, "integer") {
        return Wrong(format!("{given} is not {needed}"));
    }
    Fine
}

/// What to write in place of digits that begin with a zero. YAML 1.2 has no such numbers; YAML 1.1, which Chihaya reads,
/// has them in octal.
fn zero_in_front(text: &str) -> Option<String> {
    let digits = text.strip_prefix('0')?;
    let plain: u64 = digits.parse().ok()?;
    Some(match u64::from_str_radix(digits, 8) {
        Ok(octal) if octal != plain => format!(
            "`{text}` begins with a zero: Chihaya reads it as octal, {octal}; write {octal}, or {plain} if that is meant"
        ),
        _ => format!("`{text}` begins with a zero: write {plain}"),
    })
}

/// Below this many, a number without a unit is hardly meant to count nanoseconds.
const NANOSECONDS_MIN: u64 = 1_000_000;

/// Chihaya takes nanoseconds, so they are taken where the key could mean so few.
fn duration(value: &Value, schema: &Schema) -> Verdict {
    match value {
        Value::Number(number) => {
            let Some(nanoseconds) = number.as_u64() else { return Wrong(no_duration(value)) };
            let duration = match GoDuration::from_nanoseconds(nanoseconds) {
                Ok(duration) => duration,
                Err(error) => return Wrong(format!("{nanoseconds}: {error}")),
            };
            let is_less = schema["minimum"].as_u64().is_some_and(|min| nanoseconds < min);
            let advice = if is_less || nanoseconds < NANOSECONDS_MIN {
                format!("write {nanoseconds}s if seconds are meant")
            } else {
                format!("write {duration}")
            };
            let message = format!("{nanoseconds} has no unit and counts nanoseconds: {advice}");
            match nanoseconds {
                0 => Fine,
                _ if is_less => Wrong(message),
                _ => Doubtful(message),
            }
        }
        Value::String(text) => match text.parse::<GoDuration>() {
            Ok(_) => Fine,
            Err(error) => {
                let advice = match error {
                    ParseDurationError::Syntax => with_unit(text),
                    ParseDurationError::Range => None,
                };
                Wrong(format!("`{text}`: {}", advice.unwrap_or_else(|| error.to_string())))
            }
        },
        other => Wrong(no_duration(other)),
    }
}

fn no_duration(value: &Value) -> String {
    format!("{} is not a duration, which is written like 30m, 1h30m or 1.5s", shown(value))
}

/// What to write in place of a number without a unit, or with one that Go does not know.
fn with_unit(text: &str) -> Option<String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let count: u64 = number.parse().ok()?;
    let (unit, times) = match &*unit.trim().to_ascii_lowercase() {
        "" => return Some(format!("has no unit: write {count}s if seconds are meant")),
        "s" | "sec" | "secs" | "second" | "seconds" => ("s", 1),
        "m" | "min" | "mins" | "minute" | "minutes" => ("m", 1),
        "h" | "hr" | "hrs" | "hour" | "hours" => ("h", 1),
        "d" | "day" | "days" => ("h", 24),
        "w" | "week" | "weeks" => ("h", 168),
        _ => return None,
    };
    let proposal = format!("{}{unit}", count.checked_mul(times)?);
    Some(match proposal.parse::<GoDuration>() {
        Ok(_) => format!("write {proposal}"),
        Err(error) => error.to_string(),
    })
}

/// Below this many, a number without a unit is hardly meant to count bytes.
const BYTES_MIN: u64 = 1 << 20;

fn size(value: &Value) -> Verdict {
    let written = "a size is written like 64MiB, 100MB or 1.5GiB";
    let bytes = match value {
        Value::Number(number) => number.as_u64(),
        Value::String(text) if text.parse::<ByteSize>().is_ok() => text.parse::<u64>().ok(),
        Value::String(text) => return Wrong(format!("`{text}`: {written}")),
        _ => None,
    };
    match bytes {
        Some(bytes) if bytes > 0 && bytes < BYTES_MIN => Doubtful(format!(
            "{bytes} has no unit and counts bytes: write {bytes}MiB if MiB are meant, else {bytes}B"
        )),
        None if !value.is_string() => Wrong(format!("{} is not a size: {written}", shown(value))),
        _ => Fine,
    }
}

/// The number that decides whether a value gives way to the default: see [`tidy`](super::tidy::tidy).
pub(super) fn amount(value: &Value, schema: &Schema) -> Option<f64> {
    let counts = ["integer", "number"].into_iter().any(|kind| has_type(schema, kind));
    match value {
        Value::Number(number) if counts => Number::as_f64(number),
        Value::String(text) if schema["format"] == format::DURATION => {
            super::duration::parse_nanoseconds(text).ok().map(|nanoseconds| nanoseconds as f64)
        }
        Value::String(text) if schema["format"] == format::SIZE => {
            text.parse::<ByteSize>().ok().map(|size| size.as_u64() as f64)
        }
        _ => None,
    }
}
