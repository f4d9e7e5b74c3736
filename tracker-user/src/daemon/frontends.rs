//! Whatever listens: metrics, HTTP and UDP.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tracker_common::connection::ConnectionIds;

use super::observe::{HttpObserver, UdpObserver};
use crate::{
    config::{self, Config, ListenAddr},
    http::{self, HttpFrontend, HttpOptions, Plain},
    metrics::{self, Metrics},
    pipeline::Pipeline,
    udp::{BadConnectionId, UdpOptions, UdpServer},
};

/// TCP connections that wait to be accepted; the system caps it (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Running frontends.
pub(super) struct Frontends {
    tcp: JoinSet<()>,
    udp: Option<UdpServer>,
}

impl Frontends {
    /// Starts what the configuration has an address for. Those over TCP run in the current tokio
    /// runtime until `stopped` has no sender.
    ///
    /// # Errors
    /// When an address cannot be listened on or an option is wrong; nothing is running then.
    pub(super) fn start(
        config: &Config,
        connection_ids: ConnectionIds,
        metrics: &Arc<Metrics>,
        pipeline: &Arc<ArcSwap<Pipeline>>,
        stopped: &watch::Receiver<()>,
    ) -> anyhow::Result<Self> {
        let mut tcp = JoinSet::new();
        if let Some(addr) = config.metrics_addr {
            let listener = listen_tcp(addr).with_context(|| format!("metrics_addr: {addr}"))?;
            tracing::info!("serving metrics on http://{}/metrics", listener.local_addr()?);
            tcp.spawn(metrics::serve(listener, Arc::clone(metrics), until(stopped)));
        }
        if let Some(addr) = config.http.addr {
            let observer = Arc::new(HttpObserver::new(metrics));
            let frontend = HttpFrontend::new(http_options(config), Arc::clone(pipeline), observer)
                .context("http")?;
            let listener = listen_tcp(addr).with_context(|| format!("http.addr: {addr}"))?;
            tracing::info!("serving HTTP on {}", listener.local_addr()?);
            tcp.spawn(http::serve(listener, Plain, Arc::new(frontend), until(stopped)));
        }
        if config.http.https_addr.is_some() {
            anyhow::bail!("http.https_addr: HTTPS is not supported yet; remove the key");
        }
        let udp = if config.udp.addr.is_empty() {
            None
        } else {
            let observer = Arc::new(UdpObserver::new(metrics));
            let options = udp_options(config, connection_ids);
            let server =
                UdpServer::start(options, Arc::clone(pipeline), observer).context("udp.addr")?;
            for addr in server.local_addrs() {
                tracing::info!("serving UDP on {addr}");
            }
            Some(server)
        };
        Ok(Self { tcp, udp })
    }

    /// Waits until all have answered what was in their hands. The sender of what was given to
    /// [`Frontends::start`] as `stopped` has to be gone.
    pub(super) async fn stop(self) {
        if let Some(udp) = self.udp {
            udp.stop();
        }
        self.tcp.join_all().await;
    }
}

/// Ends when there is no sender any more.
fn until(stopped: &watch::Receiver<()>) -> impl Future<Output = ()> + use<> {
    let mut stopped = stopped.clone();
    async move { while stopped.changed().await.is_ok() {} }
}

fn listen_tcp(addr: ListenAddr) -> anyhow::Result<TcpListener> {
    let listener = match open_tcp(addr.to_bind()) {
        // The host was started with `ipv6.disable=1`.
        Err(error)
            if error.raw_os_error() == Some(libc::EAFNOSUPPORT)
                && addr.to_bind().ip().is_unspecified() =>
        {
            open_tcp((Ipv4Addr::UNSPECIFIED, addr.to_bind().port()).into())
        }
        opened => opened,
    };
    listener.map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => "another program listens there; `ss -tlpn` names it",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address",
            io::ErrorKind::PermissionDenied => {
                "ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE"
            }
            _ => return anyhow::Error::new(error).context("cannot listen"),
        };
        anyhow::Error::new(error).context(format!("cannot listen: {advice}"))
    })
}

fn open_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!addr.ip().is_unspecified())?;
    }
    // Or a restart would have to wait for the connections of the process before.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn http_options(config: &Config) -> HttpOptions {
    let http = &config.http;
    HttpOptions {
        announce_routes: http.announce_routes.clone(),
        scrape_routes: http.scrape_routes.clone(),
        allow_ip_spoofing: http.allow_ip_spoofing,
        real_ip_header: http.real_ip_header.clone(),
        trusted_proxies: http.trusted_proxies.iter().map(|&network| network.into()).collect(),
        max_numwant: clamp_u16(http.max_numwant),
        default_numwant: clamp_u16(http.default_numwant.min(http.max_numwant)),
        max_scrape_infohashes: http.max_scrape_infohashes as usize,
        request_timing: http.enable_request_timing,
        keepalive: http.enable_keepalive,
        read_timeout: *http.read_timeout,
        write_timeout: *http.write_timeout,
        idle_timeout: *http.idle_timeout,
        ..HttpOptions::default()
    }
}

fn udp_options(config: &Config, connection_ids: ConnectionIds) -> UdpOptions {
    let udp = &config.udp;
    let addrs: BTreeSet<_> = udp.addr.iter().map(|addr| addr.to_bind()).collect();
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
        ..UdpOptions::new(addrs.into_iter().collect(), connection_ids)
    }
}

fn clamp_u16(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(u16::MAX)
}

/// Whole seconds, as the protocols count; the configuration is checked to be within 31 bits.
pub(super) fn seconds(duration: &Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracker_common::hash::SipKey;

    use crate::storage::memory::{MappedMemory, MemoryStorage, TableSize};

    fn config(yaml: &str) -> Config {
        serde_yaml::from_str(yaml).unwrap()
    }

    fn start(config: &Config) -> anyhow::Result<(Frontends, watch::Sender<()>)> {
        let metrics = Arc::new(Metrics::new()?);
        let size = TableSize::of(&config.xdp.table);
        let memory = MappedMemory::anonymous(&size)?;
        let storage = MemoryStorage::start(
            memory,
            &size,
            Default::default(),
            &Default::default(),
            None,
            &metrics,
        )?;
        let pipeline = Pipeline::new(storage, Vec::new(), Vec::new(), 1800, 900);
        let pipeline = Arc::new(ArcSwap::from_pointee(pipeline));
        let (stop, stopped) = watch::channel(());
        let ids = ConnectionIds::new(SipKey { k0: 1, k1: 2 }, 120, 0);
        Ok((Frontends::start(config, ids, &metrics, &pipeline, &stopped)?, stop))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn all_frontends_stop_when_told_to() {
        let config = config(
            "{ metrics_addr: '127.0.0.1:0', http: { addr: '127.0.0.1:0' }, udp: { addr: ['127.0.0.1:0'] } }",
        );
        let (frontends, stop) = start(&config).unwrap();
        drop(stop);
        frontends.stop().await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_port_in_use_is_named_with_its_key() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = other.local_addr().unwrap();
        let error = start(&config(&format!("{{ http: {{ addr: '{addr}' }} }}"))).err().unwrap();
        let message = format!("{error:#}");
        assert!(message.starts_with(&format!("http.addr: {addr}: cannot listen:")), "{message}");
    }
}
