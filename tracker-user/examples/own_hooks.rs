//! The whole daemon with two hooks of its own:
//! `cargo run -p tracker-user --example own_hooks -- config.yaml`.

use anyhow::Context as _;
use tracker_user::{
    AnnounceRequest, AnnounceResponse, Event, Interest, PostHook, PreHook, Refusal, Tracker,
    config::{ConfigFile, UnknownKeys},
};

/// Refuses peers on ports that only root can listen on. As it says nothing of the kernel (see
/// `PreHook::offload`), every announce is passed to it.
struct UserPorts;

impl PreHook for UserPorts {
    fn name(&self) -> &'static str {
        "user ports"
    }

    fn announce(&self, request: &AnnounceRequest, _: &mut AnnounceResponse) -> Result<(), Refusal> {
        if request.peer.port() >= 1024 {
            return Ok(());
        }
        Err(Refusal::Client("use a port above 1023".into()))
    }
}

/// Prints completed downloads. Of what the kernel answers it is told no more than it needs.
struct Downloads;

impl PostHook for Downloads {
    fn name(&self) -> &'static str {
        "downloads"
    }

    fn announced(&self, request: &AnnounceRequest, response: &AnnounceResponse) {
        if request.event == Event::Completed {
            println!("{} has {} seeders now", request.info_hash, response.swarm.seeders);
        }
    }

    fn interest(&self) -> Interest {
        Interest::Transitions
    }
}

fn main() -> anyhow::Result<()> {
    let path = std::env::args().nth(1).context("usage: own_hooks CONFIG")?;
    let file = ConfigFile { path: Some(path), unknown_keys: UnknownKeys::Refuse };
    Tracker::builder().config(file).pre_hook(UserPorts).post_hook(Downloads).run()
}
