use std::{fs, time::Duration};

use tracker_common::id::InfoHash;

use super::*;
use crate::{
    config::GoDuration,
    middleware::{
        credentials::tests::Ledger,
        tests::{Service as HttpService, announce_of},
    },
    pipeline::Params,
};

fn announce(hook: &Passkey, key: Option<&str>) -> Result<(), Refusal> {
    let mut params = Params::default();
    if let Some(key) = key {
        params.push("passkey", key);
    }
    let request = AnnounceRequest { params, ..announce_of(InfoHash([1; 20])) };
    hook.announce(&request, &mut AnnounceResponse::default())
}

fn invalid() -> Result<(), Refusal> {
    Err(Refusal::Client("unapproved request: invalid passkey".into()))
}

/// A hook that asks only when the test tells it to.
struct Stage {
    http: HttpService,
    hook: Passkey,
    service: Service,
    _woken: Receiver<()>,
    ledger: Arc<Ledger>,
    metrics: Metrics,
}

impl Stage {
    fn new(answer: &str) -> Self {
        let http = HttpService::start(answer);
        let (metrics, ledger) = (Metrics::new().unwrap(), Arc::new(Ledger::default()));
        let config = options(&http.url);
        let url = config.url.as_ref().unwrap();
        let made = Keys::of_service(&config, url, &metrics, ledger.clone());
        let (keys, service, woken) = made.unwrap();
        Self { http, hook: Passkey { keys }, service, _woken: woken, ledger, metrics }
    }

    /// What the hook says when it has asked.
    fn announce(&mut self, key: &str) -> Result<(), Refusal> {
        let Err(Refusal::Pending(pending)) = announce(&self.hook, Some(key)) else {
            panic!("was known");
        };
        self.service.ask();
        assert!(pending.has_ended());
        announce(&self.hook, Some(key))
    }
}

fn options(url: &str) -> PasskeyConfig {
    PasskeyConfig {
        files: Vec::new(),
        url: Some(url.into()),
        timeout: GoDuration::from_secs(10),
        admitted_lifetime: GoDuration::from_secs(600),
        refused_lifetime: GoDuration::from_secs(60),
        answers_max: 100,
        unknown_keys: 100_000,
        unknown_keys_per_source: 1000,
    }
}

fn files(files: Vec<PathBuf>) -> PasskeyConfig {
    PasskeyConfig { files, ..PasskeyConfig::default() }
}

#[test]
fn keys_in_a_file_are_approved_of_and_leave_a_grant() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "\u{feff}k3y # of a user\r\n# no\r\n0ther\r\n").unwrap();
    let ledger = Arc::new(Ledger::default());
    let options = files(vec![file.path().to_owned()]);
    let hook = Passkey::new(&options, &Metrics::new().unwrap(), ledger.clone()).unwrap();
    assert_eq!(announce(&hook, Some("no")), invalid());
    assert_eq!(announce(&hook, Some("")), invalid());
    assert_eq!(ledger.grants(), []);
    assert_eq!(announce(&hook, Some("k3y")), Ok(()));
    assert_eq!(announce(&hook, Some("0ther")), Ok(()));
    assert_eq!(ledger.grants().len(), 2);
}

#[test]
fn a_key_that_is_taken_out_of_its_file_changes_the_revision() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "k3y\n0ther\n").unwrap();
    let options = files(vec![file.path().to_owned()]);
    let hook =
        Passkey::new(&options, &Metrics::new().unwrap(), Arc::new(Ledger::default())).unwrap();
    let before = hook.revision();
    fs::write(file.path(), "0ther\n").unwrap();
    while hook.revision() == before {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(announce(&hook, Some("k3y")), invalid());
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_at_start() {
    let options = files(vec!["/no/such/list".into()]);
    let hook = Passkey::new(&options, &Metrics::new().unwrap(), Arc::new(Ledger::default()));
    assert_eq!(hook.err().unwrap().to_string(), "cannot read the list /no/such/list");
}

#[test]
fn an_announce_without_a_key_is_told_so() {
    let missing = Refusal::Client("unapproved request: missing passkey".into());
    assert_eq!(announce(&Stage::new("{}").hook, None), Err(missing));
}

#[test]
fn a_service_is_asked_once_about_a_key_and_its_word_counts() {
    let mut stage = Stage::new(r#"{"passkeys":["good"]}"#);
    assert_eq!(stage.announce("good"), Ok(()));
    assert_eq!(stage.announce("bad"), invalid());
    assert_eq!(announce(&stage.hook, Some("good")), Ok(()));
    assert_eq!(announce(&stage.hook, Some("bad")), invalid());
    let questions = [r#"{"passkeys":["good"]}"#, r#"{"passkeys":["bad"]}"#];
    assert_eq!(stage.http.questions(), questions);
}

#[test]
fn a_grant_lasts_as_long_as_the_answer_counts() {
    let mut stage = Stage::new(r#"{"passkeys":["good"]}"#);
    stage.announce("good").unwrap();
    let expires_at = stage.ledger.grants()[0].expires_at;
    let left = expires_at.duration_since(SystemTime::now()).unwrap();
    assert!((500..=600).contains(&left.as_secs()), "{left:?}");
}

#[test]
fn a_key_that_is_too_long_is_not_asked_about() {
    let stage = Stage::new("{}");
    assert_eq!(announce(&stage.hook, Some(&"x".repeat(KEY_BYTES_MAX + 1))), invalid());
    assert!(matches!(
        announce(&stage.hook, Some(&"x".repeat(KEY_BYTES_MAX))),
        Err(Refusal::Pending(_))
    ));
}

#[test]
fn a_service_that_is_down_or_talks_nonsense_is_a_fault_of_ours() {
    let mut stage = Stage::new(r#"{"passkeys":["good"]}"#);
    assert_eq!(stage.announce("good"), Ok(()));
    stage.http.go_down();
    let unknown = Refusal::Internal("the hook `passkey` is not answered by its service".to_owned());
    assert_eq!(stage.announce("new"), Err(unknown.clone()));
    stage.http.come_back();
    for (i, nonsense) in ["", "[]", "{}", r#"{"passkeys":[1]}"#].into_iter().enumerate() {
        stage.http.answer(nonsense);
        assert_eq!(stage.announce(&format!("{i}")), Err(unknown.clone()), "{nonsense}");
    }
    assert_eq!(announce(&stage.hook, Some("good")), Ok(()));
    let refreshes = stage.metrics.hook_refreshes("passkey");
    assert_eq!((refreshes.succeeded.get(), refreshes.failed.get()), (1, 5));
}

#[test]
fn a_client_whose_address_has_brought_too_many_keys_is_told_so_and_counted() {
    let mut stage = Stage::new(r#"{"passkeys":["good"]}"#);
    stage.announce("good").unwrap();
    let limited = Err(Refusal::Client("unapproved request: too many unknown passkeys".into()));
    let is_limited = |key: u32| announce(&stage.hook, Some(&key.to_string())) == limited;
    assert!((0..100_000).any(is_limited));
    assert_eq!(stage.metrics.limit_reached("passkeys_per_source").get(), 1);
    assert_eq!(announce(&stage.hook, Some("good")), Ok(()));
}

#[tokio::test]
async fn the_hook_asks_by_itself() {
    let http = HttpService::start(r#"{"passkeys":["good"]}"#);
    let options = options(&http.url);
    let metrics = Metrics::new().unwrap();
    let hook = Passkey::new(&options, &metrics, Arc::new(Ledger::default())).unwrap();
    let Err(Refusal::Pending(pending)) = announce(&hook, Some("good")) else { panic!("was known") };
    pending.ended().await;
    assert_eq!(announce(&hook, Some("good")), Ok(()));
}

#[test]
fn the_kernel_is_told_of_grants() {
    assert!(matches!(Stage::new("{}").hook.offload(), Offload::Grants));
}

#[test]
fn a_line_that_is_wrong_is_named_without_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys");
    fs::write(&file, "0123\nalice 4567\n").unwrap();
    let error = read_files(&[file]).unwrap_err().to_string();
    assert!(error.contains("keys:2: ") && !error.contains("4567"), "{error}");
    assert!(!error.contains("alice"), "{error}");
}
