//! What runs in the kernel: the one block that Chihaya's files do not have.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use smart_default::SmartDefault;

use super::{GoDuration, LimitsConfig, TableConfig};

/// Answering in the kernel (XDP).
#[derive(Debug, Clone, PartialEq, SmartDefault, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct XdpConfig {
    /// Network interfaces to answer on. `auto` stands for those with a default route.
    /// Empty (or left out): nothing runs in the kernel.
    #[schemars(inner(regex(pattern = "^[^\\s/:]{1,15}$")), example = ["eth0", "eth1"])]
    pub interfaces: Vec<String>,
    /// How to attach.
    pub mode: AttachMode,
    /// How a reply finds its way.
    pub reply: ReplyRoute,
    /// Whether UDP checksums are verified before a request is answered. A request with a wrong one is left to the host.
    pub verify_checksums: VerifyChecksums,
    /// Whether a client is given a connection id only if the routing table leads to it by the interface and the
    /// neighbour that its request came from. `on` needs net.ipv4.conf.INTERFACE.forwarding, as `reply: fib` does.
    pub reverse_path: ReversePath,
    /// What a request with a bad or outdated connection id gets.
    pub bad_connection_id: BadConnectionId,
    /// Which of the announces that the kernel answers are reported to the post-hooks, at least.
    pub events: EventLevel,
    /// What sources and floods are held to.
    pub limits: LimitsConfig,
    /// Room for torrents and peers, set aside at the start.
    pub table: TableConfig,
    /// Where on a BPF file system the program and the table are pinned, so that they outlive the
    /// daemon: a restart, an upgrade or a crash loses no peer, and the kernel goes on answering
    /// meanwhile. Empty: they end with it.
    #[default(PathBuf::from("/sys/fs/bpf/xdp-tracker"))]
    #[schemars(regex(pattern = "^/"), extend("x-may-be-empty" = true))]
    pub pin_path: PathBuf,
    /// What SIGTERM leaves behind. SIGINT (Ctrl-C) leaves nothing.
    pub on_exit: OnExit,
    /// How long the kernel answers without a daemon. Then it leaves everything to the host.
    #[default(GoDuration::from_mins(10))]
    #[schemars(extend("minimum" = 10_000_000_000_i64))]
    pub orphan_limit: GoDuration,
    /// What the kernel program logs. Anything but `off` slows it down.
    pub log_level: LogLevel,
}

/// How the XDP program is attached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttachMode {
    /// In the driver where it can (but not of a veth pair), else in the stack, else not at all.
    #[default]
    Auto,
    /// In the driver, or fail.
    Native,
    /// In the stack: works on every interface, but slower.
    Generic,
    /// Not at all.
    Off,
}

/// What becomes of the kernel's part when the daemon is told to end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnExit {
    /// It goes on answering, for the next daemon to take over, until `orphan_limit`.
    #[default]
    Keep,
    /// It is removed, and the swarms with it.
    Detach,
}

/// How a reply made in the kernel is routed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplyRoute {
    /// Back to whence the request came.
    #[default]
    Swap,
    /// By the routing table. The host must forward packets: net.ipv4.conf.INTERFACE.forwarding.
    Fib,
}

/// Whether UDP checksums are verified.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VerifyChecksums {
    /// Verified; but where the driver hands over datagrams whose checksum is still to be worked out (veth, virtio),
    /// such a partial sum is accepted as well.
    #[default]
    Auto,
    /// All; those that are still to be worked out are left to the host.
    On,
    /// None.
    Off,
}

/// Whether the routing table is asked for the way back before a connection id is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReversePath {
    /// It is not.
    #[default]
    Off,
    /// It is; where it names another way, the host decides.
    On,
}

/// What a request with a bad connection id gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BadConnectionId {
    /// The protocol's error.
    #[default]
    Reply,
    /// Silence.
    Drop,
}

/// Which announces answered in the kernel are reported to the daemon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventLevel {
    /// What the post-hooks ask for, and no more.
    #[default]
    None,
    /// A peer is new, has completed or has stopped.
    Transitions,
    /// Every announce.
    Every,
}

/// What the kernel program logs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("enum" = ["off", "error", "warn", "info", "debug", "trace"]))]
#[expect(missing_docs, reason = "the levels are named after themselves")]
pub enum LogLevel {
    #[default]
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
