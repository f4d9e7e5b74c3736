//! The URL of a service that a hook asks or tells.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::pattern;

const HIDDEN: &str = "(hidden)";

/// The URL of a service. It may hold a password or a token, so what is printed, logged and serialized has
/// neither the user information before the host nor the query: `https://(hidden)@host/path?(hidden)`.
#[derive(Clone, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[schemars(extend("pattern" = pattern::SERVICE_URL))]
#[serde(transparent)]
pub struct ServiceUrl(String);

impl ServiceUrl {
    /// The whole URL, for the request itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl<T: Into<String>> From<T> for ServiceUrl {
    fn from(url: T) -> Self {
        Self(url.into())
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A text of another form may be a secret as a whole.
        let Some((scheme, rest)) = self.0.split_once("://") else { return f.write_str(HIDDEN) };
        write!(f, "{scheme}://")?;
        // A password may have any character but a slash; the last `@` is before the host.
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (login, host) = authority.rsplit_once('@').unzip();
        if login.is_some() {
            write!(f, "{HIDDEN}@")?;
        }
        let place = format!("{}{path}", host.unwrap_or(authority));
        let end = place.find(['?', '#']);
        f.write_str(&place[..end.unwrap_or(place.len())])?;
        if end.is_some() { write!(f, "?{HIDDEN}") } else { Ok(()) }
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ServiceUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_password_and_a_query_of_a_url_are_not_shown() {
        for (url, shown) in [
            ("https://issuer.example/keys", "https://issuer.example/keys"),
            ("http://h", "http://h"),
            ("https://user:pass@h:8443/keys", "https://(hidden)@h:8443/keys"),
            ("https://a@b@h/", "https://(hidden)@h/"),
            ("https://h/keys?token=secret", "https://h/keys?(hidden)"),
            ("https://h?secret", "https://h?(hidden)"),
            ("https://h/#secret", "https://h/?(hidden)"),
            ("https://u:p?w@h/", "https://(hidden)@h/"),
            ("user:secret@h", "(hidden)"),
        ] {
            let url = ServiceUrl::from(url);
            assert_eq!([url.to_string(), format!("{url:?}")], [shown, shown]);
            assert_eq!(serde_json::to_value(&url).unwrap(), shown);
        }
    }

    proptest! {
        #[test]
        fn no_url_shows_its_secrets(
            user in "[a-z]{1,4}", host in "[a-z.]{1,9}", path in "(/[a-z]{1,4}){0,3}",
        ) {
            let url = ServiceUrl::from(format!("https://{user}:SECRET@{host}{path}?key=SECRET"));
            let shown = format!("{url} {url:?}");
            prop_assert!(!shown.contains("SECRET"));
        }
    }
}
