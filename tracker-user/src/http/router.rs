//! Which paths are announces and which are scrapes: httprouter's patterns, as Chihaya has them.
//!
//! `:name` stands for a non-empty run of characters up to the next `/`, `*name` for the rest of
//! the path, its leading `/` included. Of several routes that match, the first one counts.
//!
//! A path that matches none is looked for once more, tidied up: where httprouter redirects a client, which not
//! every client follows, it is answered at once.

use std::borrow::Cow;

use super::{
    Action,
    query::{Plus, QueryError, decode},
};

/// The most routes that a router takes; each request may be compared with all of them.
pub const ROUTES_MAX: usize = 64;

/// A route that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Paths are absolute.
    #[error("route {0:?} does not begin with /")]
    Relative(String),
    /// A `:` or `*` without a name.
    #[error("route {0:?} has a parameter without a name")]
    Unnamed(String),
    /// Two parameters between two slashes.
    #[error("route {0:?} has two parameters in one segment")]
    TwoParameters(String),
    /// A `*name` that is not a whole segment, or not the last one.
    #[error("route {0:?}: a *parameter must follow the last / of the route")]
    CatchAll(String),
    /// The second of two equal routes could never match.
    #[error("route {0:?} is listed twice")]
    Duplicate(String),
    /// More than [`ROUTES_MAX`].
    #[error("{0} routes are listed, the most is {ROUTES_MAX}")]
    TooMany(usize),
}

impl RouteError {
    /// The route that is meant, where it is one.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        match self {
            Self::Relative(route)
            | Self::Unnamed(route)
            | Self::TwoParameters(route)
            | Self::CatchAll(route)
            | Self::Duplicate(route) => Some(route),
            Self::TooMany(_) => None,
        }
    }
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
        let count = announce.len() + scrape.len();
        if count > ROUTES_MAX {
            return Err(RouteError::TooMany(count));
        }
        let mut router = Self::default();
        for (pattern, action) in announce
            .iter()
            .map(|pattern| (pattern, Action::Announce))
            .chain(scrape.iter().map(|pattern| (pattern, Action::Scrape)))
        {
            let route = Route::parse(pattern)?;
            if router.routes.iter().any(|(other, _)| *other == route) {
                return Err(RouteError::Duplicate(pattern.clone()));
            }
            router.routes.push((route, action));
        }
        Ok(router)
    }

    /// Routes of announces alone, for paths that are of no HTTP request. None where one of them cannot be used,
    /// which [`Router::new`] says.
    #[must_use]
    pub fn of_announces(routes: &[String]) -> Self {
        Self::new(routes, &[]).unwrap_or_default()
    }

    /// Finds the route of `path`, which is still percent-encoded.
    ///
    /// # Errors
    /// [`QueryError::Escape`] when it is not well encoded.
    pub(crate) fn find(&self, path: &str) -> Result<Option<Match<'_>>, QueryError> {
        let path = decode_path(path)?;
        Ok(self.find_as(&path, Case::Same).or_else(|| {
            let tidy = tidied(&path);
            self.find_as(&tidy, Case::Any).or_else(|| self.find_as(&(tidy + "/"), Case::Any))
        }))
    }

    fn find_as(&self, path: &str, case: Case) -> Option<Match<'_>> {
        self.routes.iter().find_map(|(route, action)| {
            route.matches(path, case).map(|params| Match { action: *action, params })
        })
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

fn decode_path(path: &str) -> Result<Cow<'_, str>, QueryError> {
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    let mut decoded = Vec::with_capacity(path.len());
    decode(path, Plus::Literal, &mut decoded)?;
    Ok(Cow::Owned(String::from_utf8_lossy(&decoded).into_owned()))
}

/// A pattern, cut at its parameters.
#[derive(Debug, PartialEq, Eq)]
struct Route {
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    /// `:name`
    Segment(String),
    /// `*name`, always the last part.
    Rest(String),
}

impl Route {
    fn parse(pattern: &str) -> Result<Self, RouteError> {
        let fail = |error: fn(String) -> RouteError| Err(error(pattern.to_owned()));
        if !pattern.starts_with('/') {
            return fail(RouteError::Relative);
        }
        let mut parts = Vec::new();
        let mut rest = pattern;
        while let Some(at) = rest.find([':', '*']) {
            let (literal, parameter) = rest.split_at(at);
            let end = parameter.find('/').unwrap_or(parameter.len());
            let (parameter, after) = parameter.split_at(end);
            let (kind, name) = parameter.split_at(1);
            if name.is_empty() {
                return fail(RouteError::Unnamed);
            }
            if name.contains([':', '*']) {
                return fail(RouteError::TwoParameters);
            }
            let name = name.to_ascii_lowercase();
            if kind == "*" {
                let Some(before) = literal.strip_suffix('/').filter(|_| after.is_empty()) else {
                    return fail(RouteError::CatchAll);
                };
                parts.extend([Part::Literal(before.to_owned()), Part::Rest(name)]);
            } else {
                parts.extend([Part::Literal(literal.to_owned()), Part::Segment(name)]);
            }
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// The parameters, if the path matches.
    fn matches(&self, mut path: &str, case: Case) -> Option<Vec<(&str, String)>> {
        let mut params = Vec::new();
        for part in &self.parts {
            match part {
                Part::Literal(literal) => path = case.strip_prefix(path, literal)?,
                Part::Segment(name) => {
                    let end = path.find('/').unwrap_or(path.len());
                    let (value, after) = path.split_at(end);
                    if value.is_empty() {
                        return None;
                    }
                    params.push((name.as_str(), value.to_owned()));
                    path = after;
                }
                Part::Rest(name) => {
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
        assert_eq!(router.find("/%zz"), Err(QueryError::Escape));
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

    #[test]
    fn a_route_that_cannot_be_used_is_an_error() {
        let error = |pattern: &str| router(&[pattern], &[]).unwrap_err();
        assert_eq!(error("announce"), RouteError::Relative("announce".into()));
        assert_eq!(error("/:"), RouteError::Unnamed("/:".into()));
        assert_eq!(error("/:/a"), RouteError::Unnamed("/:/a".into()));
        assert_eq!(error("/:a:b"), RouteError::TwoParameters("/:a:b".into()));
        assert_eq!(error("/x*a"), RouteError::CatchAll("/x*a".into()));
        assert_eq!(error("/*a/x"), RouteError::CatchAll("/*a/x".into()));
        assert_eq!(router(&["/a"], &["/a"]).unwrap_err(), RouteError::Duplicate("/a".into()));
        let many = vec!["/a"; ROUTES_MAX + 1];
        assert_eq!(router(&many, &[]).unwrap_err(), RouteError::TooMany(ROUTES_MAX + 1));
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
