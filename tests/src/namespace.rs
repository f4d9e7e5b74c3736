//! A machine within the machine: its own interfaces, its own `/sys` and its own BPF file system.

use std::{fs::File, os::fd::AsRawFd as _, process, process::Command, thread};

use anyhow::{Context as _, Result};
use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, setns, unshare},
};

/// A network namespace, and a mount namespace whose `/sys` belongs to it.
///
/// It has no name: the kernel removes it, with its interfaces, its pinned BPF objects and its XDP
/// programs, once this value and the processes started in it are gone. That holds for a panic and
/// for `kill -9` as well, and tests that run at the same time cannot meet.
pub struct Namespace {
    net: File,
    mounts: File,
}

impl Namespace {
    /// Makes an empty one, with the loopback interface up.
    ///
    /// # Errors
    /// We are not root.
    pub fn new() -> Result<Self> {
        // In a thread of its own, for this one shall stay where it is.
        let namespace = thread::spawn(Self::unshare).join().expect("the thread does not panic")?;
        namespace.run("ip", &["link", "set", "lo", "up"])?;
        Ok(namespace)
    }

    fn unshare() -> Result<Self> {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS)
            .context("cannot make a namespace (this needs root)")?;
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
        mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none)?;
        mount(Some("bpf"), "/sys/fs/bpf", Some("bpf"), MsFlags::empty(), none)?;
        Ok(Self {
            net: File::open("/proc/thread-self/ns/net")?,
            mounts: File::open("/proc/thread-self/ns/mnt")?,
        })
    }

    /// A path of the network namespace for other programs, such as `ip link set … netns PATH`.
    #[must_use]
    pub fn path(&self) -> String {
        path_of(&self.net)
    }

    /// A command that runs inside, and is killed when the calling thread ends before it.
    ///
    /// Its working directory is the root directory.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--net={}", path_of(&self.net)))
            .arg(format!("--mount={}", path_of(&self.mounts)))
            .args(["--", "setpriv", "--pdeathsig", "KILL", "--", program]);
        command
    }

    /// Runs a program inside, to its end.
    ///
    /// # Errors
    /// It cannot be started or fails; the message holds what it wrote to standard error.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        crate::program::run(self.command(program).args(args))
    }

    /// Joins two namespaces by a veth pair, whose ends have these names and are not up yet.
    ///
    /// # Errors
    /// A name is taken.
    pub fn cable(&self, interface: &str, far: &Self, far_interface: &str) -> Result<()> {
        let veth = ["link", "add", interface, "type", "veth"];
        let far_end = ["peer", far_interface, "netns", &far.path()];
        self.run("ip", &[veth.as_slice(), &far_end].concat())?;
        // Packets as they would come off a wire: with a whole checksum, and their VLAN tags inside.
        for (namespace, end) in [(self, interface), (far, far_interface)] {
            namespace.run("ethtool", &["-K", end, "tx", "off", "txvlan", "off"])?;
        }
        Ok(())
    }

    /// Calls `f` with the network inside. Sockets it makes go on living there.
    pub fn enter<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            setns(&self.net, CloneFlags::CLONE_NEWNET).expect("who made a namespace may enter it");
            f()
        };
        let outcome = thread::scope(|scope| scope.spawn(inside).join());
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn path_of(file: &File) -> String {
    format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd())
}
