//! Where the file is.

use super::*;

#[test]
fn the_path_is_expanded_from_the_environment() {
    let load = |path: &str| {
        ConfigFile { path: Some(path.to_owned()), unknown_keys: UnknownKeys::Refuse }.load()
    };
    let Err(ConfigError::Read { file, .. }) = load("${HOME}/no/such/file") else {
        panic!("there is no such file");
    };
    assert_eq!(file, format!("{}/no/such/file", std::env::var("HOME").unwrap()));
    let unset = load("$XDP_TRACKER_UNSET/x").unwrap_err();
    let unset = format!("{:#}", anyhow::Error::from(unset));
    assert!(unset.contains("XDP_TRACKER_UNSET"), "{unset}");
}

#[test]
fn without_a_path_the_first_place_with_a_file_has_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| folder.path().join(name));
    let places = [first.to_str().unwrap(), second.to_str().unwrap()];
    let file = ConfigFile { path: None, unknown_keys: UnknownKeys::Refuse };
    let load = || file.read_from(&places).and_then(Reading::complete);
    let port = || load().unwrap().config.udp.addr[0].to_bind().port();
    assert_eq!(load().unwrap().config, shipped());
    let write = |path: &FilePath, port: u16| {
        fs::write(path, format!("chihaya: {{ udp: {{ addr: ':{port}' }} }}")).unwrap();
    };
    write(&second, 2);
    assert_eq!(port(), 2);
    write(&first, 1);
    assert_eq!(port(), 1);
    // One that cannot be read is not passed over.
    fs::remove_file(&first).unwrap();
    std::os::unix::fs::symlink("missing", &first).unwrap();
    assert!(matches!(load(), Err(ConfigError::Read { .. })));
    let named = ConfigFile { path: Some(places[1].to_owned()), ..file };
    assert_eq!(named.read_from(&places).unwrap().config.unwrap().udp.addr[0].to_bind().port(), 2);
}
