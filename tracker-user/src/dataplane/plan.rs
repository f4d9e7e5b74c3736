//! Decides where the program may run on an interface, from what the interface is like. The daemon looks before it
//! attaches, since the kernel checks some things too late: it attaches a program in the network stack first, and then
//! switches off what such a program cannot have. What it cannot switch off it meets with `WARN`, a stack trace in its
//! log, and with the end of a host that has `panic_on_warn`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use nix::net::if_::if_nametoindex;

use super::{
    link,
    nic::{self, Offload, Offloads},
};
use crate::config::AttachMode;

/// What a mode of attaching is called, in the metrics and among the pins.
pub(super) const NATIVE: &str = "native";
/// In the network stack.
pub(super) const GENERIC: &str = "generic";

/// Where the system tells of interfaces.
const FOLDER: &str = "/sys/class/net";

/// How deep interfaces are looked for below an interface: a VLAN of a bond of NICs is two.
const DEPTH_MAX: usize = 8;

/// What matters of an interface for where the program can run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) is_veth: bool,
    /// Whether the driver runs programs, where the kernel tells.
    pub(super) runs_xdp: Option<bool>,
    /// Its own `rx-gro-hw`; its own `rx-lro`, or the worst of those of the interfaces below it.
    pub(super) offloads: Offloads,
}

/// Where the program may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The modes to try, the best first; in none, the daemon serves the interface.
    pub(super) modes: &'static [&'static str],
    /// Why generic mode is not among them although the configuration allows it.
    pub(super) excluded: Option<String>,
}

impl Facts {
    /// Asks the system. What it does not tell does not keep the program from running.
    pub(super) fn of(name: &str, index: u32) -> Self {
        let mut offloads = nic::offloads(index).unwrap_or_default();
        offloads.lro = offloads.lro.max(lro_below(Path::new(FOLDER), name, DEPTH_MAX));
        Self { is_veth: link::is_veth(index), runs_xdp: nic::runs_xdp(index), offloads }
    }

    /// What of an interface the operator may switch off if the driver refuses the program.
    pub(super) fn ethtool(&self, name: &str) -> Option<String> {
        let Offloads { gro_hw, lro } = self.offloads;
        let on: String = [("rx-gro-hw", gro_hw), ("lro", lro)]
            .into_iter()
            .filter(|(_, offload)| *offload == Offload::On)
            .map(|(feature, _)| format!(" {feature} off"))
            .collect();
        (!on.is_empty()).then(|| format!("`ethtool -K {name}{on}`"))
    }
}

/// The worst LRO of the interfaces below this one, which the kernel switches off too.
fn lro_below(folder: &Path, name: &str, depth: usize) -> Offload {
    let Some(depth) = depth.checked_sub(1) else { return Offload::Off };
    let lro = |lower: String| {
        let index = if_nametoindex(lower.as_str()).unwrap_or(0);
        let own = nic::offloads(index).unwrap_or_default().lro;
        own.max(lro_below(folder, &lower, depth))
    };
    lowers(&folder.join(name)).map(lro).max().unwrap_or_default()
}

/// The names of the interfaces directly below one of this host's.
pub(super) fn below(name: &str) -> impl Iterator<Item = String> + use<> {
    lowers(&Path::new(FOLDER).join(name))
}

/// The names of these interfaces, and of those that get all their frames through these: VLANs, and bridges and bonds
/// of nothing else.
pub(super) fn and_above(names: impl IntoIterator<Item = String>) -> Vec<String> {
    close_upwards(Path::new(FOLDER), names)
}

fn close_upwards(folder: &Path, names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut known: Vec<String> = names.into_iter().collect();
    let mut next = 0;
    while let Some(name) = known.get(next) {
        for upper in linked(&folder.join(name), "upper_") {
            let is_known = |name: &String| known.contains(name);
            if !is_known(&upper) && lowers(&folder.join(&upper)).all(|lower| is_known(&lower)) {
                known.push(upper);
            }
        }
        next += 1;
    }
    known
}

/// The names of the interfaces directly below one.
fn lowers(interface: &Path) -> impl Iterator<Item = String> + use<> {
    linked(interface, "lower_")
}

/// The names of the interfaces to which one has links of this kind.
fn linked(interface: &Path, kind: &'static str) -> impl Iterator<Item = String> + use<> {
    let name =
        move |path: PathBuf| Some(path.file_name()?.to_str()?.strip_prefix(kind)?.to_owned());
    let entries = fs::read_dir(interface).into_iter().flatten().flatten();
    entries.filter_map(move |entry| name(entry.path()))
}

/// The modes in which the program may be attached, by the configuration and by what the interface is like.
pub(super) fn plan(wanted: AttachMode, facts: &Facts) -> Plan {
    let modes: &[_] = match wanted {
        AttachMode::Off => &[],
        AttachMode::Native => &[NATIVE],
        AttachMode::Auto if !facts.is_veth => &[NATIVE, GENERIC],
        AttachMode::Auto | AttachMode::Generic => &[GENERIC],
    };
    let excluded = fixed(&facts.offloads)
        .filter(|_| modes.contains(&GENERIC))
        .map(|feature| format!("generic XDP is not tried, for {feature}"));
    let modes = match modes {
        _ if excluded.is_none() => modes,
        [NATIVE, ..] => &[NATIVE],
        _ => &[],
    };
    Plan { modes, excluded }
}

/// What the kernel could not switch off for generic XDP.
fn fixed(offloads: &Offloads) -> Option<&'static str> {
    match offloads {
        Offloads { gro_hw: Offload::Fixed, .. } => Some(
            "rx-gro-hw is `on [fixed]`: the kernel could not switch it off, and would warn with a stack trace, \
             which ends a host that has panic_on_warn. Have the hypervisor offer the NIC without guest_tso4, \
             guest_tso6, guest_ecn, guest_ufo and guest_csum, or with ctrl_guest_offloads (in the words of QEMU)",
        ),
        Offloads { lro: Offload::Fixed, .. } => Some(
            "large-receive-offload is `on [fixed]`, here or on an interface below: the kernel could not switch it \
             off, and would warn with a stack trace, which ends a host that has panic_on_warn. Switch it off by \
             an option of the driver or the hypervisor",
        ),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn facts(is_veth: bool, gro_hw: Offload, lro: Offload) -> Facts {
        Facts { is_veth, runs_xdp: None, offloads: Offloads { gro_hw, lro } }
    }

    #[test]
    fn a_fixed_offload_keeps_the_program_out_of_the_network_stack() {
        use AttachMode::{Auto, Generic, Native, Off};
        use Offload::{Fixed, On};
        const OFF: Offload = Offload::Off;
        const BOTH: &[&str] = &[NATIVE, GENERIC];
        /// Wanted, a veth pair, rx-gro-hw, lro; the modes to try, what excludes generic mode.
        type Row =
            (AttachMode, bool, Offload, Offload, &'static [&'static str], Option<&'static str>);
        let table: &[Row] = &[
            (Auto, false, OFF, OFF, BOTH, None),
            (Auto, false, On, OFF, BOTH, None),
            (Auto, false, OFF, On, BOTH, None),
            (Auto, false, Fixed, OFF, &[NATIVE], Some("rx-gro-hw")),
            (Auto, false, OFF, Fixed, &[NATIVE], Some("large-receive-offload")),
            (Auto, false, Fixed, Fixed, &[NATIVE], Some("rx-gro-hw")),
            (Auto, true, OFF, OFF, &[GENERIC], None),
            (Auto, true, Fixed, OFF, &[], Some("rx-gro-hw")),
            (Native, false, OFF, OFF, &[NATIVE], None),
            (Native, true, OFF, OFF, &[NATIVE], None),
            // The driver may refuse, but it does so without a warning.
            (Native, false, Fixed, Fixed, &[NATIVE], None),
            (Generic, false, OFF, OFF, &[GENERIC], None),
            (Generic, false, On, On, &[GENERIC], None),
            (Generic, false, Fixed, OFF, &[], Some("rx-gro-hw")),
            (Generic, true, OFF, Fixed, &[], Some("large-receive-offload")),
            (Off, false, Fixed, OFF, &[], None),
        ];
        for &(wanted, is_veth, gro_hw, lro, modes, excluded) in table {
            let got = plan(wanted, &facts(is_veth, gro_hw, lro));
            let case = format!("{wanted:?}, {is_veth}, {gro_hw:?}, {lro:?}: {got:?}");
            assert_eq!(got.modes, modes, "{case}");
            assert_eq!(got.excluded.is_some(), excluded.is_some(), "{case}");
            assert!(got.excluded.unwrap_or_default().contains(excluded.unwrap_or("")), "{case}");
        }
    }

    #[test]
    fn what_can_be_switched_off_comes_with_the_command() {
        use Offload::{Fixed, Off, On};
        let command = |gro_hw, lro| facts(false, gro_hw, lro).ethtool("eth0");
        assert_eq!(command(Off, Fixed), None);
        assert_eq!(command(On, Off).as_deref(), Some("`ethtool -K eth0 rx-gro-hw off`"));
        assert_eq!(command(On, On).as_deref(), Some("`ethtool -K eth0 rx-gro-hw off lro off`"));
    }

    #[test]
    fn an_interface_above_counts_when_all_below_it_do() {
        let folder = tempfile::tempdir().unwrap();
        for (upper, lower) in [
            ("vlan", "bond"),
            ("bond", "one"),
            ("bond", "two"),
            ("bridge", "vlan"),
            ("bridge", "tap"),
            // A circle ends.
            ("one", "vlan"),
        ] {
            for (from, kind, to) in [(upper, "lower", lower), (lower, "upper", upper)] {
                fs::create_dir_all(folder.path().join(from)).unwrap();
                symlink("anywhere", folder.path().join(from).join(format!("{kind}_{to}"))).unwrap();
            }
        }
        let close = |names: &[&str]| {
            let mut all = close_upwards(folder.path(), names.iter().map(ToString::to_string));
            all.sort_unstable();
            all.join(" ")
        };
        assert_eq!(close(&["one"]), "one");
        assert_eq!(close(&["one", "two"]), "bond one two vlan");
        assert_eq!(close(&["bond"]), "bond one vlan");
        assert_eq!(close(&["bond", "tap"]), "bond bridge one tap vlan");
        assert_eq!(close(&["gone"]), "gone");
    }

    #[test]
    fn interfaces_below_are_found_and_a_circle_of_them_ends() {
        let folder = tempfile::tempdir().unwrap();
        for (upper, lower) in [("vlan", "bond"), ("bond", "vlan")] {
            fs::create_dir(folder.path().join(upper)).unwrap();
            let link = folder.path().join(upper).join(format!("lower_{lower}"));
            symlink("anywhere", link).unwrap();
        }
        assert_eq!(lowers(&folder.path().join("vlan")).collect::<Vec<_>>(), ["bond"]);
        assert_eq!(lro_below(folder.path(), "vlan", DEPTH_MAX), Offload::Off);
    }
}
