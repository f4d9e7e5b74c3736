//! Routes as they are written: httprouter's patterns, as Chihaya has them.
//!
//! `:name` stands for a non-empty run of characters up to the next `/`, `*name` for the rest of
//! the path, its leading `/` included.

/// The most routes of announces and scrapes together; each request may be compared with all of them.
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

/// A route, cut at its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Each ends where the next begins; the last one ends with the path.
    pub(crate) parts: Vec<RoutePart>,
}

/// A piece of a [`Route`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoutePart {
    /// Itself.
    Literal(String),
    /// `:name`, in lower case.
    Segment(String),
    /// `*name`, in lower case; always the last part.
    Rest(String),
}

impl Route {
    /// The routes of these lists, of announces and of scrapes.
    ///
    /// # Errors
    /// The first of them that cannot be used.
    pub fn parse_all(
        announces: &[String],
        scrapes: &[String],
    ) -> Result<[Vec<Self>; 2], RouteError> {
        let count = announces.len() + scrapes.len();
        if count > ROUTES_MAX {
            return Err(RouteError::TooMany(count));
        }
        let mut lists = [Vec::new(), Vec::new()];
        for (index, routes) in [announces, scrapes].into_iter().enumerate() {
            for pattern in routes {
                let route = Self::parse(pattern)?;
                if lists.iter().any(|list| list.contains(&route)) {
                    return Err(RouteError::Duplicate(pattern.clone()));
                }
                lists[index].push(route);
            }
        }
        Ok(lists)
    }

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
                parts.extend([RoutePart::Literal(before.to_owned()), RoutePart::Rest(name)]);
            } else {
                parts.extend([RoutePart::Literal(literal.to_owned()), RoutePart::Segment(name)]);
            }
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(RoutePart::Literal(rest.to_owned()));
        }
        Ok(Self { parts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_all(announces: &[&str], scrapes: &[&str]) -> Result<[Vec<Route>; 2], RouteError> {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        Route::parse_all(&owned(announces), &owned(scrapes))
    }

    #[test]
    fn a_route_that_cannot_be_used_is_an_error() {
        let error = |pattern: &str| parse_all(&[pattern], &[]).unwrap_err();
        assert_eq!(error("announce"), RouteError::Relative("announce".into()));
        assert_eq!(error("/:"), RouteError::Unnamed("/:".into()));
        assert_eq!(error("/:/a"), RouteError::Unnamed("/:/a".into()));
        assert_eq!(error("/:a:b"), RouteError::TwoParameters("/:a:b".into()));
        assert_eq!(error("/x*a"), RouteError::CatchAll("/x*a".into()));
        assert_eq!(error("/*a/x"), RouteError::CatchAll("/*a/x".into()));
        assert_eq!(parse_all(&["/a"], &["/a"]).unwrap_err(), RouteError::Duplicate("/a".into()));
        let many = vec!["/a"; ROUTES_MAX + 1];
        assert_eq!(parse_all(&many, &[]).unwrap_err(), RouteError::TooMany(ROUTES_MAX + 1));
    }
}
