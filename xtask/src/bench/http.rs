//! `bench http`: announces per second over HTTP, on one processor.

use std::net::SocketAddr;

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tracker_tests::{Namespace, Program};

use super::{
    cable::PORT,
    loader::TRACKER,
    processor::CpuClock,
    profile::{Load, Profile},
    report::{self, Cell, Table},
    stats::{Series, Turns},
    subject::{
        http::HttpKind,
        mode::{Certificate, Mode},
    },
    web,
    wrk::{self, Wrk},
};
use crate::apt;

/// What `cargo xtask bench http` accepts.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    turns: Turns,
}

impl Args {
    /// See [`super::Bench::shorten`].
    pub fn shorten(&mut self) {
        self.turns.shorten();
    }
}

/// The first is what the others are compared to.
const KINDS: [HttpKind; 3] = [HttpKind::Opentracker, HttpKind::Aquatic, HttpKind::XdpTracker];

/// What is started beside the trackers.
const PROGRAMS: [apt::Program; 3] = [("openssl", "openssl"), ("sysctl", "procps"), ("wrk", "wrk")];

/// Of wrk, which counts in whole seconds.
const TURN_S: u64 = 1;

/// Measures.
///
/// # Errors
/// A tracker does not answer.
pub fn run(args: &Args) -> Result<()> {
    KINDS.iter().try_for_each(|kind| kind.install())?;
    apt::provide(&PROGRAMS)?;
    let mut table = Table::new(
        "HTTP announces by wrk, 64 connections, profile hot, one processor each",
        &[
            "TLS",
            "connections",
            "subject",
            "replies/s",
            "spread",
            "of the first",
            "replies/CPU-s",
            "reply bytes",
        ],
    );
    let folder = TempDir::new()?;
    let certificate = Certificate::new(folder.path())?;
    let load = Load::new(Profile::Hot.figures(), 0);
    let wrk = Wrk::new(folder.path(), &load.joins())?;
    for certificate in [None, Some(&certificate)] {
        for keeps in [false, true] {
            measure(Mode { keeps, certificate }, &load, &wrk, &args.turns, &mut table)?;
        }
    }
    table.note("opentracker has no TLS and closes every connection.");
    report::publish("http", &[table])
}

fn measure(
    mode: Mode<'_>,
    load: &Load,
    wrk: &Wrk<'_>,
    turns: &Turns,
    table: &mut Table,
) -> Result<()> {
    let is_tls = mode.certificate.is_some();
    let kinds = if is_tls { &KINDS[1..] } else { &KINDS };
    let folder = TempDir::new()?;
    let start = |kind: &HttpKind| -> Result<_> {
        let host = Namespace::new()?;
        // Many connections come and go.
        host.run("sysctl", &["-qw", "net.ipv4.ip_local_port_range=1024 65535"])?;
        let program = kind.start(&host, mode, &load.figures, folder.path())?;
        Ok((host, program))
    };
    let trackers: Vec<(Namespace, Program)> = kinds
        .iter()
        .map(|kind| start(kind).with_context(|| format!("starting {}", kind.name())))
        .collect::<Result<_>>()?;
    let scheme = if is_tls { "https" } else { "http" };
    let run = |host| wrk.run(host, scheme, PORT, mode.keeps, TURN_S);
    for (host, _) in &trackers {
        run(host)?;
    }
    let mut series = vec![[Series::default(), Series::default()]; kinds.len()];
    for _ in 0..turns.rounds {
        for ((host, program), [per_s, per_cpu_s]) in trackers.iter().zip(&mut series) {
            let clock = CpuClock::of(program)?;
            let rate = run(host)?;
            per_s.0.push(rate);
            per_cpu_s.0.push(rate * TURN_S as f64 / clock.elapsed()?.as_secs_f64());
        }
    }
    for ((kind, (host, _)), [per_s, per_cpu_s]) in kinds.iter().zip(&trackers).zip(&series) {
        let bytes = if is_tls { f64::NAN } else { check(host, load)? as f64 };
        table.push(vec![
            if is_tls { "yes" } else { "no" }.into(),
            if mode.keeps { "kept" } else { "closed" }.into(),
            kind.name().into(),
            Cell::number(per_s.median(), 0),
            Cell::spread(per_s),
            Cell::ratio(per_s.relative_to(&series[0][0]).median()),
            Cell::number(per_cpu_s.median(), 0),
            Cell::number(bytes, 0),
        ]);
    }
    Ok(())
}

/// Looks at the reply to one announce. Returns its length.
fn check(host: &Namespace, load: &Load) -> Result<usize> {
    let path = wrk::path(&load.joins()[0]);
    let reply = web::get(host, SocketAddr::from((TRACKER, PORT)), &path)?;
    let has = |key: &[u8]| reply.windows(key.len()).any(|window| window == key);
    ensure!(has(b"8:interval") && has(b"5:peers"), "{}", reply.escape_ascii());
    Ok(reply.len())
}
