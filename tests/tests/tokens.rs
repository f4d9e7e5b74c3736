//! Torrents that are announced with a token (JWT) or a passkey: the daemon verifies it once, and the
//! kernel goes by the grant for as long as the token and its key are good.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    rand::SystemRandom,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use serde_json::{Value, json};
use tracker_tests::{
    Announce, Family, Host, InfoHash, Mode, Options, Scratch, Tracker, UdpClient, eventually,
};

const TORRENT: InfoHash = InfoHash(*b"a torrent for member");
const OTHER: InfoHash = InfoHash(*b"another one for them");

/// Announces that the kernel must answer by one grant.
const ANNOUNCES: u32 = 1000;

/// Signs tokens.
struct Key {
    id: &'static str,
    pair: Ed25519KeyPair,
}

impl Key {
    fn new(id: &'static str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("randomness");
        Self { id, pair: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("a fresh key") }
    }

    fn public(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "kid": self.id, "x": x })
    }

    /// The URL data of an announce with a token that is good for so many seconds.
    fn url_data(&self, seconds: u64) -> Result<String> {
        let encode = |json: Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let exp = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() + seconds;
        let infohash = String::from_utf8(TORRENT.0.to_vec())?;
        let header = encode(json!({ "alg": "EdDSA", "kid": self.id }));
        let claims = encode(json!({
            "iss": "https://issuer.test",
            "aud": "the tracker",
            "infohash": infohash,
            "exp": exp,
        }));
        let signature = self.pair.sign(format!("{header}.{claims}").as_bytes());
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Ok(format!("/announce?jwt={header}.{claims}.{signature}"))
    }
}

/// An HTTP server that publishes keys, until the test's process ends.
struct Issuer {
    address: SocketAddr,
    keys: Arc<Mutex<Value>>,
}

impl Issuer {
    fn start(host: &Host, keys: &[&Key]) -> Result<Self> {
        let listener = host.namespace.enter(|| TcpListener::bind("127.0.0.1:0"))?;
        let issuer = Self { address: listener.local_addr()?, keys: Arc::default() };
        issuer.publish(keys);
        let keys = Arc::clone(&issuer.keys);
        thread::spawn(move || -> Result<()> {
            for stream in listener.incoming() {
                let mut stream = stream?;
                let head = BufReader::new(&stream).lines();
                head.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                let body = keys.lock().expect("nobody panics").to_string();
                let length = body.len();
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                     Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                )?;
            }
            Ok(())
        });
        Ok(issuer)
    }

    fn publish(&self, keys: &[&Key]) {
        let keys: Vec<_> = keys.iter().map(|key| key.public()).collect();
        *self.keys.lock().expect("nobody panics") = json!({ "keys": keys });
    }

    /// The tracker's hook that goes by these keys.
    fn hook(&self) -> String {
        format!(
            "[ {{ name: jwt, options: {{ issuer: 'https://issuer.test', audience: the tracker, \
             jwk_set_url: 'http://{}/keys', jwk_set_update_interval: 1s }} }} ]",
            self.address
        )
    }
}

/// A client with the tracker that it announces to.
struct Client<'a> {
    tracker: &'a Tracker<'a>,
    udp: UdpClient,
    torrent: InfoHash,
}

impl Client<'_> {
    fn announce(&mut self, url_data: &str) -> Result<()> {
        self.udp.announce_with(&Announce::leecher(self.torrent, 1), url_data).map(drop)
    }

    /// How many announces the kernel has decided on.
    fn in_kernel(&self) -> Result<f64> {
        Ok(self.tracker.metrics()?.requests(Some("announce"), "kernel"))
    }

    /// Fails unless the kernel answers so many in a row.
    fn ensure_kernel_answers(&mut self, url_data: &str, announces: u32) -> Result<()> {
        let before = self.in_kernel()?;
        for _ in 0..announces {
            self.announce(url_data)?;
        }
        let answered = self.in_kernel()? - before;
        ensure!(answered == f64::from(announces), "the kernel answered {answered} of {announces}");
        Ok(())
    }

    fn ensure_refused(&mut self, url_data: &str, reason: &str) -> Result<()> {
        let error = self.announce(url_data).err().map(|error| error.to_string());
        let error = error.unwrap_or_else(|| "it is answered".to_owned());
        ensure!(error.contains(reason), "not '{reason}': {error}");
        Ok(())
    }

    /// Announces until it is refused. From then on it always must be, and never by the kernel.
    fn ensure_refused_in_the_end(&mut self, url_data: &str, reason: &str) -> Result<()> {
        eventually(|| self.ensure_refused(url_data, reason))?;
        let before = self.in_kernel()?;
        (0..20).try_for_each(|_| self.ensure_refused(url_data, reason))?;
        ensure!(self.in_kernel()? == before, "the kernel has answered");
        Ok(())
    }
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_token_is_verified_once_and_good_until_it_ends_or_its_key_goes() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let (kept, removed) = (Key::new("kept"), Key::new("removed"));
    let issuer = Issuer::start(&server, &[&kept, &removed])?;
    let hook = issuer.hook();
    let options = Options { prehooks: &hook, ..Options::new(Mode::Native) };
    let tracker = Tracker::start_with(&server, &options, folder.path())?;
    let udp = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
    let mut client = Client { tracker: &tracker, udp, torrent: TORRENT };

    const INVALID: &str = "unapproved request: invalid jwt";
    client.ensure_refused("", "unapproved request: missing jwt")?;
    client.ensure_refused("/announce?jwt=x", INVALID)?;
    ensure!(client.in_kernel()? == 0.0, "the kernel has decided on an announce without a grant");

    let long = removed.url_data(3600)?;
    client.announce(&long)?;
    ensure!(client.in_kernel()? == 0.0, "the first announce with a token is not the daemon's");
    client.ensure_kernel_answers(&long, ANNOUNCES)?;

    issuer.publish(&[&kept]);
    client.ensure_refused_in_the_end(&long, INVALID)?;

    let short = kept.url_data(10)?;
    client.announce(&short)?;
    client.ensure_refused_in_the_end(&short, INVALID)
}

#[test]
#[ignore = "needs root and BPF: `cargo xtask test e2e`"]
fn a_passkey_is_looked_up_once_for_each_torrent_and_good_until_it_goes() -> Result<()> {
    let folder = Scratch::new()?;
    let ([server, client], _far_end) = Host::pair()?;
    let keys = folder.path().join("passkeys");
    fs::write(&keys, "k3y\nan0ther\n")?;
    let hook = format!("[ {{ name: passkey, options: {{ files: [ '{}' ] }} }} ]", keys.display());
    let tracker = Tracker::start(&server, Mode::Native, folder.path())?;
    // Room for grants is there whenever the hook comes.
    let options = Options { prehooks: &hook, ..Options::new(Mode::Native) };
    tracker.reload(&options, folder.path())?;

    const URL_DATA: &str = "/announce?passkey=k3y";
    const INVALID: &str = "unapproved request: invalid passkey";
    let mut clients = Vec::new();
    for torrent in [TORRENT, OTHER] {
        let udp = UdpClient::connect(&client.namespace, tracker.address(Family::Ipv4))?;
        let mut client = Client { tracker: &tracker, udp, torrent };
        client.ensure_refused("", "unapproved request: missing passkey")?;
        client.ensure_refused("/announce?passkey=x", INVALID)?;
        client.announce(URL_DATA)?;
        clients.push(client);
    }
    ensure!(clients[0].in_kernel()? == 0.0, "the kernel has decided before there was a grant");
    // It passes all until it has the new configuration.
    eventually(|| clients[0].ensure_kernel_answers(URL_DATA, 1))?;
    for _ in 0..2 {
        clients.iter_mut().try_for_each(|client| client.ensure_kernel_answers(URL_DATA, 100))?;
    }

    fs::write(&keys, "an0ther\n")?;
    clients.iter_mut().try_for_each(|client| client.ensure_refused_in_the_end(URL_DATA, INVALID))
}
