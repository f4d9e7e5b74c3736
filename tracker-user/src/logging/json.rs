//! Lines of JSON with the keys that Chihaya's have: `level`, `msg`, `time`, and fields beside them.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent,
        format::{FormatFields, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

const LEVEL: &str = "level";
const MESSAGE: &str = "msg";
const TIME: &str = "time";
const TARGET: &str = "target";

/// Writes each event as logrus' `JSONFormatter` would.
pub struct JsonLines {
    /// Whether to tell which module an event is of. Chihaya never does.
    pub with_target: bool,
}

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Line(Map::new());
        line.set(LEVEL, level(event.metadata().level()));
        line.set(MESSAGE, "");
        line.set(TIME, now()?);
        if self.with_target {
            line.set(TARGET, event.metadata().target());
        }
        event.record(&mut line);
        writeln!(writer, "{}", Value::Object(line.0))
    }
}

/// logrus' name of a level.
fn level(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "error",
        Level::WARN => "warning",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

/// In whole seconds as from logrus, for not every reader of its times expects a fraction.
fn now() -> Result<String, fmt::Error> {
    let mut time = String::new();
    SystemTime.format_time(&mut Writer::new(&mut time))?;
    let seconds = time.split_once('.').map_or(&*time, |(seconds, _)| seconds);
    Ok(format!("{seconds}Z"))
}

struct Line(Map<String, Value>);

impl Line {
    fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.0.insert(key.to_owned(), value.into());
    }

    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        match field.name() {
            "message" => self.set(MESSAGE, value),
            // An event of the `log` crate has all that there is to know of it in fields.
            "log.target" if self.0.contains_key(TARGET) => self.set(TARGET, value),
            name if name.starts_with("log.") => (),
            name @ (LEVEL | MESSAGE | TIME | TARGET) => self.set(&format!("fields.{name}"), value),
            name => self.set(name, value),
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::mpsc};

    use serde_json::json;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    /// Sends on what is written; the layer writes a line at a time.
    struct Lines(mpsc::Sender<Vec<u8>>);

    impl io::Write for Lines {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            self.0.send(line.to_vec()).map(|()| line.len()).map_err(io::Error::other)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is written while `log` runs, each line without its time, which is looked at here.
    fn logged(with_target: bool, log: impl FnOnce()) -> Vec<Value> {
        let (sender, lines) = mpsc::channel();
        let layer = tracing_subscriber::fmt::layer()
            .event_format(JsonLines { with_target })
            .with_writer(move || Lines(sender.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        lines.iter().map(|line| without_time(&line)).collect()
    }

    fn without_time(line: &[u8]) -> Value {
        assert!(line.ends_with(b"}\n"));
        let mut line: Map<String, Value> = serde_json::from_slice(line).unwrap();
        let time = line.remove(TIME).unwrap();
        let digits_as_zeros = time.as_str().unwrap().replace(|c: char| c.is_ascii_digit(), "0");
        assert_eq!(digits_as_zeros, "0000-00-00T00:00:00Z");
        Value::Object(line)
    }

    #[test]
    fn an_event_is_a_line_with_its_fields_beside_logrus_keys() {
        let lines = logged(false, || {
            let error = io::Error::other("no \"more\"");
            tracing::warn!(%error, times = 3, ratio = 0.5, is_late = true, "cannot {}", "go on");
        });
        assert_eq!(
            lines,
            [json!({
                "level": "warning", "msg": "cannot go on",
                "error": "no \"more\"", "times": 3, "ratio": 0.5, "is_late": true,
            })]
        );
    }

    #[test]
    fn levels_have_logrus_names() {
        let lines = logged(false, || {
            tracing::error!("");
            tracing::warn!("");
            tracing::info!("");
            tracing::debug!("");
            tracing::trace!("");
        });
        let names = ["error", "warning", "info", "debug", "trace"];
        assert_eq!(lines, names.map(|name| json!({ "level": name, "msg": "" })));
    }

    #[test]
    fn a_field_takes_no_key_from_the_line() {
        let lines = logged(false, || tracing::info!(level = 1, msg = "m", time = 2_u64, "text"));
        assert_eq!(
            lines,
            [json!({
                "level": "info", "msg": "text", "fields.level": 1, "fields.msg": "m", "fields.time": 2,
            })]
        );
    }

    #[test]
    fn the_target_is_told_when_asked_for_be_it_from_the_log_crate() {
        let log = || {
            tracing::info!(target: "here", "text");
            // As an event of the `log` crate arrives.
            tracing::info!(target: "log", { "log.target" = "there", "log.line" = 7 }, "text");
        };
        let line = json!({ "level": "info", "msg": "text" });
        assert_eq!(logged(false, log), [line.clone(), line]);
        let line = |target| json!({ "level": "info", "msg": "text", "target": target });
        assert_eq!(logged(true, log), [line("here"), line("there")]);
    }
}
