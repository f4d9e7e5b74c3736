//! The URL data of an announce (BEP 41): path and query of the tracker's URL, for hooks.

use crate::{
    percent::{self, Plus},
    pipeline::Params,
    routes::Router,
};

/// The most parameters that URL data may have.
const PARAMETERS_MAX: usize = 64;

/// The parameters of the query, by the rules for HTTP: `&`, `;` and `?` separate, `+` is a space,
/// keys are lower-cased. None at all if there is a bad escape, or if they are too many. After them, so that
/// they win, those of the path, where it is of one of the `routes`; it need not be.
pub(super) fn params(url_data: &[u8], routes: &Router) -> Params {
    let end = url_data.iter().position(|byte| *byte == b'?').unwrap_or(url_data.len());
    let (path, query) = url_data.split_at(end);
    let mut params = parse(query).unwrap_or_default();
    if let Ok(path) = str::from_utf8(path)
        && let Ok(Some(found)) = routes.find_announce(path)
    {
        for (name, value) in found.params {
            params.push(name, value);
        }
    }
    params
}

fn parse(query: &[u8]) -> Option<Params> {
    let mut params = Params::default();
    let pairs =
        query.split(|byte| matches!(byte, b'&' | b';' | b'?')).filter(|pair| !pair.is_empty());
    for (index, pair) in pairs.enumerate() {
        if index == PARAMETERS_MAX {
            return None;
        }
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let key = decode(halves.next().unwrap_or_default())?;
        let value = decode(halves.next().unwrap_or_default())?;
        params.push(key.to_ascii_lowercase(), value);
    }
    Some(params)
}

/// Undoes percent-encoding. What is not UTF-8 is replaced.
fn decode(text: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    percent::decode(text, Plus::Space, &mut decoded).ok()?;
    Some(String::from_utf8_lossy(&decoded).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(url_data: &[u8]) -> Params {
        let routes = ["/announce", "/:PassKey/announce"].map(str::to_owned);
        super::params(url_data, &Router::new(&routes, &[]).unwrap())
    }

    #[test]
    fn a_parameter_in_the_path_is_read_by_the_routes_and_wins() {
        assert_eq!(params(b"/k%33y/announce").get("passkey"), Some("k3y"));
        assert_eq!(params(b"/k3y/announce?passkey=forged&x=1").get("passkey"), Some("k3y"));
        assert_eq!(params(b"/k3y/announce?passkey=forged&x=1").get("x"), Some("1"));
        assert_eq!(params(b"/k3y/other?x=1").get("x"), Some("1"));
        for none in [&b"/k3y/other"[..], b"k3y", b"/\xff/announce", b"/%zz/announce", b"//announce"]
        {
            assert_eq!(params(none), Params::default(), "{}", none.escape_ascii());
        }
    }

    #[test]
    fn a_second_question_mark_begins_another_parameter() {
        let params = params(b"/announce?a=1?b=2");
        assert_eq!((params.get("a"), params.get("b")), (Some("1"), Some("2")));
    }

    #[test]
    fn the_query_is_read_by_the_rules_for_http() {
        let params = params(b"/announce?PassKey=a%2Fb+c;x=1&x=2&&flag");
        assert_eq!(params.get("passkey"), Some("a/b c"));
        assert_eq!(params.get("x"), Some("2"));
        assert_eq!(params.get("flag"), Some(""));
        assert_eq!(params.get("announce"), None);
    }

    #[test]
    fn a_path_alone_has_no_parameters() {
        assert_eq!(params(b"/announce"), Params::default());
    }

    #[test]
    fn a_query_that_cannot_be_read_has_no_parameters() {
        for url_data in [&b"/?a=1&b=%"[..], b"/?a=1&b=%4", b"/?a=1&b=%zz", b"/?a=1&%4=b"] {
            assert_eq!(params(url_data), Params::default(), "{}", url_data.escape_ascii());
        }
    }

    #[test]
    fn the_number_of_parameters_is_bounded() {
        let query = |parameters| [b"?".to_vec(), b"a=1&".repeat(parameters)].concat();
        assert_eq!(params(&query(PARAMETERS_MAX)).get("a"), Some("1"));
        assert_eq!(params(&query(PARAMETERS_MAX + 1)), Params::default());
    }
}
