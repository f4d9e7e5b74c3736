use std::{fs, path::Path};

use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{
    connections::{Server, get, patient, read_reply, read_to_end},
    *,
};
use crate::{
    files::tests::put_fifo,
    http::{Certificate, CertificateFiles, Plain, Tls},
};

/// Writes a certificate for `localhost` and its key.
fn write_pair(folder: &Path) -> CertificateFiles {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = CertificateFiles { chain: folder.join("chain.pem"), key: folder.join("key.pem") };
    for (file, pem) in
        [(&files.chain, pair.cert.pem()), (&files.key, pair.signing_key.serialize_pem())]
    {
        // As those who renew certificates do: the file is a new one.
        let _ = fs::remove_file(file);
        fs::write(file, pem).unwrap();
    }
    files
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A client that trusts the certificate in this file and no other.
fn connector(chain: &Path, version: &'static SupportedProtocolVersion) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(chain).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn shake_hands(
    server: &Server,
    connector: &TlsConnector,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    connector.connect(name, server.connect().await).await
}

fn tls(files: &CertificateFiles) -> Tls {
    Tls::new(Certificate::load(files).unwrap(), files.clone()).unwrap()
}

async fn serve_https(files: &CertificateFiles, options: HttpOptions) -> (Server, Tls) {
    let tls = tls(files);
    (Server::start_on(tls.clone(), Tracker::new(options)).await, tls)
}

#[tokio::test]
async fn an_announce_over_tls_1_2_and_1_3_is_answered() {
    let folder = folder();
    let files = write_pair(folder.path());
    let (server, _) = serve_https(&files, patient()).await;
    for (version, port) in [(&TLS12, 1), (&TLS13, 2)] {
        let connector = connector(&files.chain, version);
        let mut stream = shake_hands(&server, &connector).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        for _ in 0..2 {
            stream.write_all(&get(&announce(port, ""))).await.unwrap();
            assert!(read_reply(&mut stream).await.contains(&format!("incompletei{port}e")));
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_client_that_comes_back_resumes_its_session() {
    let folder = folder();
    let files = write_pair(folder.path());
    let (server, tls) = serve_https(&files, patient()).await;
    let connector = connector(&files.chain, &TLS13);
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let mut stream = shake_hands(&server, &connector).await.unwrap();
        stream.write_all(&get("/")).await.unwrap();
        read_reply(&mut stream).await;
        kinds.push(stream.get_ref().1.handshake_kind().unwrap());
        // The ticket is not bound to the certificate.
        let files = write_pair(folder.path());
        tls.replace(Certificate::load(&files).unwrap(), files);
    }
    assert_eq!(kinds, [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed]);
    server.stop().await;
}

#[tokio::test]
async fn without_tls_there_is_no_answer_and_it_is_counted() {
    let folder = folder();
    let (server, _) = serve_https(&write_pair(folder.path()), patient()).await;
    let mut stream = server.connect().await;
    stream.write_all(&get(&announce(1, ""))).await.unwrap();
    let reply = read_to_end(&mut stream).await;
    assert!(!reply.contains("HTTP"), "{reply}");
    while *server.tracker.journal.handshakes_failed.lock().unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_has_the_read_timeout() {
    let folder = folder();
    let options = HttpOptions { read_timeout: Duration::from_millis(20), ..patient() };
    let (server, _) = serve_https(&write_pair(folder.path()), options).await;
    let mut stream = server.connect().await;
    // The head of a record that never comes.
    stream.write_all(&[22, 3, 1, 1, 0]).await.unwrap();
    assert_eq!(read_to_end(&mut stream).await, "");
    server.stop().await;
}

#[tokio::test]
async fn the_limit_of_connections_is_for_http_and_https_together() {
    let folder = folder();
    let files = write_pair(folder.path());
    let tracker = Tracker::new(HttpOptions { connections_max: 1, ..patient() });
    let https = Server::start_on(tls(&files), tracker.clone()).await;
    let http = Server::start_on(Plain, tracker).await;
    let first = shake_hands(&https, &connector(&files.chain, &TLS13)).await.unwrap();
    let mut second = http.connect().await;
    second.write_all(&get(&announce(2, ""))).await.unwrap();
    while *http.tracker.journal.exhausted.lock().unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    drop(first);
    assert!(read_reply(&mut second).await.contains("incompletei1e"));
    https.stop().await;
    http.stop().await;
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_open_ones_stay() {
    let folder = folder();
    let old = write_pair(folder.path());
    let (server, tls) = serve_https(&old, patient()).await;
    let trusting_old = connector(&old.chain, &TLS13);
    let mut open = shake_hands(&server, &trusting_old).await.unwrap();

    let new = write_pair(folder.path());
    tls.replace(Certificate::load(&new).unwrap(), new.clone());
    open.write_all(&get(&announce(1, ""))).await.unwrap();
    assert!(read_reply(&mut open).await.contains("incompletei1e"));
    shake_hands(&server, &connector(&new.chain, &TLS13)).await.unwrap();
    shake_hands(&server, &connector(&new.chain, &TLS12)).await.unwrap();
    server.stop().await;
}

/// The clock stands still but for those who wait for it: hours of waiting pass at once.
#[tokio::test(start_paused = true)]
async fn the_files_are_followed_and_a_bad_certificate_keeps_the_one_before() {
    let folder = folder();
    let files = write_pair(folder.path());
    let tls = tls(&files);
    let following = tls.clone();
    tokio::spawn(async move { following.follow_files().await });
    let served = async || {
        sleep(Duration::from_secs(60)).await;
        tls.served_chain()
    };
    let first = served().await;

    fs::write(&files.key, "not a key").unwrap();
    assert_eq!(served().await, first);
    put_fifo(&files.key);
    assert_eq!(served().await, first);
    fs::remove_file(&files.chain).unwrap();
    assert_eq!(served().await, first);

    write_pair(folder.path());
    let second = served().await;
    assert_ne!(second, first);
    assert_eq!(second[0], CertificateDer::from_pem_file(&files.chain).unwrap());
}

/// The folder that links lead to is exchanged, and with it both files at once; the one before comes back.
#[tokio::test(start_paused = true)]
async fn a_certificate_that_could_not_be_read_is_read_when_it_is_back() {
    let (folder, fresh) = (folder(), folder());
    let (old, new) = (write_pair(folder.path()), write_pair(fresh.path()));
    let links = tempfile::tempdir().unwrap();
    let at = |name: &str| links.path().join(name);
    let files = CertificateFiles { chain: at("data/chain.pem"), key: at("data/key.pem") };
    let lead_to = |place: &Path| {
        let _ = fs::remove_file(at("data"));
        std::os::unix::fs::symlink(place, at("data")).unwrap();
    };
    lead_to(folder.path());
    let tls = tls(&files);
    let following = tls.clone();
    tokio::spawn(async move { following.follow_files().await });
    let served = async || {
        sleep(Duration::from_secs(60)).await;
        tls.served_chain()[0].clone()
    };
    let chain = |files: &CertificateFiles| CertificateDer::from_pem_file(&files.chain).unwrap();
    // It leads nowhere for a while, and then to what was there, whose files look as before.
    lead_to(Path::new("/no/such/folder"));
    assert_eq!(served().await, chain(&old));
    lead_to(fresh.path());
    assert_eq!(served().await, chain(&new));
    lead_to(folder.path());
    assert_eq!(served().await, chain(&old));
}

#[test]
fn a_certificate_that_cannot_be_used_is_named_with_its_key_and_its_file() {
    let (folder, other) = (folder(), folder());
    let (files, other) = (write_pair(folder.path()), write_pair(other.path()));
    let error = |chain: &Path, key: &Path| {
        let files = CertificateFiles { chain: chain.to_owned(), key: key.to_owned() };
        Certificate::load(&files).unwrap_err().to_string()
    };
    let missing = Path::new("/no/such.pem");
    assert_eq!(error(missing, &files.key), "tls_cert_path: no certificate in /no/such.pem");
    assert_eq!(error(&files.chain, missing), "tls_key_path: no private key in /no/such.pem");
    let swapped = error(&files.key, &files.key);
    assert!(swapped.starts_with("tls_cert_path: no certificate in /"), "{swapped}");
    let mixed = error(&files.chain, &other.key);
    assert!(mixed.ends_with("key.pem do not go together"), "{mixed}");
}
