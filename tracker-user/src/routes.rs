//! Which paths are announces and which are scrapes, for every frontend.
//!
//! Of several [routes](Route) that match, the first one counts.
//!
//! A path that matches none is looked for once more, tidied up: where httprouter redirects a client, which not
//! every client follows, it is answered at once.

use std::borrow::Cow;

use crate::{
    config::{Route, RouteError, RoutePart},
    percent::{self, BadEscape, Plus},
};

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Enter a swarm and be given peers.
    Announce,
    /// Be told the figures of swarms.
    Scrape,
}

/// The configured routes.
#[derive(Debug, Default)]
pub struct Router {
    routes: Vec<(Route, Action)>,
}

/// What a path leads to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Match<'a> {
    pub(crate) action: Action,
    /// Names, in lower case, and values of the route's parameters.
    pub(crate) params: Vec<(&'a str, String)>,
}

impl Router {
    /// Routes of announces, and of scrapes.
    ///
    /// # Errors
    /// The first of them that cannot be used.
    pub fn new(announce: &[String], scrape: &[String]) -> Result<Self, RouteError> {
        let [announces, scrapes] = Route::parse_all(announce, scrape)?;
        let announces = announces.into_iter().map(|route| (route, Action::Announce));
        let scrapes = scrapes.into_iter().map(|route| (route, Action::Scrape));
        Ok(Self { routes: announces.chain(scrapes).collect() })
    }

    /// Finds the route of `path`, which is still percent-encoded.
    ///
    /// # Errors
    /// When it is not well encoded.
    pub(crate) fn find(&self, path: &str) -> Result<Option<Match<'_>>, BadEscape> {
        self.find_among(&|_| true, path)
    }

    /// The same among the routes of announces alone.
    ///
    /// # Errors
    /// As for [`Router::find`].
    pub(crate) fn find_announce(&self, path: &str) -> Result<Option<Match<'_>>, BadEscape> {
        self.find_among(&|action| action == Action::Announce, path)
    }

    fn find_among(
        &self,
        is_meant: &dyn Fn(Action) -> bool,
        path: &str,
    ) -> Result<Option<Match<'_>>, BadEscape> {
        let path = decode_path(path)?;
        let find = |path: &str, case| {
            let meant = self.routes.iter().filter(|(_, action)| is_meant(*action));
            meant.into_iter().find_map(|(route, action)| {
                matches(route, path, case).map(|params| Match { action: *action, params })
            })
        };
        Ok(find(&path, Case::Same).or_else(|| {
            let tidy = tidied(&path);
            find(&tidy, Case::Any).or_else(|| find(&(tidy + "/"), Case::Any))
        }))
    }
}

/// How a path's letters are compared with a route's.
#[derive(Clone, Copy)]
enum Case {
    Same,
    /// ASCII capitals are no others than small letters.
    Any,
}

impl Case {
    fn strip_prefix<'p>(self, path: &'p str, literal: &str) -> Option<&'p str> {
        match self {
            Self::Same => path.strip_prefix(literal),
            Self::Any => {
                let (start, rest) = path.split_at_checked(literal.len())?;
                start.eq_ignore_ascii_case(literal).then_some(rest)
            }
        }
    }
}

/// The path without `.`, `..`, repeated slashes and a last one.
fn tidied(path: &str) -> String {
    let mut segments = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => _ = segments.pop(),
            segment => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

fn decode_path(path: &str) -> Result<Cow<'_, str>, BadEscape> {
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    let mut decoded = Vec::with_capacity(path.len());
    percent::decode(path.as_bytes(), Plus::Literal, &mut decoded)?;
    Ok(Cow::Owned(String::from_utf8_lossy(&decoded).into_owned()))
}

/// The parameters, if the path matches the route.
fn matches<'r>(route: &'r Route, mut path: &str, case: Case) -> Option<Vec<(&'r str, String)>> {
    let mut params = Vec::new();
    for part in &route.parts {
        match part {
            RoutePart::Literal(literal) => path = case.strip_prefix(path, literal)?,
            RoutePart::Segment(name) => {
                let end = path.find('/').unwrap_or(path.len());
                let (value, after) = path.split_at(end);
                if value.is_empty() {
                    return None;
                }
                params.push((name.as_str(), value.to_owned()));
                path = after;
            }
            RoutePart::Rest(name) => {
                if !path.starts_with('/') {
                    return None;
                }
                params.push((name.as_str(), path.to_owned()));
                path = "";
            }
        }
    }
    path.is_empty().then_some(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn router(announce: &[&str], scrape: &[&str]) -> Result<Router, RouteError> {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        Router::new(&owned(announce), &owned(scrape))
    }

    /// The parameters that `path` yields on the route `pattern`.
    fn params(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        let router = router(&[pattern], &[]).unwrap();
        let found = router.find(path).unwrap()?;
        Some(found.params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn a_plain_route_matches_itself_only() {
        assert_eq!(params("/announce", "/announce"), Some(vec![]));
        for path in ["/", "/announces", "/announce/x", "/../x", ""] {
            assert_eq!(params("/announce", path), None, "{path}");
        }
    }

    #[test]
    fn a_path_that_httprouter_redirects_is_answered() {
        for path in [
            "/announce/",
            "/Announce",
            "//announce",
            "/./announce",
            "/x/../ANNOUNCE",
            "/announce%2f",
            "/../announce",
        ] {
            assert_eq!(params("/announce", path), Some(vec![]), "{path}");
        }
        assert_eq!(params("/t/", "/t"), Some(vec![]));
        assert_eq!(params("/t/*rest", "/t"), Some(vec![pair("rest", "/")]));
        let route = "/:passkey/announce";
        assert_eq!(params(route, "//K3y//Announce/"), Some(vec![pair("passkey", "K3y")]));
    }

    #[test]
    fn a_path_that_matches_as_it_is_is_not_tidied() {
        let router = router(&["/:any/announce", "/Announce"], &["/announce"]).unwrap();
        let action = |path| router.find(path).unwrap().map(|found| found.action);
        assert_eq!(action("/announce"), Some(Action::Scrape));
        assert_eq!(action("/Announce"), Some(Action::Announce));
        assert_eq!(params("/t/*rest", "/t//A/./b"), Some(vec![pair("rest", "//A/./b")]));
    }

    #[test]
    fn a_named_parameter_is_one_non_empty_segment() {
        let route = "/:PassKey/announce";
        assert_eq!(params(route, "/k3y/announce"), Some(vec![pair("passkey", "k3y")]));
        assert_eq!(params(route, "//announce"), None);
        assert_eq!(params(route, "/a/b/announce"), None);
        assert_eq!(params("/user_:name", "/user_x"), Some(vec![pair("name", "x")]));
    }

    #[test]
    fn a_catch_all_takes_the_rest_with_its_slash() {
        assert_eq!(params("/t/*rest", "/t/a/b"), Some(vec![pair("rest", "/a/b")]));
        assert_eq!(params("/t/*rest", "/t/"), Some(vec![pair("rest", "/")]));
        assert_eq!(params("/*rest", "/"), Some(vec![pair("rest", "/")]));
    }

    #[test]
    fn parameters_are_decoded_and_a_plus_in_a_path_is_a_plus() {
        assert_eq!(params("/:k", "/a%20b+c"), Some(vec![pair("k", "a b+c")]));
        assert_eq!(params("/announce", "/%61nnounce"), Some(vec![]));
        let router = router(&["/:k"], &[]).unwrap();
        assert_eq!(router.find("/%zz"), Err(BadEscape));
    }

    #[test]
    fn the_first_route_that_matches_counts() {
        let router = router(&["/announce", "/:any"], &["/scrape/:x", "/:any/y"]).unwrap();
        let action = |path| router.find(path).unwrap().map(|found| found.action);
        assert_eq!(action("/announce"), Some(Action::Announce));
        assert_eq!(action("/scrape"), Some(Action::Announce));
        assert_eq!(action("/scrape/1"), Some(Action::Scrape));
        assert_eq!(action("/a/b"), None);
    }

    proptest! {
        #[test]
        fn no_pattern_and_no_path_panics(pattern in "/[/:*a%]{0,12}", path in "/[/:*a%]{0,12}") {
            if let Ok(router) = router(&[&pattern], &[]) {
                let _ = router.find(&path);
            }
        }
    }
}
