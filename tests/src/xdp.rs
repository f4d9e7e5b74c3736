//! The smallest XDP program: it passes every frame on.

use std::{
    io,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use anyhow::{Context as _, Result};
use nix::{libc, net::if_::if_nametoindex};

use crate::Namespace;

/// `r0 = XDP_PASS; exit`
const INSTRUCTIONS: [u64; 2] = [0x2_0000_00b7, 0x95];

const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`; the kernel takes the rest as zero.
#[repr(C)]
#[derive(Default)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
}

/// Likewise for `BPF_LINK_CREATE`.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// The program, attached in an interface's driver until this is dropped.
///
/// What an XDP program sends back over a veth pair reaches the other end once that is woken, which
/// the kernel does only if it has a program of its own. (That it polls, for GRO, is not enough: then
/// replies wait for the next packet that takes the ordinary way.)
pub struct XdpPass {
    _link: OwnedFd,
}

impl XdpPass {
    /// The name by which the kernel lists the program.
    pub const NAME: &str = "pass_all";

    /// Attaches it.
    ///
    /// # Errors
    /// We are not root, or there is a program already.
    pub fn attach(namespace: &Namespace, interface: &str) -> Result<Self> {
        namespace
            .enter(|| Self::attach_here(interface))
            .with_context(|| format!("cannot attach an XDP program to {interface}"))
    }

    fn attach_here(interface: &str) -> Result<Self> {
        let mut load = ProgLoad {
            prog_type: BPF_PROG_TYPE_XDP,
            insn_cnt: INSTRUCTIONS.len() as u32,
            insns: INSTRUCTIONS.as_ptr() as u64,
            license: c"MIT".as_ptr() as u64,
            ..ProgLoad::default()
        };
        load.prog_name[..Self::NAME.len()].copy_from_slice(Self::NAME.as_bytes());
        // SAFETY: the instructions and the licence outlive the call, which writes nothing back.
        let program = unsafe { bpf(BPF_PROG_LOAD, &load) }?;
        let create = LinkCreate {
            prog_fd: program.as_raw_fd() as u32,
            target_ifindex: if_nametoindex(interface)?,
            attach_type: BPF_XDP,
            flags: XDP_FLAGS_DRV_MODE,
        };
        // SAFETY: there are no pointers in it.
        Ok(Self { _link: unsafe { bpf(BPF_LINK_CREATE, &create) }? })
    }
}

/// The system call `bpf`, for commands that return a file descriptor.
///
/// # Safety
/// What `attributes` points to is valid for the command.
unsafe fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    let attributes: *const T = attributes;
    // SAFETY: as many bytes as there are; the caller vouches for what they point to.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
