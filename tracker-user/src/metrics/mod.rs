//! Prometheus metrics: Chihaya's names, labels and buckets, so that its dashboards go on working,
//! and our own, which begin with `xdp_tracker_`.

mod durations;
mod embedded;
mod hooks;
mod labels;
#[cfg(feature = "redis")]
mod redis;
mod register;
mod reports;
mod requests;
mod server;
mod tls;
mod tracker;
mod webtorrent;

use std::sync::Arc;

use prometheus::{
    IntCounter, IntCounterVec, Opts, Registry, core::Collector,
    process_collector::ProcessCollector, proto::MetricFamily,
};

pub use durations::Untimed;
pub use hooks::Refreshes;
pub use labels::{Action, AddressFamily, Outcome};
#[cfg(feature = "redis")]
pub use redis::RedisMetrics;
use register::register;
pub use reports::ReportMetrics;
pub use requests::{FrontendMetrics, RequestPath, request_counters};
pub use server::serve;
pub use tls::CertificateExpiry;
pub use tracker::{AttachMetrics, PerFamily, ReloadMetrics, StorageMetrics, TableMetrics};
pub use webtorrent::WebTorrentMetrics;

use embedded::Embedded;
use hooks::HookMetrics;
use requests::UserRequests;

/// All metrics of a daemon. Whatever is reached through it can be updated from any thread.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// What `/metrics` serves: the registry above, or the embedder's, which shows it.
    served: Registry,
    udp: FrontendMetrics,
    http: FrontendMetrics,
    storage: StorageMetrics,
    table: TableMetrics,
    attach: AttachMetrics,
    tls_handshakes_failed: IntCounter,
    certificate_expiry: CertificateExpiry,
    reloads: ReloadMetrics,
    hooks: HookMetrics,
    reports: ReportMetrics,
    webtorrent: WebTorrentMetrics,
    limits: IntCounterVec,
}

impl Metrics {
    /// Registers everything, all at zero, together with the process's own figures (memory,
    /// processor time, file descriptors).
    ///
    /// # Errors
    /// Only if two metrics had one name.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        registry.register(Box::new(ProcessCollector::for_self()))?;
        Self::in_registry(registry.clone(), registry)
    }

    /// Registers everything in a registry of its own, which `outer` shows from then on. `outer` sees to the figures of
    /// the process itself.
    ///
    /// # Errors
    /// When `outer` shows another tracker's already.
    pub fn shown_by(outer: &Registry) -> prometheus::Result<Self> {
        let registry = Registry::new();
        outer.register(Box::new(Embedded::new(&registry)?))?;
        let metrics = Self::in_registry(registry, outer.clone());
        metrics.inspect_err(|_| Embedded::remove(outer))
    }

    /// Has the registry of an embedder, if there is one, show these metrics no more.
    pub(crate) fn hide(&self) {
        Embedded::remove(&self.served);
    }

    fn in_registry(registry: Registry, served: Registry) -> prometheus::Result<Self> {
        let limits = Opts::new(
            "xdp_tracker_limit_reached_total",
            "How often a bound of the tracker's was reached.",
        );
        let limits = register(&registry, IntCounterVec::new(limits, &["limit"])?)?;
        let requests = Arc::new(UserRequests::new(&registry)?);
        let frontend = |protocol| {
            let errors_exhausted = limits.with_label_values(&["error_labels"]);
            FrontendMetrics::new(protocol, &registry, Arc::clone(&requests), errors_exhausted)
        };
        Ok(Self {
            udp: frontend("udp")?,
            http: frontend("http")?,
            storage: StorageMetrics::new(&registry)?,
            table: TableMetrics::new(&registry)?,
            attach: AttachMetrics::new(&registry)?,
            reloads: ReloadMetrics::new(&registry)?,
            tls_handshakes_failed: register(&registry, tls_handshakes_failed()?)?,
            certificate_expiry: CertificateExpiry::new(&registry)?,
            hooks: HookMetrics::new(&registry)?,
            reports: ReportMetrics::new(&registry)?,
            webtorrent: WebTorrentMetrics::new(&registry, &limits)?,
            limits,
            registry,
            served,
        })
    }

    /// The UDP frontend's.
    #[must_use]
    pub fn udp(&self) -> &FrontendMetrics {
        &self.udp
    }

    /// The HTTP frontend's.
    #[must_use]
    pub fn http(&self) -> &FrontendMetrics {
        &self.http
    }

    /// The storage's.
    #[must_use]
    pub fn storage(&self) -> &StorageMetrics {
        &self.storage
    }

    /// The table's.
    #[must_use]
    pub fn table(&self) -> &TableMetrics {
        &self.table
    }

    /// The data plane's, by interface.
    #[must_use]
    pub fn attach(&self) -> &AttachMetrics {
        &self.attach
    }

    /// TLS connections that came to nothing.
    #[must_use]
    pub fn tls_handshakes_failed(&self) -> &IntCounter {
        &self.tls_handshakes_failed
    }

    /// When the certificate of HTTPS expires.
    #[must_use]
    pub fn certificate_expiry(&self) -> CertificateExpiry {
        self.certificate_expiry.clone()
    }

    /// Those of reloads of the configuration.
    #[must_use]
    pub fn reloads(&self) -> &ReloadMetrics {
        &self.reloads
    }

    /// How often the lists or keys of the hook of this name were brought up to date.
    #[must_use]
    pub fn hook_refreshes(&self, hook: &'static str) -> Refreshes {
        self.hooks.refreshes(hook)
    }

    /// What the hook `report` tells.
    #[must_use]
    pub fn reports(&self) -> ReportMetrics {
        self.reports.clone()
    }

    /// What goes on between browsers.
    #[must_use]
    pub fn webtorrent(&self) -> WebTorrentMetrics {
        self.webtorrent.clone()
    }

    /// Tokens that the hook `jwt` found wrong, with the label `reason`.
    #[must_use]
    pub fn jwt_refusals(&self) -> IntCounterVec {
        self.hooks.jwt_refusals.clone()
    }

    /// The counter of how often a bound was reached; callers on a hot path keep it.
    #[must_use]
    pub fn limit_reached(&self, limit: &'static str) -> IntCounter {
        self.limits.with_label_values(&[limit])
    }

    /// Adds a collector, for figures that are read when they are asked for.
    ///
    /// # Errors
    /// When one of its metrics is registered already.
    pub fn register(&self, collector: impl Collector + 'static) -> prometheus::Result<()> {
        self.registry.register(Box::new(collector))
    }

    /// Calls `see` with the path, the outcome and the count of each counter of requests, the kernel's too.
    pub(crate) fn each_request_counter(&self, mut see: impl FnMut(&str, &str, u64)) {
        let families = self.registry.gather();
        let counters = families.iter().filter(|family| family.name() == requests::REQUESTS);
        for counter in counters.flat_map(MetricFamily::get_metric) {
            let label = |name| {
                let label = counter.get_label().iter().find(|label| label.name() == name);
                label.map_or("", |label| label.value())
            };
            see(label("path"), label("outcome"), counter.get_counter().get_value() as u64);
        }
    }

    /// All of the tracker's own.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All that is to be served.
    #[must_use]
    pub fn served(&self) -> &Registry {
        &self.served
    }
}

fn tls_handshakes_failed() -> prometheus::Result<IntCounter> {
    IntCounter::new(
        "xdp_tracker_tls_handshakes_failed_total",
        "HTTPS connections on which the client did not agree on TLS in time.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus::TextEncoder;
    use std::time::Duration;

    fn text(metrics: &Metrics) -> String {
        TextEncoder::new().encode_to_string(&metrics.registry().gather()).unwrap()
    }

    #[track_caller]
    fn assert_shows(metrics: &Metrics, line: &str) {
        let text = text(metrics);
        assert!(text.lines().any(|shown| shown == line), "{line} is not in\n{text}");
    }

    #[test]
    fn requests_are_timed_under_chihayas_names() {
        let metrics = Metrics::new().unwrap();
        let elapsed = Duration::from_millis(20);
        metrics.udp().observe(Action::Announce, AddressFamily::IPv4, "", elapsed);
        metrics.http().observe(Action::Other, AddressFamily::Unknown, "invalid IP", elapsed);
        for line in [
            r#"chihaya_udp_response_duration_milliseconds_bucket{action="announce",address_family="IPv4",error="",le="9.375"} 0"#,
            r#"chihaya_udp_response_duration_milliseconds_bucket{action="announce",address_family="IPv4",error="",le="37.5"} 1"#,
            r#"chihaya_udp_response_duration_milliseconds_bucket{action="announce",address_family="IPv4",error="",le="4800"} 1"#,
            r#"chihaya_udp_response_duration_milliseconds_sum{action="announce",address_family="IPv4",error=""} 20"#,
            r#"chihaya_http_response_duration_milliseconds_count{action="",address_family="Unknown",error="invalid IP"} 1"#,
        ] {
            assert_shows(&metrics, line);
        }
    }

    #[test]
    fn requests_that_were_not_timed_are_in_every_bucket() {
        let metrics = Metrics::new().unwrap();
        metrics.udp().observe(Action::Announce, AddressFamily::IPv4, "", Duration::from_millis(20));
        let (family, count) = (AddressFamily::IPv4, 7);
        metrics.udp().add_untimed(move || {
            [
                ("", Action::Announce),
                ("unapproved torrent", Action::Announce),
                ("", Action::Connect),
            ]
            .map(|(error, action)| Untimed { action, family, error, count })
            .to_vec()
        });
        let name = "chihaya_udp_response_duration_milliseconds";
        for (action, error, rest) in [
            ("announce", "", r#",le="9.375"} 7"#),
            ("announce", "", r#",le="37.5"} 8"#),
            ("announce", "", r#",le="+Inf"} 8"#),
            ("connect", "", r#",le="9.375"} 7"#),
            ("announce", "unapproved torrent", r#",le="+Inf"} 7"#),
        ] {
            let labels = format!(r#"action="{action}",address_family="IPv4",error="{error}""#);
            assert_shows(&metrics, &format!("{name}_bucket{{{labels}{rest}"));
        }
        let announces = r#"{action="announce",address_family="IPv4",error=""}"#;
        assert_shows(&metrics, &format!("{name}_count{announces} 8"));
        assert_shows(&metrics, &format!("{name}_sum{announces} 20"));
    }

    #[test]
    fn all_that_is_served_is_in_the_manual() {
        let manual = include_str!("../../../docs/operations.md");
        let metrics = Metrics::new().unwrap();
        #[cfg(feature = "redis")]
        RedisMetrics::new(metrics.registry()).unwrap();
        metrics.certificate_expiry().set(0);
        for family in metrics.registry().gather() {
            let name = family.name();
            let is_there = manual.contains(&format!("`{name}`"));
            assert!(is_there || name.starts_with("process_"), "docs/operations.md has no {name}");
        }
    }

    #[test]
    fn requests_of_all_frontends_are_counted_by_outcome() {
        let metrics = Metrics::new().unwrap();
        let observe = |frontend: &FrontendMetrics, error| {
            frontend.observe(Action::Scrape, AddressFamily::IPv6, error, Duration::ZERO);
        };
        observe(metrics.udp(), "");
        observe(metrics.http(), "");
        observe(metrics.http(), "bad connection ID");
        observe(metrics.http(), FrontendMetrics::INTERNAL_ERROR);
        for (outcome, count) in [("answered", 2), ("refused", 1), ("failed", 1)] {
            assert_shows(
                &metrics,
                &format!(
                    "xdp_tracker_requests_total{{action=\"scrape\",address_family=\"IPv6\",\
                     outcome=\"{outcome}\",path=\"user\"}} {count}"
                ),
            );
        }
    }

    #[test]
    fn the_kernels_requests_join_the_daemons() {
        let metrics = Metrics::new().unwrap();
        metrics.udp().observe(Action::Connect, AddressFamily::IPv4, "", Duration::ZERO);
        let kernel = request_counters(RequestPath::Kernel).unwrap();
        kernel.with_label_values(&["connect", "IPv4", Outcome::Passed.label()]).inc_by(7);
        metrics.register(kernel).unwrap();
        for (outcome, path, count) in [("answered", "user", 1), ("passed", "kernel", 7)] {
            assert_shows(
                &metrics,
                &format!(
                    "xdp_tracker_requests_total{{action=\"connect\",address_family=\"IPv4\",\
                     outcome=\"{outcome}\",path=\"{path}\"}} {count}"
                ),
            );
        }
        assert_eq!(text(&metrics).matches("# TYPE xdp_tracker_requests_total").count(), 1);
    }

    #[test]
    fn refreshes_of_hooks_are_counted_by_name_and_outcome() {
        let metrics = Metrics::new().unwrap();
        metrics.hook_refreshes("jwt").failed.inc();
        for (outcome, count) in [("failed", 1), ("succeeded", 0)] {
            let labels = format!(r#"{{hook="jwt",outcome="{outcome}"}}"#);
            assert_shows(&metrics, &format!("xdp_tracker_hook_refreshes_total{labels} {count}"));
        }
    }

    #[test]
    fn a_certificate_s_expiry_is_shown_when_there_is_a_certificate() {
        let metrics = Metrics::new().unwrap();
        assert!(!text(&metrics).contains("xdp_tracker_tls_certificate"));
        metrics.certificate_expiry().set(1_800_000_000);
        assert_shows(&metrics, "xdp_tracker_tls_certificate_expiry_timestamp_seconds 1800000000");
    }

    #[test]
    fn failure_reasons_beyond_the_bound_share_a_label() {
        let metrics = Metrics::new().unwrap();
        for i in 0..requests::ERRORS_MAX + 3 {
            let error = format!("reason {i}");
            metrics.udp().observe(Action::Announce, AddressFamily::IPv4, &error, Duration::ZERO);
        }
        assert_shows(
            &metrics,
            r#"chihaya_udp_response_duration_milliseconds_count{action="announce",address_family="IPv4",error="other"} 3"#,
        );
        assert_shows(&metrics, r#"xdp_tracker_limit_reached_total{limit="error_labels"} 3"#);
    }

    #[test]
    fn an_interface_shows_one_attach_mode_at_a_time() {
        let metrics = Metrics::new().unwrap();
        metrics.attach().set("eth0", Some("native"));
        metrics.attach().set("eth0", Some("generic"));
        assert_shows(&metrics, r#"xdp_tracker_attach_mode{interface="eth0",mode="generic"} 1"#);
        assert!(!text(&metrics).contains("native"));
        metrics.attach().set("eth0", None);
        assert!(!text(&metrics).contains("eth0"));
    }

    #[test]
    fn a_refused_reload_shows_until_one_is_applied() {
        let metrics = Metrics::new().unwrap();
        assert_shows(&metrics, "xdp_tracker_config_last_reload_successful 1");
        metrics.reloads().count(false);
        assert_shows(&metrics, "xdp_tracker_config_last_reload_successful 0");
        assert_shows(&metrics, r#"xdp_tracker_config_reloads_total{outcome="refused"} 1"#);
        metrics.reloads().count(true);
        assert_shows(&metrics, "xdp_tracker_config_last_reload_successful 1");
        assert_shows(&metrics, r#"xdp_tracker_config_reloads_total{outcome="applied"} 1"#);
    }

    #[test]
    fn the_table_is_shown_against_its_bounds() {
        let metrics = Metrics::new().unwrap();
        metrics.table().torrents.ipv6.set(3);
        metrics.table().torrents_max.ipv6.set(10);
        metrics.storage().gc_duration_ms.observe(1.0);
        for line in [
            r#"xdp_tracker_table_torrents{address_family="IPv6"} 3"#,
            r#"xdp_tracker_table_torrents_max{address_family="IPv6"} 10"#,
            "xdp_tracker_table_block_bytes_max 0",
            "xdp_tracker_events_lost_total 0",
            "xdp_tracker_grow_requests_dropped_total 0",
            "chihaya_storage_gc_duration_milliseconds_count 1",
            "chihaya_storage_seeders_count 0",
        ] {
            assert_shows(&metrics, line);
        }
    }
}
