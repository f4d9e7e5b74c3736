//! Configuration files.

use tracker_user::config::{UnknownKeys, parse, to_yaml};

/// The bytes are the file, if they are text.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for unknown_keys in [UnknownKeys::Refuse, UnknownKeys::Ignore] {
        match parse("fuzz.yaml", text, unknown_keys) {
            Ok(loaded) => {
                // Written out again it is the same.
                let again = to_yaml(&loaded.config).expect("a configuration can be written");
                let other = parse("again.yaml", &again, UnknownKeys::Refuse)
                    .unwrap_or_else(|error| panic!("{error}\n{again}"));
                assert_eq!(loaded.config, other.config, "{again}");
            }
            Err(error) => assert!(!error.to_string().is_empty(), "an error that says nothing"),
        }
    }
}
