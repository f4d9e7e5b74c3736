//! `aquatic_udp_load_test`: a load that is not ours.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use tracker_tests::Namespace;

use super::{cable::PORT, loader::TRACKER, processor::PRIORITY, subject::aquatic};

/// How long it is played, in seconds: it looks at the time this often.
pub const SECONDS: u64 = 5;

/// Plays it to the tracker of a host. Returns the replies that are no errors.
///
/// # Errors
/// It does not run, or errors are among the replies.
pub fn play(host: &Namespace, folder: &Path) -> Result<f64> {
    let config = folder.join("aquatic-load.toml");
    let text = format!(
        r#"server_address = "{TRACKER}:{PORT}"
workers = 1
duration = {SECONDS}
extra_statistics = false
[network]
recv_buffer = 33554432
[requests]
number_of_torrents = 10000
number_of_peers = 50000
announce_peers_wanted = 50
"#
    );
    fs::write(&config, text)?;
    let binary = aquatic::binary("aquatic_udp_load_test");
    let words = [
        &format!("--adjustment={PRIORITY}"),
        "taskset",
        "--cpu-list",
        "0",
        binary.to_str().context("path is not UTF-8")?,
        "-c",
        config.to_str().context("path is not UTF-8")?,
    ];
    let report = host.run("nice", &words)?;
    let figure = |name: &str| -> Result<f64> {
        let report = report.split_once("report").context("no report")?.1;
        let line = report.lines().find(|line| line.contains(name)).context("a short report")?;
        Ok(line.rsplit_once(':').context("no figure")?.1.trim().parse()?)
    };
    let errors = figure("Error responses")?;
    ensure!(errors == 0.0, "{errors} error replies a second");
    Ok(figure("Average responses per second")? * SECONDS as f64)
}
