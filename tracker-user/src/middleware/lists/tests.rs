use std::{fs, sync::mpsc};

use super::*;
use crate::files::tests::put_fifo;

/// No test waits that long unless it fails.
const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn a_list_that_could_not_be_read_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let (list, other) = (folder.path().join("list"), folder.path().join("other"));
    fs::write(&list, "1\n").unwrap();
    let files = vec![list.clone()];
    let metrics = Metrics::new().unwrap();
    let refreshes = metrics.hook_refreshes("test");
    // What the disk says meanwhile is up to the test: the file itself stays as it is.
    let (is_failing, may_read) = (folder.path().join("failing"), list.clone());
    let failing = is_failing.clone();
    let read = move || {
        let path = if failing.exists() { &failing } else { &may_read };
        let mut entries = Vec::new();
        read_words(path, |entry: u8| entries.push(entry))?;
        Ok(Loaded::from(entries))
    };
    let (replaced, lists) = mpsc::channel();
    let replace = move |list: Vec<u8>| {
        replaced.send(list).unwrap();
        Changes::default()
    };
    let follow = follow::<_, crate::middleware::PasskeyError>;
    let _background = follow("test", files, refreshes.clone(), read, replace).unwrap();
    assert_eq!(lists.recv_timeout(PATIENCE).unwrap(), [1]);

    put_fifo(&is_failing);
    fs::write(&other, "2\n").unwrap();
    fs::rename(&other, &list).unwrap();
    let begun = Instant::now();
    while refreshes.failed.get() == 0 {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(lists.try_recv().is_err());
    fs::remove_file(&is_failing).unwrap();
    assert_eq!(lists.recv_timeout(PATIENCE).unwrap(), [2]);
    // Counted after the list has been replaced.
    while refreshes.succeeded.get() == 0 {
        assert!(begun.elapsed() < 2 * PATIENCE);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(refreshes.succeeded.get(), 1);
}
