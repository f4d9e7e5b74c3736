//! Reads a scrape (BEP 48) from its query.

use std::net::{IpAddr, SocketAddr};

use super::{
    announce::{NO_ADDRESS, NO_INFO_HASH, params},
    options::HttpOptions,
    query::Query,
};
use crate::pipeline::{Refusal, ScrapeRequest};

/// The info-hashes beyond the limit are left out; the others are sorted, each is there once, as the
/// reply's dictionary demands. `port` is that of the connection.
///
/// # Errors
/// A [`Refusal::Client`] when there is no info-hash, or nobody to count the swarms for.
pub(super) fn parse(
    query: &Query,
    route_params: Vec<(&str, String)>,
    client: Option<IpAddr>,
    port: u16,
    options: &HttpOptions,
) -> Result<ScrapeRequest, Refusal> {
    if query.info_hashes().is_empty() {
        return Err(NO_INFO_HASH);
    }
    let source = SocketAddr::new(client.ok_or(NO_ADDRESS)?, port);
    let mut info_hashes = query.info_hashes().to_vec();
    info_hashes.truncate(options.max_scrape_infohashes);
    info_hashes.sort_unstable();
    info_hashes.dedup();
    Ok(ScrapeRequest { info_hashes, source, params: params(query, &[], route_params) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracker_common::id::InfoHash;

    fn parse_text(text: &str, client: Option<&str>) -> Result<ScrapeRequest, Refusal> {
        let mut query = Query::default();
        query.parse(text).unwrap();
        let options = HttpOptions { max_scrape_infohashes: 3, ..HttpOptions::default() };
        parse(&query, vec![], client.map(|address| address.parse().unwrap()), 4711, &options)
    }

    fn hashes(letters: &str) -> String {
        letters.chars().map(|c| format!("info_hash={}&", String::from(c).repeat(20))).collect()
    }

    #[test]
    fn info_hashes_are_clamped_then_sorted_and_made_unique() {
        let request = parse_text(&hashes("cacb"), Some("192.0.2.1")).unwrap();
        assert_eq!(request.info_hashes, [InfoHash([b'a'; 20]), InfoHash([b'c'; 20])]);
        assert_eq!(request.source, "192.0.2.1:4711".parse().unwrap());
    }

    #[test]
    fn other_parameters_reach_the_hooks() {
        let request = parse_text(&(hashes("a") + "jwt=x"), Some("192.0.2.1")).unwrap();
        assert_eq!(request.params.get("jwt"), Some("x"));
    }

    #[test]
    fn a_scrape_of_everything_is_refused() {
        assert_eq!(parse_text("", Some("192.0.2.1")).unwrap_err(), NO_INFO_HASH);
        assert_eq!(parse_text("", None).unwrap_err(), NO_INFO_HASH);
        assert_eq!(parse_text(&hashes("a"), None).unwrap_err(), NO_ADDRESS);
    }
}
