//! Which XDP program an interface has already, whose it is, and what removes it: a running tracker's, one that a
//! tracker has left behind, or another program, which the tracker never replaces.

use std::{
    fmt,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use aya::programs::{
    links::{FdLink, PinnedLink},
    loaded_links, loaded_programs,
};
use tracker_common::abi::name;

use super::{link, pins::interface_of};

/// Entries of BPF file systems that are looked at for the pin of a tracker.
const ENTRIES_MAX: usize = 10_000;
/// How deep below the mount point a tracker's folder may be.
const DEPTH_MAX: usize = 5;

/// The XDP program of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Occupant {
    id: u32,
    /// Told only to a thread with capabilities, which the tracker gives up once it has started.
    name: Option<String>,
    owner: Owner,
}

/// Whose a program is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Owner {
    /// A tracker runs that keeps its pins in this folder.
    Tracker(PathBuf),
    /// A tracker has left it in this folder, and no tracker uses the folder.
    LeftBehind(PathBuf),
    /// No tracker's folder has it. By its name it is a tracker's, or it is not.
    Elsewhere { is_tracker: bool, removal: Removal },
}

/// What removes a program that no tracker's folder has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removal {
    /// It stays as long as its link of this number, which a process or a pin keeps.
    Link(u32),
    /// It was attached without a link, and stays until it is detached.
    NoLink,
    /// The system does not tell.
    Untold,
}

impl Occupant {
    /// The program of the interface of this index; `None` where it has none or the system does not tell.
    pub(super) fn of(interface_index: u32) -> Option<Self> {
        let id = link::attached_program(interface_index)?;
        let name = program_name(id);
        let owner = match pin_folder(&bpf_mounts(), id) {
            Some(folder) if is_in_use(&folder) => Owner::Tracker(folder),
            Some(folder) => Owner::LeftBehind(folder),
            None => Owner::Elsewhere {
                is_tracker: name.as_deref() == Some(name::PROGRAM),
                removal: removal(id),
            },
        };
        Some(Self { id, name, owner })
    }

    /// Whose it is, and what to do for the tracker to have the interface.
    pub(super) fn advice(&self, interface: &str) -> String {
        match &self.owner {
            Owner::Tracker(folder) => format!(
                "it is that of a tracker that runs, with `xdp.pin_path: {}`: end that one, or leave {interface} out of \
                 xdp.interfaces",
                folder.display()
            ),
            Owner::LeftBehind(folder) => format!(
                "it was left by a tracker that no longer runs: `xdp-tracker detach` with `xdp.pin_path: {0}` in its \
                 configuration removes it, and a tracker with that pin_path takes it over",
                folder.display()
            ),
            Owner::Elsewhere { is_tracker, removal } => {
                let whose = if *is_tracker {
                    "it is that of another tracker, which runs, or has left it in a pin_path that is not to be seen \
                     from here: end that tracker, or"
                } else {
                    "it is not ours to replace: end the program that has attached it, or"
                };
                let detach = match removal {
                    Removal::Link(id) => format!("`bpftool link detach id {id}`"),
                    Removal::NoLink => format!("`ip link set dev {interface} xdp off`"),
                    Removal::Untold => format!(
                        "`ip link set dev {interface} xdp off`, or `bpftool link` if that is refused"
                    ),
                };
                format!("{whose} detach it ({detach}), or leave {interface} out of xdp.interfaces")
            }
        }
    }

    /// Whether it is that of the tracker that runs with this `xdp.pin_path`.
    pub(super) fn is_running_with(&self, pin_path: &Path) -> bool {
        matches!(&self.owner, Owner::Tracker(folder) if folder == pin_path)
    }

    /// Whether a tracker that no longer runs has left it.
    fn is_left_behind(&self) -> bool {
        matches!(self.owner, Owner::LeftBehind(_))
    }

    /// What kind of program it is, for a sentence.
    pub(super) fn kind(&self) -> &'static str {
        if self.is_left_behind() {
            "the XDP program of a tracker that no longer runs"
        } else {
            "another XDP program"
        }
    }
}

impl fmt::Display for Occupant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "`{name}`, id {}", self.id),
            None => write!(f, "id {}", self.id),
        }
    }
}

fn program_name(id: u32) -> Option<String> {
    let mut programs = loaded_programs().filter_map(Result::ok);
    let program = programs.find(|program| program.id() == id)?;
    program.name_as_str().map(str::to_owned)
}

fn removal(program: u32) -> Removal {
    for link in loaded_links() {
        match link {
            Ok(link) if link.program_id() == program => return Removal::Link(link.id()),
            Ok(_) => {}
            Err(_) => return Removal::Untold,
        }
    }
    Removal::NoLink
}

/// The folder of a tracker that has a pinned link of this program.
fn pin_folder(mounts: &[PathBuf], program: u32) -> Option<PathBuf> {
    let mut entries_left = ENTRIES_MAX;
    let has_program = |pin: &Path| {
        let link = PinnedLink::from_pin(pin).ok().map(FdLink::from);
        link.and_then(|link| link.info().ok()).is_some_and(|info| info.program_id() == program)
    };
    mounts.iter().find_map(|mount| search(mount, DEPTH_MAX, &mut entries_left, &has_program))
}

/// The folder that has a pin `links/MODE-INDEX` with this property, at or below `folder`.
fn search(
    folder: &Path,
    depth: usize,
    entries_left: &mut usize,
    is_wanted: &impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        *entries_left = entries_left.checked_sub(1)?;
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let below = depth
                .checked_sub(1)
                .and_then(|depth| search(&path, depth, entries_left, is_wanted));
            if below.is_some() {
                return below;
            }
        } else if folder.ends_with("links") && interface_of(&path).is_some() && is_wanted(&path) {
            return folder.parent().map(Path::to_owned);
        }
    }
    None
}

/// Whether a tracker runs that keeps its pins there: it locks the folder.
fn is_in_use(folder: &Path) -> bool {
    File::open(folder).is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

/// Where BPF file systems are mounted.
fn bpf_mounts() -> Vec<PathBuf> {
    mounts_of_type(&fs::read_to_string("/proc/self/mounts").unwrap_or_default(), "bpf")
}

fn mounts_of_type(mounts: &str, kind: &str) -> Vec<PathBuf> {
    let mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let paths = mounts.filter_map(|fields| match fields[..] {
        // The system writes a space as \\040.
        [_, path, of, ..] if of == kind => Some(PathBuf::from(path.replace("\\040", " "))),
        _ => None,
    });
    paths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupant(owner: Owner) -> Occupant {
        Occupant { id: 7, name: Some("xdp_tracker".to_owned()), owner }
    }

    #[test]
    fn what_a_tracker_has_left_behind_is_told_from_a_running_ones_and_from_other_programs() {
        let folder = || PathBuf::from("/sys/fs/bpf/second");
        let elsewhere = |is_tracker, removal| Owner::Elsewhere { is_tracker, removal };
        for (owner, kind, told) in [
            (
                Owner::LeftBehind(folder()),
                "a tracker that no longer runs",
                "`xdp-tracker detach` with",
            ),
            (Owner::LeftBehind(folder()), "a tracker that no longer runs", "/sys/fs/bpf/second"),
            (
                Owner::Tracker(folder()),
                "another",
                "a tracker that runs, with `xdp.pin_path: /sys/fs",
            ),
            (elsewhere(true, Removal::Link(9)), "another", "that of another tracker"),
            (elsewhere(false, Removal::Link(9)), "another", "`bpftool link detach id 9`"),
            (elsewhere(false, Removal::NoLink), "another", "`ip link set dev eth0 xdp off`)"),
            (elsewhere(false, Removal::Untold), "another", "`bpftool link` if that is refused"),
        ] {
            let occupant = occupant(owner);
            assert!(occupant.kind().contains(kind), "{occupant:?}");
            let advice = occupant.advice("eth0");
            assert!(advice.contains(told), "{advice}");
        }
        let running = occupant(Owner::Tracker(folder()));
        assert!(running.is_running_with(&folder()) && !running.is_running_with(Path::new("/sys")));
        let nameless = Occupant { name: None, ..occupant(elsewhere(false, Removal::NoLink)) };
        assert_eq!(nameless.to_string(), "id 7");
        assert_eq!(occupant(elsewhere(true, Removal::NoLink)).to_string(), "`xdp_tracker`, id 7");
    }

    #[test]
    fn a_trackers_folder_is_found_by_its_pin_at_any_depth() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("site").join("tracker");
        for pin in ["other/links/native-2", "site/tracker/links/native-2", "site/native-2"] {
            let pin = root.path().join(pin);
            fs::create_dir_all(pin.parent().unwrap()).unwrap();
            fs::write(pin, "").unwrap();
        }
        let find = |depth, mut entries: usize| {
            search(root.path(), depth, &mut entries, &|pin: &Path| pin.starts_with(&folder))
        };
        assert_eq!(find(DEPTH_MAX, ENTRIES_MAX), Some(folder.clone()));
        assert_eq!((find(2, ENTRIES_MAX), find(DEPTH_MAX, 2)), (None, None));
    }

    #[test]
    fn a_folder_is_in_use_while_it_is_locked() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_in_use(folder.path()));
        let file = File::open(folder.path()).unwrap();
        file.try_lock().unwrap();
        assert!(is_in_use(folder.path()));
    }

    #[test]
    fn of_the_mounted_file_systems_those_for_pins_are_taken() {
        let mounts =
            "bpf /sys/fs/bpf bpf rw 0 0\ntmpfs /bpf tmpfs rw 0 0\nbpf /a\\040b bpf rw 0 0\n";
        assert_eq!(mounts_of_type(mounts, "bpf"), ["/sys/fs/bpf", "/a b"].map(PathBuf::from));
        assert!(mounts_of_type("nonsense", "bpf").is_empty());
    }
}
