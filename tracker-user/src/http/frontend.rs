//! From a request to its reply.

use std::{
    mem::take,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Response, StatusCode, Uri,
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};

use super::{
    Action, Observe, Settings, announce,
    places::Places,
    query::{Query, QueryError},
    refusal, reply, scrape,
    webtorrent::WebTorrent,
};
use crate::{
    config::{DualStack, HttpConfig},
    log_limit::LogLimit,
    metrics::WebTorrentMetrics,
    pipeline::{AnnounceRequest, AnnounceResponse, Pending, Pipeline, Refusal, SwarmStats},
    routes::Match,
};

/// A reply with its body in one piece.
pub(super) type Reply = Response<Full<Bytes>>;

/// Answers requests, whatever connection they come by.
pub struct HttpFrontend {
    pub(super) pipeline: Arc<ArcSwap<Pipeline>>,
    settings: ArcSwap<Settings>,
    /// One for each connection, whatever listener it came by.
    pub(super) connections: Arc<Places>,
    #[cfg_attr(not(feature = "webtorrent"), allow(dead_code, reason = "for browsers alone"))]
    pub(super) webtorrent: WebTorrent,
    pub(super) observer: Arc<dyn Observe>,
    internal_errors: LogLimit,
}

/// How often a request may wait for a hook. More than once only if several hooks ask somebody, or
/// one has forgotten the answer meanwhile.
pub(super) const WAITS_MAX: usize = 4;

/// The buffers of a connection, used again for each of its requests.
#[derive(Default)]
pub(super) struct Scratch {
    query: Query,
    response: AnnounceResponse,
    /// That of the other address family.
    other: AnnounceResponse,
    swarms: Vec<SwarmStats>,
    out: BytesMut,
}

/// An announce whose reply is on its way: what the post-hooks are told.
pub(super) struct Answered {
    pipeline: Arc<Pipeline>,
    request: AnnounceRequest,
    response: AnnounceResponse,
    /// The same peer in the swarm of the other address family.
    also: Option<Box<(AnnounceRequest, AnnounceResponse)>>,
}

impl Answered {
    /// `None` where there are no post-hooks; nothing is taken from `response` then.
    pub(super) fn new(
        pipeline: &Arc<Pipeline>,
        request: AnnounceRequest,
        response: &mut AnnounceResponse,
    ) -> Option<Self> {
        pipeline.post_hooks().next()?;
        let pipeline = Arc::clone(pipeline);
        Some(Self { pipeline, request, response: take(response), also: None })
    }

    /// Has the hooks told of the same peer in another swarm, too.
    fn with_also(mut self, request: AnnounceRequest, response: &mut AnnounceResponse) -> Self {
        self.also = Some(Box::new((request, take(response))));
        self
    }

    pub(super) fn run_post_hooks(&self) {
        self.pipeline.announced(&self.request, &self.response);
        if let Some(also) = &self.also {
            self.pipeline.announced(&also.0, &also.1);
        }
    }
}

/// The part of a request that matters here.
pub(super) struct Head<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    pub(super) headers: &'a HeaderMap,
    /// The other end of the connection.
    pub(super) remote: SocketAddr,
    /// When it was complete.
    pub(super) received: Instant,
    /// Whether it may still wait for a hook.
    pub(super) may_wait: bool,
}

/// What is known of a request when it has been dealt with.
#[derive(Default)]
struct Outcome {
    client: Option<IpAddr>,
    answered: Option<Answered>,
}

impl HttpFrontend {
    /// A frontend to the pipeline that `pipeline` holds at the time of each request.
    #[must_use]
    pub fn new(
        settings: Settings,
        pipeline: Arc<ArcSwap<Pipeline>>,
        observer: Arc<dyn Observe>,
        webtorrent: WebTorrentMetrics,
    ) -> Self {
        let connections = Places::new(settings.connections_max.max(1));
        let webtorrent = WebTorrent::new(webtorrent, &settings.config.webtorrent);
        let settings = ArcSwap::from_pointee(settings);
        let internal_errors = LogLimit::default();
        Self { pipeline, settings, connections, webtorrent, observer, internal_errors }
    }

    /// Replaces the settings: at once for requests; for timeouts, keep-alive and the size of heads
    /// with the next connection; for the limit of connections, not at all.
    pub fn reload(&self, settings: Settings) {
        self.settings.store(Arc::new(settings));
    }

    /// The settings in force.
    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.load_full()
    }

    /// The reply to a GET from `remote`, for who has no connection; `None` where `target`, path and query,
    /// is none of a URL.
    #[must_use]
    pub fn get(&self, target: &str, remote: SocketAddr) -> Option<Response<Full<Bytes>>> {
        let head = Head {
            method: &Method::GET,
            uri: &target.parse().ok()?,
            headers: &HeaderMap::new(),
            remote,
            received: Instant::now(),
            may_wait: false,
        };
        Some(self.answer(&head, &mut Scratch::default()).ok()?.0)
    }

    /// Answers one request. Post-hooks are for the caller to run, if there is something for them.
    ///
    /// # Errors
    /// What a hook waits for: the request is to be brought again after that.
    pub(super) fn answer(
        &self,
        head: &Head,
        scratch: &mut Scratch,
    ) -> Result<(Reply, Option<Answered>), Pending> {
        let settings = self.settings.load();
        let found = match settings.router.find(head.uri.path()) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok((plain(StatusCode::NOT_FOUND, "not found\n"), None)),
            Err(_) => return Ok((plain(StatusCode::BAD_REQUEST, "bad request\n"), None)),
        };
        if head.method != Method::GET {
            let mut reply = plain(StatusCode::METHOD_NOT_ALLOWED, "method not allowed\n");
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return Ok((reply, None));
        }
        let action = found.action;
        let mut outcome = Outcome::default();
        scratch.out.clear();
        let result = match self.run(&settings, head, found, scratch, &mut outcome) {
            Err(Refusal::Pending(pending)) if head.may_wait => return Err(pending),
            result => result.map_err(Refusal::settled),
        };
        if let Err(refusal) = &result {
            reply::write_refusal(&mut scratch.out, refusal);
        }
        let refusal = result.as_ref().err();
        self.observe(&settings.config, action, outcome.client, refusal, head.received);
        Ok((plain(StatusCode::OK, scratch.out.split().freeze()), outcome.answered))
    }

    /// Tells the observer what has become of a request.
    pub(super) fn observe(
        &self,
        config: &HttpConfig,
        action: Action,
        client: Option<IpAddr>,
        refusal: Option<&Refusal>,
        received: Instant,
    ) {
        let error = match refusal {
            None => "",
            Some(Refusal::Client(reason)) => reason,
            Some(Refusal::Pending(_)) => "undecided",
            Some(Refusal::Internal(cause)) => {
                if let Some(requests) = self.internal_errors.admit() {
                    tracing::error!(requests, cause, "HTTP requests failed");
                }
                "internal error"
            }
        };
        let elapsed =
            if config.enable_request_timing { received.elapsed() } else { Duration::ZERO };
        self.observer.response(action, client, error, elapsed);
    }

    /// Reads the request, asks the pipeline and writes the reply into `scratch.out`.
    fn run(
        &self,
        settings: &Settings,
        head: &Head,
        found: Match,
        scratch: &mut Scratch,
        outcome: &mut Outcome,
    ) -> Result<(), Refusal> {
        let Scratch { query, response, other, swarms, out } = scratch;
        let config = &settings.config;
        let gives_both_families = config.dual_stack == DualStack::Both;
        query.parse(head.uri.query().unwrap_or_default())?;
        let pipeline = self.pipeline.load();
        match found.action {
            Action::Announce => {
                let client = settings.client(head.remote, head.headers);
                let announce = announce::parse(query, found.params, client, config)?;
                outcome.client = Some(announce.request.peer.ip());
                pipeline.announce(&announce.request, response)?;
                let also = announce.also();
                // A hook that refuses the peer's other address keeps it out of that swarm alone.
                let also = also.filter(|also| pipeline.announce(also, other).is_ok());
                if also.is_none() && gives_both_families {
                    pipeline.look(&announce.request, other)?;
                }
                let has_other = also.is_some() || gives_both_families;
                if has_other {
                    let own = [Some(announce.request.peer), announce.also_at];
                    reply::name_itself_beside_none(
                        own,
                        also.is_some(),
                        [&mut *response, &mut *other],
                    );
                }
                reply::write_announce(out, &announce, response, has_other.then_some(&*other));
                outcome.answered = Answered::new(&pipeline, announce.request, response);
                if let Some(also) = also {
                    outcome.answered = outcome.answered.take().map(|it| it.with_also(also, other));
                }
            }
            Action::Scrape => {
                let asks = settings.scraper(head.remote, head.headers);
                let asks = asks.ok_or(refusal::NO_ADDRESS)?;
                let source = SocketAddr::new(asks, head.remote.port());
                let request = scrape::parse(query, found.params, source, config)?;
                outcome.client = Some(asks);
                pipeline.scrape(&request, swarms)?;
                if gives_both_families {
                    pipeline.scrape_other_family(&request, swarms)?;
                }
                reply::write_scrape(out, &request.info_hashes, swarms);
            }
        }
        Ok(())
    }
}

impl From<QueryError> for Refusal {
    fn from(error: QueryError) -> Self {
        refusal::refusal(error.reason())
    }
}

pub(super) fn plain(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, content_type);
    reply
}
