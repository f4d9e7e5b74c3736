//! Redis over TLS, which demands certificates.

use anyhow::{Context as _, Result, ensure};
use tracker_tests::{
    Announce, Certificates, Family, Host, Mode, Options, Redis, Scratch, Tracker, eventually,
};

use super::{Site, TORRENT, client, figures, is_connected, wait_for_figures};

/// The keys of a tracker that shows the client's certificate.
fn keys(certificates: &Certificates) -> String {
    format!("{}, {}", trusting(certificates), showing(certificates))
}

/// Those by which it knows the server.
fn trusting(certificates: &Certificates) -> String {
    format!("redis_ca_path: {}", certificates.authority())
}

/// Those by which the server knows it.
fn showing(certificates: &Certificates) -> String {
    let [chain, key] = [Certificates::chain, Certificates::key]
        .map(|file| file(certificates, Certificates::CLIENT));
    format!("redis_cert_path: {chain}, redis_key_path: {key}")
}

#[test]
#[ignore = "needs root, BPF and Redis: `cargo xtask test e2e`"]
fn trackers_share_over_tls_and_use_certificates_that_were_renewed() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, peers], _far_end) = Host::pair()?;
    let certificates = Certificates::write(folder.path())?;
    let redis = Redis::start_tls(&server, folder.path(), &certificates)?;
    let keys = keys(&certificates);
    let start = |nth| {
        let mut site = Site::new(Mode::Off, nth, folder.path())?;
        site.options = Options { redis: Some(Redis::TLS_URL), redis_keys: &keys, ..site.options };
        Tracker::start_with(&server, &site.options, &site.folder)
    };
    let trackers = [start(0)?, start(1)?];
    let mut here = client(&peers, &trackers[0], Family::Ipv4)?;
    let mut there = client(&peers, &trackers[1], Family::Ipv4)?;
    here.announce(&Announce::leecher(TORRENT, 1))?;
    wait_for_figures(&mut there, figures(0, 1, 0))?;
    there.announce(&Announce { left: 0, ..Announce::leecher(TORRENT, 2) })?;
    wait_for_figures(&mut here, figures(1, 1, 0))?;

    drop(redis);
    // Another authority, too: whoever has read only the old files does not come in.
    let certificates = Certificates::write(folder.path())?;
    let _redis = Redis::start_tls(&server, folder.path(), &certificates)?;
    here.announce(&Announce::leecher(TORRENT, 3))?;
    wait_for_figures(&mut there, figures(1, 2, 0))?;
    trackers.iter().try_for_each(|tracker| {
        eventually(|| {
            ensure!(is_connected(tracker)?, "{}", tracker.output());
            Ok(())
        })
    })
}

#[test]
#[ignore = "needs root, BPF and Redis: `cargo xtask test e2e`"]
fn a_tracker_that_does_not_come_to_terms_with_redis_over_tls_says_what_to_do() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, _peers], _far_end) = Host::pair()?;
    let certificates = Certificates::write(&folder.path().join("ours"))?;
    let others = Certificates::write(&folder.path().join("others"))?;
    let site = Site::new(Mode::Off, 0, folder.path())?;
    let fail = |url: &str, keys: &str, advice: &str| {
        let options = Options { redis: Some(url), redis_keys: keys, ..site.options };
        let said = Tracker::fail(&server, &options, &site.folder)?;
        ensure!(said.contains(advice), "with {url} and {keys}: {said}");
        anyhow::Ok(())
    };
    let redis = Redis::start_tls(&server, folder.path(), &certificates)?;
    let all = keys(&certificates);
    fail(Redis::TLS_URL, &showing(&certificates), "signed its certificate in redis_ca_path")?;
    fail(Redis::TLS_URL, &keys(&others), "signed its certificate in redis_ca_path")?;
    fail(
        &Redis::TLS_URL.replace("127.0.0.1", "localhost"),
        &all,
        "name it as its certificate does",
    )?;
    fail(Redis::TLS_URL, &trusting(&certificates), "redis_cert_path, and its key in")?;
    let strange = format!("{}, {}", trusting(&certificates), showing(&others));
    fail(Redis::TLS_URL, &strange, "redis_cert_path, and its key in")?;
    fail(Redis::URL, "", "write rediss://")?;
    let missing = certificates.chain(Certificates::CLIENT);
    std::fs::remove_file(&missing).context("the client's certificate")?;
    fail(Redis::TLS_URL, &all, &format!("storage.config.redis_cert_path: cannot read {missing}"))?;

    drop(redis);
    let _redis = Redis::start(&server, folder.path())?;
    let soon = format!("{}, redis_connect_timeout: 1s", trusting(&certificates));
    fail(Redis::TLS_URL, &soon, "write redis://")
}
