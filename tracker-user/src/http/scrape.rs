//! Reads a scrape (BEP 48) from its query.

use std::net::SocketAddr;

use tracker_common::id::InfoHash;

use super::{announce::params, query::Query, refusal::NO_INFO_HASH};
use crate::{
    config::HttpConfig,
    pipeline::{Refusal, ScrapeRequest},
};

/// The info-hashes beyond the limit are left out; the others are sorted, each is there once, as the
/// reply's dictionary demands. The swarms are those of the family of `source`.
///
/// # Errors
/// A [`Refusal::Client`] when there is no info-hash.
pub(super) fn parse(
    query: &Query,
    route_params: Vec<(&str, String)>,
    source: SocketAddr,
    config: &HttpConfig,
) -> Result<ScrapeRequest, Refusal> {
    if query.info_hashes().is_empty() {
        return Err(NO_INFO_HASH);
    }
    let info_hashes = tidied(query.info_hashes().to_vec(), config);
    Ok(ScrapeRequest { info_hashes, source, params: params(query, &[], route_params) })
}

/// The info-hashes of which a reply tells.
pub(super) fn tidied(mut info_hashes: Vec<InfoHash>, config: &HttpConfig) -> Vec<InfoHash> {
    info_hashes.truncate(config.max_scrape_infohashes as usize);
    info_hashes.sort_unstable();
    info_hashes.dedup();
    info_hashes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_text(text: &str) -> Result<ScrapeRequest, Refusal> {
        let mut query = Query::default();
        query.parse(text).unwrap();
        let config = HttpConfig { max_scrape_infohashes: 3, ..HttpConfig::default() };
        parse(&query, vec![], "192.0.2.1:4711".parse().unwrap(), &config)
    }

    fn hashes(letters: &str) -> String {
        letters.chars().map(|c| format!("info_hash={}&", String::from(c).repeat(20))).collect()
    }

    #[test]
    fn info_hashes_are_clamped_then_sorted_and_made_unique() {
        let request = parse_text(&hashes("cacb")).unwrap();
        assert_eq!(request.info_hashes, [InfoHash([b'a'; 20]), InfoHash([b'c'; 20])]);
        assert_eq!(request.source, "192.0.2.1:4711".parse().unwrap());
    }

    #[test]
    fn other_parameters_reach_the_hooks() {
        let request = parse_text(&(hashes("a") + "jwt=x")).unwrap();
        assert_eq!(request.params.get("jwt"), Some("x"));
    }

    #[test]
    fn a_scrape_of_everything_is_refused() {
        assert_eq!(parse_text("").unwrap_err(), NO_INFO_HASH);
    }
}
