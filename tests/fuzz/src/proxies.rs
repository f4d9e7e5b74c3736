//! The header in which proxies name their client.

use std::net::{IpAddr, Ipv4Addr};

use hyper::{
    HeaderMap,
    header::{FORWARDED, HeaderName, HeaderValue},
};
use tracker_user::{
    config::Network,
    http::proxies::{Named, named},
};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 5));

/// The first byte chooses the header, the rest are its lines, as the client sends them. A trusted proxy appends
/// its word, to the last line or as one of its own: that must count.
pub fn run(data: &[u8]) {
    let Some((&choice, text)) = data.split_first() else { return };
    let (name, word) = if choice & 1 == 0 {
        (HeaderName::from_static("x-forwarded-for"), "203.0.113.5:4711")
    } else {
        (FORWARDED, "for=\"203.0.113.5:4711\";proto=https")
    };
    let trusted: [Network; 1] = ["10.0.0.0/8".parse().expect("a network")];
    let mut lines: Vec<_> = text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
    // Not even of what only the client has written anything panics.
    let _ = named(&headers(&name, &lines), &name, &trusted);
    match lines.last_mut().filter(|_| choice & 2 == 0) {
        Some(last) => last.extend_from_slice(format!(", {word}").as_bytes()),
        None => lines.push(word.as_bytes().to_vec()),
    }
    let headers = headers(&name, &lines);
    // A line that is none of a header, the proxy's word among them, has not come so far.
    if headers.get_all(&name).iter().count() == lines.len() {
        assert_eq!(named(&headers, &name, &trusted), Named::Client(CLIENT));
    }
}

fn headers(name: &HeaderName, lines: &[Vec<u8>]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(name, value);
        }
    }
    headers
}
