//! What `xdp-tracker probe` tells.

use anyhow::{Context as _, Result, ensure};
use tracker_tests::{Build, Host, INTERFACE, Mode, Scratch, Tracker, binary};

/// The line about something, and those with what to change.
fn finding<'t>(said: &'t str, about: &str) -> Result<&'t str> {
    let start = said.find(about).with_context(|| format!("nothing about {about}:\n{said}"))?;
    let end = said[start..]
        .match_indices('\n')
        .find(|(at, _)| !said[start + at + 1..].starts_with("      "));
    Ok(&said[start..start + end.map_or(said.len() - start, |(at, _)| at)])
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_probe_tells_of_the_host_and_of_the_configured_interface() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, _client], _far_end) = Host::pair()?;
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    let said = Tracker::run(&server, folder.path(), "probe")?;
    for (about, told) in [
        ("capabilities", "all that are needed"),
        ("xdp.pin_path", "on a BPF file system"),
        ("eth0 driver", "veth"),
        ("eth0 XDP", "in the driver (native)\n      the other end of the veth pair"),
        ("eth0 offloads", "rx-gro-hw off, large-receive-offload off"),
        ("eth0 link", "up"),
        ("eth0 MTU", "1500"),
        ("eth0 receive queues", " of "),
        ("eth0 program", "`xdp_tracker`, id "),
        ("eth0 program", "of the tracker of this configuration, which runs"),
    ] {
        let found = finding(&said, about)?;
        ensure!(found.contains(told), "{found}");
    }
    drop(tracker);
    Ok(())
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn what_is_to_be_changed_comes_with_the_command() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, _client], far_end) = Host::pair()?;
    drop(far_end);
    drop(Tracker::start(&server, Mode::Generic, folder.path())?);
    server.namespace.run("ip", &["link", "set", INTERFACE, "mtu", "9000"])?;
    let [binary, config] = [binary(Build::Tested)?, folder.path().join("tracker.yaml")];
    let [binary, config] = [&binary, &config].map(|path| path.to_str().expect("path is UTF-8"));
    let powerless = ["--bounding-set", "-all", "--inh-caps", "-all", "--", binary];
    let arguments = [powerless.as_slice(), &["probe", "--config", config]].concat();
    let said = server.namespace.run("setpriv", &arguments)?;
    for (about, told) in [
        ("! capabilities", "run as root, or grant CAP_NET_ADMIN, CAP_PERFMON, CAP_BPF"),
        ("! eth0 MTU", "ip link set eth0 mtu 1500"),
        ("! eth0 XDP", "a veth pair"),
    ] {
        let found = finding(&said, about)?;
        ensure!(found.contains(told), "{found}");
    }
    Ok(())
}
