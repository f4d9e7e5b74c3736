//! Draws the figures of `cargo xtask bench dataplane` as a bar chart: plain SVG, for the README.

use std::{cmp::Reverse, fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::process;

/// The profiles of the chart, with their captions. `hot-large` is left to the table in docs/performance.md.
const PROFILES: [(&str, &str); 3] = [
    ("hot", "hot: 1,000 torrents of 5 peers"),
    ("public", "public: 1,000,000 torrents, 2.4 million peers"),
    ("crowd", "crowd: one torrent of 100,000 peers"),
];

/// Sizes in pixels.
const WIDTH: f64 = 860.0;
const LABELS: f64 = 270.0;
const FIGURES: f64 = 90.0;
const ROW: f64 = 22.0;
const BAR: f64 = 14.0;
const CAPTION: f64 = 30.0;
const MARGIN: f64 = 12.0;

/// Greys and colours of middle brightness, which are readable on a white and on a black page.
const TEXT: &str = "#737b86";
const ECHO: &str = "#a0a6ae";
const OWN: &str = "#2f81f7";
const OTHER: &str = "#c9741e";

#[derive(clap::Args)]
pub struct Args {
    /// The report of a benchmark: `target/bench/dataplane.json`, or a file of the same form
    #[arg(long, default_value = "docs/figures.json")]
    input: PathBuf,
    /// The SVG file to write
    #[arg(long, default_value = "docs/figures.svg")]
    output: PathBuf,
}

/// Reads the report and writes the chart. Relative paths are below the workspace.
///
/// # Errors
/// The report cannot be read or has no figure for a profile, or the chart cannot be written.
pub fn run(args: &Args) -> Result<()> {
    let (input, output) = (process::root().join(&args.input), process::root().join(&args.output));
    let text = fs::read_to_string(&input).with_context(|| input.display().to_string())?;
    let chart = chart(&text).with_context(|| input.display().to_string())?;
    fs::write(&output, chart).with_context(|| output.display().to_string())?;
    println!("xtask: wrote {}", output.display());
    Ok(())
}

/// A figure of the report.
struct Bar {
    profile: String,
    subject: String,
    generators: u64,
    /// Replies per second.
    rate: f64,
}

impl Bar {
    /// Reads a row of the report. Rows with IPv6 clients have no place in the chart: opentracker has no figure there.
    fn parse(row: &Value) -> Result<Option<Self>> {
        let text = |name: &str| {
            let value = row.get(name).and_then(Value::as_str);
            Ok::<_, anyhow::Error>(value.with_context(|| format!("no `{name}`: {row}"))?.to_owned())
        };
        let number = |name: &str| {
            let value = row.get(name).and_then(Value::as_f64);
            value.with_context(|| format!("no `{name}`: {row}"))
        };
        if number("IPv6 %")? > 0.0 {
            return Ok(None);
        }
        let bar = Self {
            profile: text("profile")?,
            subject: text("subject")?,
            generators: number("generators")? as u64,
            rate: number("replies/s")?,
        };
        // One generator leaves half of the machine idle, which says nothing of what an echo can reach.
        Ok((bar.subject != "echo" || bar.generators > 1).then_some(bar))
    }

    fn label(&self) -> String {
        match (self.subject.as_str(), self.generators) {
            ("echo", _) => "echo (upper bound)".to_owned(),
            (subject @ "xdp-tracker, kernel", 1) => format!("{subject}, one processor"),
            (subject, _) => subject.to_owned(),
        }
    }

    fn color(&self) -> &'static str {
        match self.subject.as_str() {
            "echo" => ECHO,
            subject if subject.starts_with("xdp-tracker") => OWN,
            _ => OTHER,
        }
    }
}

/// The chart of a report.
fn chart(report: &str) -> Result<String> {
    let report: Value = serde_json::from_str(report)?;
    let rows = report.pointer("/tables/0/rows").and_then(Value::as_array).context("no table")?;
    let parsed = rows.iter().map(Bar::parse).collect::<Result<Vec<_>>>()?;
    let mut bars: Vec<Bar> = parsed.into_iter().flatten().collect();
    bars.sort_by_key(|bar| Reverse(bar.generators));
    let most = bars.iter().map(|bar| bar.rate).fold(0.0, f64::max);
    ensure!(most > 0.0, "no figures");
    let scale = (WIDTH - LABELS - FIGURES - MARGIN) / most;
    let (mut body, mut y) = (String::new(), MARGIN);
    for (profile, caption) in PROFILES {
        let of_profile: Vec<&Bar> = bars.iter().filter(|bar| bar.profile == profile).collect();
        ensure!(!of_profile.is_empty(), "no figures of the profile {profile}");
        y += CAPTION;
        text(&mut body, MARGIN, y - 9.0, "font-weight=\"bold\"", caption)?;
        for bar in of_profile {
            let (baseline, top) = (y + ROW - 7.0, y + (ROW - BAR) / 2.0);
            text(&mut body, LABELS - 8.0, baseline, "text-anchor=\"end\"", &bar.label())?;
            writeln!(
                body,
                "<rect x=\"{LABELS}\" y=\"{top:.0}\" width=\"{:.1}\" height=\"{BAR}\" fill=\"{}\"/>",
                bar.rate * scale,
                bar.color()
            )?;
            let end = LABELS + bar.rate * scale + 6.0;
            text(&mut body, end, baseline, "", &with_commas(bar.rate))?;
            y += ROW;
        }
    }
    let of = |name: &str| report.get(name).map(|value| value.to_string().replace('"', ""));
    let foot = format!(
        "Replies per second over a veth pair, IPv4. {} processors ({}), kernel {}. Method: docs/performance.md",
        of("processors").context("no `processors`")?,
        of("processor").context("no `processor`")?,
        of("kernel").context("no `kernel`")?,
    );
    y += CAPTION;
    text(&mut body, MARGIN, y - 9.0, "", &foot)?;
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {0:.0}\" width=\"{WIDTH}\" height=\"{0:.0}\" \
         font-family=\"sans-serif\" font-size=\"13\" role=\"img\">\n\
         <title>Replies per second of xdp-tracker and other trackers</title>\n{body}</svg>\n",
        y + MARGIN
    ))
}

/// Adds a line of text.
fn text(body: &mut String, x: f64, y: f64, attributes: &str, text: &str) -> std::fmt::Result {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let space = if attributes.is_empty() { "" } else { " " };
    writeln!(
        body,
        "<text x=\"{x:.1}\" y=\"{y:.0}\" fill=\"{TEXT}\"{space}{attributes}>{text}</text>"
    )
}

/// Digits in groups of three.
fn with_commas(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> String {
        fs::read_to_string(process::root().join(path)).unwrap()
    }

    #[test]
    fn the_chart_of_the_readme_is_what_the_plotter_makes() {
        let chart = chart(&read("docs/figures.json")).unwrap();
        assert_eq!(chart, read("docs/figures.svg"), "run `cargo xtask plot`");
    }

    #[test]
    fn every_figure_of_the_chart_is_in_the_table_of_the_document() {
        let (document, report) = (read("docs/performance.md"), read("docs/figures.json"));
        let results = document.split("\n## Results\n").nth(1).unwrap();
        let table = results.split("\n\n").find(|part| part.starts_with("| |")).unwrap();
        let report: Value = serde_json::from_str(&report).unwrap();
        let rows = report["tables"][0]["rows"].as_array().unwrap();
        assert!(rows.len() >= 20, "{} figures", rows.len());
        for row in rows {
            let subject = match row["subject"].as_str().unwrap() {
                "aquatic_udp, all processors" => "aquatic_udp, a worker on each processor",
                subject => subject,
            };
            let start = format!("| {subject} | {} |", row["generators"]);
            let line = table.lines().find(|line| line.starts_with(&start)).unwrap();
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let column = ["hot", "hot-large", "public", "crowd"]
                .iter()
                .position(|profile| row["profile"] == **profile)
                .unwrap();
            let thousands = with_commas(row["replies/s"].as_f64().unwrap() / 1000.0);
            assert_eq!(cells[3 + column], thousands, "{row}");
        }
    }

    #[test]
    fn a_report_without_a_profile_or_a_figure_is_refused() {
        let of = |rows: &str| {
            let report = format!(
                r#"{{"kernel": "k", "processor": "p", "processors": 2, "tables": [{{"rows": [{rows}]}}]}}"#
            );
            chart(&report).unwrap_err().to_string()
        };
        assert_eq!(of(""), "no figures");
        let row = r#"{"profile": "hot", "subject": "opentracker", "IPv6 %": 0, "generators": 1, "replies/s": 9}"#;
        assert_eq!(of(row), "no figures of the profile public");
        assert!(of(&row.replace("9}", "null}")).starts_with("no `replies/s`"));
    }
}
