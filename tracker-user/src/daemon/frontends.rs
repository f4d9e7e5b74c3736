//! Whatever listens: metrics, HTTP, HTTPS and UDP.

use std::{fmt, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use tokio::task::JoinSet;

use super::{
    listen::listen_tcp,
    observe::{HttpObserver, UdpObserver},
};
use crate::{
    config::Config,
    http::{self, Certificate, CertificateFiles, HttpFrontend, Plain, Tls},
    metrics::{self, Metrics},
    pipeline::Pipeline,
    stopped::{Stop, Stopped},
    udp::{UdpServer, UdpSettings},
};

/// What listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Frontend {
    /// `/metrics`, for Prometheus.
    Metrics,
    /// Announces and scrapes over HTTP, and browsers over WebSocket.
    Http,
    /// The same over TLS.
    Https,
    /// BEP 15.
    Udp,
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Metrics => "metrics",
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Udp => "UDP",
        })
    }
}

/// What the frontends can be given anew while they run.
pub(super) struct FrontendSettings {
    pub(super) http: http::Settings,
    /// Where HTTPS is served.
    pub(super) certificate: Option<(Certificate, CertificateFiles)>,
    pub(super) udp: UdpSettings,
}

/// Running frontends.
pub(super) struct Frontends {
    /// What is served where, with the ports that the system chose for port 0.
    pub(super) addresses: Vec<(Frontend, SocketAddr)>,
    http: Arc<HttpFrontend>,
    tls: Option<Tls>,
    udp: Option<UdpServer>,
    tcp: JoinSet<()>,
    /// Dropped to stop those over TCP.
    stop: Stop,
}

impl Frontends {
    /// Starts what the configuration has an address for. To be called within a tokio runtime, in
    /// which those over TCP run.
    ///
    /// # Errors
    /// When an address cannot be listened on; nothing is running then.
    pub(super) fn start(
        config: &Config,
        settings: FrontendSettings,
        metrics: &Arc<Metrics>,
        pipeline: &Arc<ArcSwap<Pipeline>>,
    ) -> anyhow::Result<Self> {
        let FrontendSettings { http, certificate, udp } = settings;
        let (stop, stopped) = Stopped::new();
        let mut tcp = JoinSet::new();
        let mut addresses = Vec::new();
        if let Some(addr) = config.metrics_addr {
            let listener = listen_tcp(addr).with_context(|| format!("metrics_addr: {addr}"))?;
            addresses.push((Frontend::Metrics, listener.local_addr()?));
            tcp.spawn(metrics::serve(listener, Arc::clone(metrics), stopped.clone().wait()));
        }
        let observer = Arc::new(HttpObserver::new(metrics));
        let http =
            Arc::new(HttpFrontend::new(http, Arc::clone(pipeline), observer, metrics.webtorrent()));
        if let Some(addr) = config.http.addr {
            let listener = listen_tcp(addr).with_context(|| format!("http.addr: {addr}"))?;
            addresses.push((Frontend::Http, listener.local_addr()?));
            tcp.spawn(http::serve(listener, Plain, Arc::clone(&http), stopped.clone()));
        }
        let mut tls = None;
        if let (Some(addr), Some((certificate, files))) = (config.http.https_addr, certificate) {
            let serving = tls.insert(
                Tls::new(certificate, files, metrics.certificate_expiry())
                    .context("http.https_addr")?,
            );
            let listener = listen_tcp(addr).with_context(|| format!("http.https_addr: {addr}"))?;
            addresses.push((Frontend::Https, listener.local_addr()?));
            let (tls, http) = (serving.clone(), Arc::clone(&http));
            tcp.spawn(http::serve(listener, tls, http, stopped.clone()));
            tcp.spawn(follow(serving.clone(), stopped));
        }
        let udp = if config.udp.addr.is_empty() {
            None
        } else {
            let observer = Arc::new(UdpObserver::new(metrics));
            let server =
                UdpServer::start(udp, Arc::clone(pipeline), observer).context("udp.addr")?;
            addresses.extend(server.local_addrs().iter().map(|&addr| (Frontend::Udp, addr)));
            Some(server)
        };
        Ok(Self { addresses, http, tls, udp, tcp, stop })
    }

    /// Goes by another configuration from the next request, or connection, on. What listens, and
    /// where, stays.
    pub(super) fn reload(&self, settings: FrontendSettings) {
        let FrontendSettings { http, certificate, udp } = settings;
        self.http.reload(http);
        if let (Some(tls), Some((certificate, files))) = (&self.tls, certificate) {
            tls.replace(certificate, files);
        }
        if let Some(server) = &self.udp {
            server.reload(udp);
        }
    }

    /// Waits until all have answered what was in their hands.
    pub(super) async fn stop(self) {
        drop(self.stop);
        if let Some(udp) = self.udp {
            udp.stop();
        }
        self.tcp.join_all().await;
    }
}

async fn follow(tls: Tls, stopped: Stopped) {
    tokio::select! {
        () = stopped.wait() => {}
        () = tls.follow_files() => {}
    }
}
