//! The query of an HTTP request.

use tracker_user::http::query::{PARAMETERS_MAX, Query};

/// The bytes are the query, if they are text.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut query = Query::default();
    if query.parse(text).is_err() {
        return;
    }
    assert!(query.iter().count() <= PARAMETERS_MAX, "too many parameters");
    // Written out again it is the same. In upper case, for `INFO_HASH` is a key like any other.
    let mut again = String::new();
    for (key, value) in query.iter() {
        again.push_str(&format!("{}={}&", escaped(&key.to_ascii_uppercase()), escaped(value)));
        assert!(!key.iter().any(u8::is_ascii_uppercase), "a key in upper case");
    }
    for info_hash in query.info_hashes() {
        again.push_str(&format!("info_hash={}&", escaped(&info_hash.0)));
    }
    let mut other = Query::default();
    other.parse(&again).expect("a query that was read is written and cannot be read");
    assert!(query.iter().eq(other.iter()), "{text:?} is not {again:?}");
    assert_eq!(query.info_hashes(), other.info_hashes());
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("%{byte:02x}")).collect()
}
