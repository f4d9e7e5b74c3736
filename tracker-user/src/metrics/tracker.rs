//! What the tracker keeps and does, apart from requests.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::{labels::AddressFamily, register::register, requests::buckets};

/// Chihaya's metrics of a storage.
#[derive(Debug, Clone)]
pub struct StorageMetrics {
    /// How long a sweep for silent peers took, in milliseconds.
    pub gc_duration_ms: Histogram,
    /// Torrents that have peers. IPv4 and IPv6 swarms count separately, as do their peers below.
    pub infohashes: IntGauge,
    /// Peers with nothing left to fetch.
    pub seeders: IntGauge,
    /// The others.
    pub leechers: IntGauge,
}

impl StorageMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gc_duration = HistogramOpts::new(
            "chihaya_storage_gc_duration_milliseconds",
            "Time that a sweep for silent peers took.",
        );
        let gauge = |name, help| register(registry, IntGauge::new(name, help)?);
        Ok(Self {
            gc_duration_ms: register(
                registry,
                Histogram::with_opts(gc_duration.buckets(buckets()?))?,
            )?,
            infohashes: gauge(
                "chihaya_storage_infohashes_count",
                "Torrents; those with IPv4 and IPv6 peers count twice.",
            )?,
            seeders: gauge("chihaya_storage_seeders_count", "Peers with nothing left to fetch.")?,
            leechers: gauge("chihaya_storage_leechers_count", "Peers that still fetch.")?,
        })
    }
}

/// A gauge of each address family.
#[derive(Debug, Clone)]
pub struct PerFamily {
    /// Of IPv4.
    pub ipv4: IntGauge,
    /// Of IPv6.
    pub ipv6: IntGauge,
}

/// The table's use against its bounds, and what it could not take.
#[derive(Debug, Clone)]
pub struct TableMetrics {
    /// Torrents in the table.
    pub torrents: PerFamily,
    /// Torrents that it has room for.
    pub torrents_max: PerFamily,
    /// Bytes of blocks in use.
    pub block_bytes: IntGauge,
    /// Bytes of blocks that there are.
    pub block_bytes_max: IntGauge,
    /// Announces that a post-hook wanted to see and that found the ring buffer full.
    pub events_lost: IntCounter,
    /// Torrents that wanted to grow and found the queue full; they ask again.
    pub grow_requests_dropped: IntCounter,
    /// When the last snapshot was saved, in seconds since 1970; 0 for never.
    pub snapshot_saved_at: IntGauge,
    /// Snapshots that could not be saved.
    pub snapshots_failed: IntCounter,
}

impl TableMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name, help| register(registry, IntGauge::new(name, help)?);
        let counter = |name, help| register(registry, IntCounter::new(name, help)?);
        let per_family = |name, help| -> prometheus::Result<PerFamily> {
            let gauges = IntGaugeVec::new(Opts::new(name, help), &["address_family"])?;
            let gauges = register(registry, gauges)?;
            let of = |family: AddressFamily| gauges.with_label_values(&[family.label()]);
            Ok(PerFamily { ipv4: of(AddressFamily::IPv4), ipv6: of(AddressFamily::IPv6) })
        };
        Ok(Self {
            torrents: per_family("xdp_tracker_table_torrents", "Torrents in the table.")?,
            torrents_max: per_family(
                "xdp_tracker_table_torrents_max",
                "Torrents that the table has room for.",
            )?,
            block_bytes: gauge("xdp_tracker_table_block_bytes", "Bytes of peer blocks in use.")?,
            block_bytes_max: gauge(
                "xdp_tracker_table_block_bytes_max",
                "Bytes of peer blocks that there are.",
            )?,
            events_lost: counter(
                "xdp_tracker_events_lost_total",
                "Announces that post-hooks did not see because the ring buffer was full.",
            )?,
            grow_requests_dropped: counter(
                "xdp_tracker_grow_requests_dropped_total",
                "Requests to make room for more peers that found the queue full.",
            )?,
            snapshot_saved_at: gauge(
                "xdp_tracker_snapshot_last_success_timestamp_seconds",
                "When the swarms were last saved.",
            )?,
            snapshots_failed: counter(
                "xdp_tracker_snapshots_failed_total",
                "Attempts to save the swarms that failed.",
            )?,
        })
    }
}

/// How the XDP program is attached, by interface.
#[derive(Debug)]
pub struct AttachMetrics {
    modes: IntGaugeVec,
    current: Mutex<HashMap<String, &'static str>>,
}

impl AttachMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new(
            "xdp_tracker_attach_mode",
            "1 for the mode in which the XDP program is attached to the interface.",
        );
        let modes = register(registry, IntGaugeVec::new(opts, &["interface", "mode"])?)?;
        Ok(Self { modes, current: Mutex::default() })
    }

    /// Shows `mode` for the interface in place of the one before; `None` shows nothing.
    pub fn set(&self, interface: &str, mode: Option<&'static str>) {
        // Whoever panicked here has left the map whole: each change is one call.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = current.remove(interface) {
            // Fails only for labels that are not there, and these are.
            let _ = self.modes.remove_label_values(&[interface, old]);
        }
        if let Some(mode) = mode {
            self.modes.with_label_values(&[interface, mode]).set(1);
            current.insert(interface.to_owned(), mode);
        }
    }
}

/// What came of reloads.
#[derive(Debug)]
pub struct ReloadMetrics {
    applied: IntCounter,
    refused: IntCounter,
    last_successful: IntGauge,
}

impl ReloadMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let opts = Opts::new(
            "xdp_tracker_config_reloads_total",
            "Reloads of the configuration, by whether it was applied or could not be used.",
        );
        let reloads = register(registry, IntCounterVec::new(opts, &["outcome"])?)?;
        let last_successful = IntGauge::new(
            "xdp_tracker_config_last_reload_successful",
            "Whether the configuration that was read last is in force.",
        )?;
        last_successful.set(1);
        Ok(Self {
            applied: reloads.with_label_values(&["applied"]),
            refused: reloads.with_label_values(&["refused"]),
            last_successful: register(registry, last_successful)?,
        })
    }

    /// Counts one.
    pub fn count(&self, is_applied: bool) {
        if is_applied { &self.applied } else { &self.refused }.inc();
        self.last_successful.set(is_applied.into());
    }
}
