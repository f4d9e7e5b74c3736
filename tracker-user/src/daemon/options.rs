//! From the keys of the configuration to the frontends' options.

use std::{num::NonZeroUsize, thread, time::Duration};

use tracker_common::connection::ConnectionIds;

use crate::{
    config::{self, Config},
    http::{CertificateFiles, HttpOptions, Router, WebTorrentOptions},
    udp::{BadConnectionId, UdpOptions},
};

/// More than the longest URL, which has 65,534 bytes.
const HEAD_BYTES_MAX: usize = 80 << 10;

/// However few browsers there may be, a household has some.
const BROWSERS_OF_SOURCE_MIN: u32 = 16;

/// The files of the certificate, where HTTPS is served.
pub(super) fn certificate_files(config: &Config) -> Option<CertificateFiles> {
    let http = &config.http;
    http.https_addr?;
    let (chain, key) = (http.tls_cert_path.clone()?, http.tls_key_path.clone()?);
    Some(CertificateFiles { chain, key })
}

pub(super) fn http_options(config: &Config) -> HttpOptions {
    let http = &config.http;
    HttpOptions {
        announce_routes: http.announce_routes.clone(),
        scrape_routes: http.scrape_routes.clone(),
        allow_ip_spoofing: http.allow_ip_spoofing,
        real_ip_header: http.real_ip_header.clone(),
        trusted_proxies: http.trusted_proxies.iter().map(|&network| network.into()).collect(),
        gives_both_families: http.dual_stack == config::DualStack::Both,
        max_numwant: clamp_u16(http.max_numwant),
        default_numwant: clamp_u16(http.default_numwant.min(http.max_numwant)),
        max_scrape_infohashes: http.max_scrape_infohashes as usize,
        request_timing: http.enable_request_timing,
        keepalive: http.enable_keepalive,
        read_timeout: *http.read_timeout,
        write_timeout: *http.write_timeout,
        idle_timeout: *http.idle_timeout,
        head_bytes_max: head_bytes_max(http.max_scrape_infohashes),
        connections_per_source_max: http.max_connections_per_source as usize,
        webtorrent: webtorrent_options(&http.webtorrent),
        ..HttpOptions::default()
    }
}

fn webtorrent_options(webtorrent: &config::WebTorrentConfig) -> WebTorrentOptions {
    WebTorrentOptions {
        routes: webtorrent.routes.clone(),
        announce_interval_s: seconds(&webtorrent.announce_interval),
        offers_max: webtorrent.max_offers as usize,
        torrents_max: webtorrent.max_torrents as usize,
        connections_max: webtorrent.max_connections as usize,
        connections_per_source_max: webtorrent
            .max_connections_per_source
            .unwrap_or((webtorrent.max_connections / 8).max(BROWSERS_OF_SOURCE_MIN))
            as usize,
    }
}

pub(super) fn udp_options(config: &Config, connection_ids: ConnectionIds) -> UdpOptions {
    let udp = &config.udp;
    let workers = NonZeroUsize::new(udp.workers.into())
        .or_else(|| thread::available_parallelism().ok())
        .unwrap_or(NonZeroUsize::MIN);
    UdpOptions {
        workers,
        max_numwant: clamp_u16(udp.max_numwant),
        default_numwant: clamp_u16(udp.default_numwant.min(udp.max_numwant)),
        max_scrape_infohashes: clamp_u16(udp.max_scrape_infohashes),
        allow_ip_spoofing: udp.allow_ip_spoofing,
        bad_connection_id: match config.xdp.bad_connection_id {
            config::BadConnectionId::Reply => BadConnectionId::Reply,
            config::BadConnectionId::Drop => BadConnectionId::Drop,
        },
        request_timing: udp.enable_request_timing,
        routes: Router::of_announces(&config.http.announce_routes).into(),
        ..UdpOptions::new(udp.binds().into_iter().collect(), connection_ids)
    }
}

fn clamp_u16(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// Room for a scrape of so many info-hashes, each with all of its bytes escaped.
fn head_bytes_max(info_hashes: u32) -> usize {
    const OF_EACH: usize = "info_hash=&".len() + 3 * 20;
    let default = HttpOptions::default().head_bytes_max;
    default.max((default / 2 + OF_EACH * info_hashes as usize).min(HEAD_BYTES_MAX))
}

/// Whole seconds, as the protocols count; the configuration is checked to be within 31 bits.
pub(super) fn seconds(duration: &Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
