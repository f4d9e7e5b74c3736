use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tracker_common::{announce::Event, id::InfoHash};

use super::*;
use crate::middleware::tests::{Service, announce_of};

const PATIENCE: Duration = Duration::from_secs(30);

fn options(service: &Service) -> ReportConfig {
    ReportConfig {
        url: service.url.clone().into(),
        announces: ReportedAnnounces::Every,
        parameters: vec!["PassKey".to_owned()],
        interval: Duration::from_millis(1).into(),
        timeout: Duration::from_secs(10).into(),
        batch_max: 1,
        queue_max: 1000,
    }
}

fn announce(report: &Report, torrent: u8) {
    let mut request = announce_of(InfoHash([torrent; 20]));
    request.params.push("passkey", "k3y");
    request.params.push("key", "is not told");
    report.announced(&request, &AnnounceResponse::default());
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A hook that could not tell its service of torrent 0, for the service is down.
fn of_a_service_that_is_down(change: impl FnOnce(&mut ReportConfig)) -> (Service, Metrics, Report) {
    let (service, metrics) = (Service::start(""), Metrics::new().unwrap());
    service.go_down();
    let mut options = options(&service);
    change(&mut options);
    let report = Report::new(&options, &metrics).unwrap();
    announce(&report, 0);
    eventually("it is tried", || metrics.reports().failures.get() > 0);
    (service, metrics, report)
}

fn batches(service: &Service) -> Vec<Value> {
    service.questions().iter().map(|body| serde_json::from_str(body).unwrap()).collect()
}

#[test]
fn an_announce_is_told_with_the_parameters_that_are_named() {
    let service = Service::start("");
    let metrics = Metrics::new().unwrap();
    let report = Report::new(&options(&service), &metrics).unwrap();
    announce(&report, 0xab);
    report.worker.stop();
    let [batch] = &batches(&service)[..] else { panic!("one batch") };
    assert_eq!(batch["batch"], 1);
    assert_eq!(batch["tracker"].as_str().unwrap().len(), 16);
    let mut told = batch["announces"][0].clone();
    assert!(told["at"].take().as_f64().unwrap() > 1.7e9);
    assert_eq!(
        told,
        json!({
            "at": null,
            "info_hash": "ab".repeat(20),
            "peer_id": "2d5452343035302d6162636465666768696a6b6c",
            "ip": "192.0.2.1",
            "port": 6881,
            "event": "started",
            "uploaded": 0,
            "downloaded": 0,
            "left": 1,
            "parameters": { "passkey": "k3y" },
        })
    );
    assert_eq!(metrics.reports().delivered.get(), 1);
}

#[test]
fn an_announce_of_the_interval_has_an_empty_event_and_who_shows_no_key_no_parameter() {
    let mut request = announce_of(InfoHash([1; 20]));
    request.event = Event::None;
    request.params.push("passkey", "k".repeat(257));
    let names: Arc<[String]> = ["passkey".to_owned()].into();
    let told = Record::new(&request, &names, 1_700_000_000_123_456_789);
    let told = serde_json::to_value(&told).unwrap();
    assert_eq!((&told["event"], &told["parameters"]), (&json!(""), &json!({})));
    assert_eq!(told["at"], 1_700_000_000.123);
}

#[test]
fn what_a_service_could_choke_on_is_not_told() {
    let mut request = announce_of(InfoHash([1; 20]));
    request.uploaded = u64::MAX;
    request.params.push("passkey", "k\0");
    let names: Arc<[String]> = ["passkey".to_owned(), "key".to_owned()].into();
    request.params.push("key", "k");
    let told = serde_json::to_value(Record::new(&request, &names, 0)).unwrap();
    assert_eq!(told["uploaded"], i64::MAX);
    assert_eq!(told["parameters"], json!({ "key": "k" }));
}

#[test]
fn a_batch_is_repeated_under_its_number_until_it_is_taken_and_what_comes_meanwhile_follows() {
    let (service, metrics, report) = of_a_service_that_is_down(|_| ());
    announce(&report, 2);
    assert_eq!(metrics.reports().queued.get(), 2);
    service.come_back();
    eventually("it is taken", || metrics.reports().delivered.get() == 2);
    let batches = batches(&service);
    let (last, repeated) = batches.split_last().unwrap();
    assert!(repeated.iter().all(|batch| batch == &repeated[0]));
    assert_eq!((&repeated[0]["batch"], &last["batch"]), (&json!(1), &json!(2)));
    assert_eq!(last["announces"][0]["info_hash"], "02".repeat(20));
    assert_eq!(metrics.reports().queued.get(), 0);
}

#[test]
fn the_announce_that_a_service_does_not_like_is_found_and_given_up() {
    let (service, metrics, report) = of_a_service_that_is_down(|config| config.batch_max = 16);
    service.refuse(&"07".repeat(20));
    (1..16).for_each(|torrent| announce(&report, torrent));
    service.come_back();
    eventually("all are told but one", || {
        (metrics.reports().delivered.get(), metrics.reports().refused.get()) == (15, 1)
    });
    assert_eq!(metrics.reports().queued.get(), 0);
    let mut by_number = BTreeMap::new();
    for batch in batches(&service) {
        let same = by_number.entry(batch["batch"].as_u64()).or_insert_with(|| batch.clone());
        assert_eq!(*same, batch, "a number stands for one batch");
    }
}

#[test]
fn the_rest_of_an_answer_does_not_matter() {
    let service = Service::start("x".repeat(2 << 20));
    let metrics = Metrics::new().unwrap();
    let report = Report::new(&options(&service), &metrics).unwrap();
    announce(&report, 1);
    eventually("it is taken", || metrics.reports().delivered.get() == 1);
    assert_eq!(metrics.reports().failures.get(), 0);
}

#[test]
fn who_redirects_has_taken_nothing() {
    let service = Service::start("");
    service.answer_with_status(302);
    let metrics = Metrics::new().unwrap();
    let report = Report::new(&options(&service), &metrics).unwrap();
    announce(&report, 1);
    eventually("it fails", || metrics.reports().failures.get() > 0);
    service.answer_with_status(200);
    eventually("it is told again", || metrics.reports().delivered.get() == 1);
}

#[test]
fn those_that_find_the_queue_full_are_dropped_and_counted() {
    let metrics = Metrics::new().unwrap();
    let dropped = metrics.limit_reached("report_queue");
    let queue = Queue::new(2, metrics.reports().queued, dropped.clone());
    let record = || Record::new(&announce_of(InfoHash([1; 20])), &[].into(), 0);
    let put = [queue.put(record()), queue.put(record()), queue.put(record())];
    assert_eq!(put, [Some(1), Some(2), None]);
    assert_eq!(dropped.get(), 1);
    assert_eq!((queue.take(1).len(), queue.take(9).len()), (1, 1));
    assert_eq!(metrics.reports().queued.get(), 2, "they are not done with");
    queue.done(2);
    assert_eq!(metrics.reports().queued.get(), 0);
}

#[test]
fn a_service_that_is_down_is_left_alone_however_many_announces_come() {
    let (_service, metrics, report) = of_a_service_that_is_down(|options| options.queue_max = 1);
    let (failures, started) = (metrics.reports().failures.get(), Instant::now());
    eventually("it is tried again", || {
        (0..100).for_each(|_| announce(&report, 2));
        metrics.reports().failures.get() >= failures + 2
    });
    // One pause may have been over already.
    assert!(started.elapsed() > Duration::from_millis(900), "it was asked again and again");
    assert!(metrics.limit_reached("report_queue").get() > 0);
}

#[test]
fn a_full_batch_does_not_wait_for_the_interval() {
    let service = Service::start("");
    let metrics = Metrics::new().unwrap();
    let options =
        ReportConfig { interval: (PATIENCE * 2).into(), batch_max: 2, ..options(&service) };
    let report = Report::new(&options, &metrics).unwrap();
    // By then it rests.
    thread::sleep(Duration::from_millis(50));
    announce(&report, 1);
    announce(&report, 2);
    eventually("both are told", || metrics.reports().delivered.get() == 2);
}

#[test]
fn the_end_waits_for_a_hook_that_a_reload_has_replaced() {
    let (service, metrics) = (Service::start(""), Metrics::new().unwrap());
    let reports = Reports::default();
    service.go_down();
    let hook = reports.start(&options(&service), &metrics).unwrap();
    announce(&hook, 1);
    eventually("it is tried", || metrics.reports().failures.get() > 0);
    let other = ReportConfig { queue_max: 7, ..options(&service) };
    let _other = reports.start(&other, &metrics).unwrap();
    drop(hook);
    service.come_back();
    reports.stop(&metrics);
    assert_eq!(metrics.reports().delivered.get(), 1);
}

#[test]
fn what_waits_when_the_hook_is_dropped_is_told() {
    let service = Service::start("");
    let metrics = Metrics::new().unwrap();
    let options = ReportConfig { interval: (PATIENCE * 2).into(), ..options(&service) };
    let report = Report::new(&options, &metrics).unwrap();
    announce(&report, 1);
    drop(report);
    eventually("it is told", || metrics.reports().delivered.get() == 1);
}
