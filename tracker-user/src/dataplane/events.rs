//! Announces that the kernel answered, told to the post-hooks; and what the program logs.

use std::{
    net::{Ipv6Addr, SocketAddr},
    ptr,
    sync::Arc,
};

use anyhow::Context as _;
use arc_swap::ArcSwap;
use aya::maps::{MapData, RingBuf};
use aya_log::EbpfLogger;
use tracker_common::{
    abi::{self, AnnounceEvent, name},
    announce::Event,
    id::{InfoHash, PeerId},
    peers::PeerBuf,
    table::swarm::Change,
};

use super::Kernel;
use crate::{
    config::{LogLevel, XdpConfig},
    pipeline::{AnnounceRequest, AnnounceResponse, Interest, Pipeline, SwarmStats},
    routes::Router,
    udp,
};

/// Events told at a time, so that a flood of them delays nothing else for long.
const BATCH: usize = 16 << 10;

/// Both ring buffers.
pub(super) struct Events {
    announces: RingBuf<MapData>,
    /// Whether a post-hook wants to know.
    announces_wanted: bool,
    logger: Option<EbpfLogger<&'static dyn log::Log>>,
    pipeline: Arc<ArcSwap<Pipeline>>,
    interval_s: u32,
    /// What all post-hooks are told at least.
    floor: Interest,
    /// Room to put the URL data of an announce together in.
    url_data: Vec<u8>,
    /// By which parameters in the path of it are read.
    routes: Arc<Router>,
}

impl Events {
    /// Opens them; the log only where there is one.
    ///
    /// # Errors
    /// When the program's maps are not what they should be.
    pub(super) fn new(
        kernel: &mut Kernel,
        config: &XdpConfig,
        policy: &abi::Config,
        routes: &Arc<Router>,
        pipeline: &Arc<ArcSwap<Pipeline>>,
    ) -> anyhow::Result<Self> {
        let announces = kernel.take(name::EVENTS)?;
        let logger = (config.log_level != LogLevel::Off)
            .then(|| EbpfLogger::init(kernel.ebpf()).context("xdp.log_level: no log to read"))
            .transpose()?;
        let mut events = Self {
            announces,
            announces_wanted: false,
            logger,
            pipeline: Arc::clone(pipeline),
            interval_s: 0,
            floor: Interest::Nothing,
            url_data: Vec::new(),
            routes: Arc::default(),
        };
        events.reload(policy, config.events.into(), Arc::clone(routes));
        Ok(events)
    }

    /// Goes by what is published next.
    pub(super) fn reload(&mut self, policy: &abi::Config, floor: Interest, routes: Arc<Router>) {
        // What is still in the ring is told even when nobody wants more.
        self.announces_wanted |= policy.events != 0;
        self.interval_s = policy.interval_s;
        self.floor = floor;
        self.routes = routes;
    }

    /// Whether [`Events::drain`] has anything to do at all.
    pub(super) fn are_wanted(&self) -> bool {
        self.announces_wanted || self.logger.is_some()
    }

    /// Tells what has come in.
    pub(super) fn drain(&mut self) {
        if let Some(logger) = &mut self.logger {
            logger.flush();
        }
        let pipeline = self.pipeline.load();
        for _ in 0..BATCH {
            let Some(item) = self.announces.next() else { return };
            let told = read(&item, self.interval_s, &self.routes, &mut self.url_data);
            if let Some((kind, request, response)) = told {
                pipeline.told(kind, self.floor, &request, &response);
            }
        }
    }
}

/// Who wants to see the announce, and the request as the daemon would have seen it, as far as an event tells.
fn read(
    bytes: &[u8],
    interval_s: u32,
    routes: &Router,
    url_data: &mut Vec<u8>,
) -> Option<(Interest, AnnounceRequest, AnnounceResponse)> {
    let (_, options) = bytes.split_at_checked(size_of::<AnnounceEvent>())?;
    // SAFETY: long enough, and integers may have any value.
    let event = unsafe { ptr::read_unaligned(bytes.as_ptr().cast::<AnnounceEvent>()) };
    let is_refresh = event.change == Change::Refreshed as u8;
    let kind = if is_refresh { Interest::Every } else { Interest::Transitions };
    let ip = Ipv6Addr::from(event.addr).to_canonical();
    let request = AnnounceRequest {
        info_hash: InfoHash(event.info_hash),
        peer_id: PeerId(event.peer_id),
        peer: SocketAddr::new(ip, u16::from_be_bytes(event.port)),
        event: Event::from_wire(event.event.into()),
        left: u64::from_be_bytes(event.left),
        downloaded: u64::from_be_bytes(event.downloaded),
        uploaded: u64::from_be_bytes(event.uploaded),
        numwant: 0,
        seed: 0,
        interface: 0,
        params: udp::read_options(options, routes, url_data),
    };
    let response = AnnounceResponse {
        interval_s,
        min_interval_s: interval_s,
        swarm: SwarmStats { seeders: event.seeders, leechers: event.leechers, completed: 0 },
        peers: PeerBuf::new(),
    };
    Some((kind, request, response))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Params;

    fn event() -> [u8; size_of::<AnnounceEvent>()] {
        let mut bytes = [0; size_of::<AnnounceEvent>()];
        bytes[10..16].copy_from_slice(&[0xff, 0xff, 192, 0, 2, 1]);
        bytes[31] = 5;
        bytes[40..60].fill(7);
        bytes[80..84].copy_from_slice(&[0x1a, 0xe1, 2, 1]);
        bytes[84..88].copy_from_slice(&3u32.to_ne_bytes());
        bytes
    }

    #[test]
    fn an_event_becomes_the_request_that_it_tells_of() {
        let (kind, request, response) =
            read(&event(), 1800, &Router::default(), &mut Vec::new()).unwrap();
        assert_eq!(kind, Interest::Transitions);
        assert_eq!(request.peer, "192.0.2.1:6881".parse().unwrap());
        assert_eq!((request.left, request.event), (5, Event::Started));
        assert_eq!(request.info_hash, InfoHash([7; 20]));
        assert_eq!(response.swarm.seeders, 3);
        assert_eq!(request.params, Params::default());
        assert!(read(&event()[1..], 1800, &Router::default(), &mut Vec::new()).is_none());
    }

    #[test]
    fn the_options_behind_it_are_its_parameters() {
        let told = [&event()[..], &[2, 6], b"/a?p=k", &[1, 0]].concat();
        let (_, request, _) = read(&told, 1800, &Router::default(), &mut Vec::new()).unwrap();
        assert_eq!(request.params.get("p"), Some("k"));
    }
}
