//! From a request to a WebSocket (RFC 6455).

use std::{net::SocketAddr, sync::Arc};

use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode, Version,
    body::{Body as _, Incoming},
    header::{
        CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    upgrade,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{
    HttpFrontend, announce,
    connection::Outbox,
    frontend::{Reply, plain},
    query::Query,
    webtorrent::Session,
};

/// The only version that there is.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// What follows a request for a WebSocket at a path that has one: a session and the reply that begins it, or
/// a refusal. `None` for any other request.
pub(super) fn asked(
    request: &mut Request<Incoming>,
    remote: SocketAddr,
    outbox: &Arc<Outbox>,
    frontend: &HttpFrontend,
) -> Option<Result<(Session, Reply), Reply>> {
    let headers = request.headers();
    if !has_token(headers, UPGRADE, "websocket") || !has_token(headers, CONNECTION, "upgrade") {
        return None;
    }
    let settings = frontend.settings();
    let path = request.uri().path().to_owned();
    let found = settings.webtorrent_router.find(&path).ok()??;
    if request.method() != Method::GET || request.version() != Version::HTTP_11 {
        return None;
    }
    if headers.get(SEC_WEBSOCKET_VERSION) != Some(&VERSION) {
        let mut reply = plain(StatusCode::UPGRADE_REQUIRED, "upgrade required\n");
        reply.headers_mut().insert(SEC_WEBSOCKET_VERSION, VERSION);
        return Some(Err(reply));
    }
    let mut query = Query::default();
    let parsed = query.parse(request.uri().query().unwrap_or_default());
    let client = settings.client(remote, headers);
    let key = headers.get(SEC_WEBSOCKET_KEY);
    // A body would be taken for the first message.
    let (Some(key), Some(client), Ok(()), true) =
        (key, client, parsed, request.body().is_end_stream())
    else {
        return Some(Err(plain(StatusCode::BAD_REQUEST, "bad request\n")));
    };
    let Ok(place) = frontend.webtorrent.place(settings.browser_share(client)) else {
        return Some(Err(plain(StatusCode::SERVICE_UNAVAILABLE, "too many connections\n")));
    };
    let reply = switching(&derive_accept_key(key.as_bytes()));
    let params = announce::params(&query, &[], found.params);
    let source = SocketAddr::new(client, remote.port());
    let (socket, outbox) = (upgrade::on(request), Arc::clone(outbox));
    let session = Session { socket, outbox, source, params, place };
    Some(Ok((session, reply)))
}

fn switching(accept: &str) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = reply.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(accept).expect("Base64 has a form in a header");
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    reply
}

/// Whether a header has a word in its list, in any case.
fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
}
