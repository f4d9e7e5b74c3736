//! HTTP requests, from the URL to the bencoded reply.

use std::{
    pin::pin,
    sync::{Arc, LazyLock},
    task::{Context, Poll, Waker},
};

use arc_swap::ArcSwap;
use http_body_util::BodyExt as _;
use tracker_user::{
    config::HttpConfig,
    http::{HttpFrontend, Settings},
    metrics::{Metrics, WebTorrentMetrics},
};

use crate::pipeline::pipeline;

/// Nothing of it happens here.
static WEBTORRENT: LazyLock<WebTorrentMetrics> =
    LazyLock::new(|| Metrics::new().expect("names differ").webtorrent());

/// The first byte chooses action and client, the rest is the query, if it is text.
pub fn run(data: &[u8]) {
    let Some((&choice, query)) = data.split_first() else { return };
    let Ok(query) = std::str::from_utf8(query) else { return };
    let config = HttpConfig { allow_ip_spoofing: choice & 4 != 0, ..HttpConfig::default() };
    let settings = Settings::new(config).expect("the default is a good one");
    let pipeline = Arc::new(ArcSwap::from_pointee(pipeline()));
    let frontend = HttpFrontend::new(settings, pipeline, Arc::new(()), WEBTORRENT.clone());
    let path = if choice & 1 == 0 { "/announce" } else { "/scrape" };
    let client = if choice & 2 == 0 { "192.0.2.1:5000" } else { "[2001:db8::1]:5000" };
    let Some(reply) = frontend.get(&format!("{path}?{query}"), client.parse().unwrap()) else {
        return;
    };
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(reply)) = pin!(reply.into_body().collect()).poll(&mut context) else {
        panic!("a body that is not whole");
    };
    let reply = reply.to_bytes();
    let read: bt_bencode::Value = bt_bencode::from_slice(&reply).expect("a reply is bencoded");
    let written = bt_bencode::to_vec(&read).expect("what was read can be written");
    assert_eq!(written, *reply, "a reply whose keys are not sorted");
}
