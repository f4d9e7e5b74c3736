//! Prometheus's text format, read.

/// The samples of one scrape.
pub struct Metrics {
    samples: Vec<Sample>,
}

struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

impl Metrics {
    /// Reads the text of a metrics endpoint; lines that are no samples are left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self { samples: text.lines().filter_map(Sample::parse).collect() }
    }

    /// How many requests were answered, of one action or of all, in the kernel or by the daemon.
    #[must_use]
    pub fn requests(&self, action: Option<&str>, path: &str) -> f64 {
        let action = action.map(|action| ("action", action));
        let labels: Vec<_> = action.into_iter().chain([("path", path)]).collect();
        self.sum("xdp_tracker_requests_total", &labels)
    }

    /// Whether the XDP program is attached to an interface in this mode.
    #[must_use]
    pub fn is_attached(&self, interface: &str, mode: &str) -> bool {
        let labels = [("interface", interface), ("mode", mode)];
        self.sum("xdp_tracker_attach_mode", &labels) == 1.0
    }

    /// The sum of all samples of a metric that have all these labels. 0 where there is none.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let matching =
            self.samples.iter().filter(|sample| sample.name == name && sample.has(labels));
        // Not `sum`, which makes nothing -0.
        matching.fold(0.0, |sum, sample| sum + sample.value)
    }
}

impl Sample {
    fn parse(line: &str) -> Option<Self> {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.trim_end_matches('}').split_terminator("\",").filter_map(|label| {
            let (key, value) = label.split_once("=\"")?;
            Some((key.to_owned(), value.trim_end_matches('"').to_owned()))
        });
        Some(Self { name: name.to_owned(), labels: labels.collect(), value: value.parse().ok()? })
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(key, value)| self.labels.iter().any(|(k, v)| k == key && v == value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP requests_total Requests.\n\
        # TYPE requests_total counter\n\
        requests_total{action=\"announce\",path=\"kernel\"} 3\n\
        requests_total{action=\"announce\",path=\"user\"} 1\n\
        requests_total{action=\"scrape\",path=\"user\"} 5\n\
        up 1\n";

    #[test]
    fn samples_are_summed_over_the_labels_not_asked_for() {
        let metrics = Metrics::parse(TEXT);
        assert_eq!(metrics.sum("requests_total", &[("action", "announce")]), 4.0);
        assert_eq!(metrics.sum("requests_total", &[("path", "user"), ("action", "scrape")]), 5.0);
        assert_eq!(metrics.sum("up", &[]), 1.0);
    }

    #[test]
    fn what_is_not_there_is_zero() {
        assert_eq!(Metrics::parse(TEXT).sum("requests_total", &[("path", "moon")]), 0.0);
    }
}
