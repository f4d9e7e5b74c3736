use std::{fs, path::Path, time::SystemTime};

use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
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
    certificate::tests::SAMPLES,
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
    let expiry = Metrics::new().unwrap().certificate_expiry();
    Tls::new(Certificate::load(files).unwrap(), files.clone(), expiry).unwrap()
}

async fn serve_https(files: &CertificateFiles, options: HttpConfig) -> (Server, Tls) {
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
    let options = HttpConfig { read_timeout: Duration::from_millis(20).into(), ..patient() };
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
    let tracker = Tracker::with_connections(1, patient());
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
    let mixed = error(&files.chain, &other.key);
    assert!(mixed.ends_with("key.pem cannot be used together"), "{mixed}");
}

#[test]
fn a_certificate_and_a_key_that_are_swapped_are_told_so() {
    let folder = folder();
    let CertificateFiles { chain, key } = write_pair(folder.path());
    let error = |chain: &Path, key: &Path| {
        let files = CertificateFiles { chain: chain.to_owned(), key: key.to_owned() };
        format!("{:#}", anyhow::Error::new(Certificate::load(&files).unwrap_err()))
    };
    let advice = "are tls_cert_path and tls_key_path swapped?";
    let key_in_its_place =
        format!(": {} holds a private key, not a certificate; {advice}", key.display());
    let said = error(&key, &chain);
    assert!(
        said.starts_with("tls_cert_path: no certificate in ") && said.ends_with(&key_in_its_place),
        "{said}"
    );
    let chain_in_its_place =
        format!(": {} holds a certificate, not a private key; {advice}", chain.display());
    let said = error(&chain, &chain);
    assert!(
        said.starts_with("tls_key_path: no private key in ") && said.ends_with(&chain_in_its_place),
        "{said}"
    );
}

#[test]
fn a_key_that_is_encrypted_or_of_another_kind_is_told_in_so_many_words() {
    let folder = folder();
    let sample = |name: &str| Path::new(SAMPLES).join(name);
    let error = |chain: &str, key: &str| {
        let files = CertificateFiles { chain: sample(chain), key: sample(key) };
        let error = Certificate::load(&files).unwrap_err();
        format!("{}: {}", error, std::error::Error::source(&error).unwrap())
    };
    for key in ["encrypted.key", "encrypted_sec1.key"] {
        let error = error("v1.pem", key);
        assert!(error.contains(": it is encrypted, and the tracker has no passphrase;"), "{error}");
    }
    for name in ["p521", "secp256k1", "rsa1024", "ed448"] {
        let error = error(&format!("{name}.pem"), &format!("{name}.key"));
        assert!(
            error.contains("together: the key is one of ")
                && error.contains(", which cannot be used;"),
            "{error}"
        );
    }
    let der = folder.path().join("der");
    fs::write(&der, CertificateDer::from_pem_file(sample("v1.pem")).unwrap()).unwrap();
    let error = error(der.to_str().unwrap(), "v1.key");
    assert!(error.ends_with(": it is DER, not PEM; convert it by openssl, -inform DER"), "{error}");
}

/// Writes a certificate that is good from one year to another.
fn write_pair_of_years(folder: &Path, from: i32, until: i32) -> CertificateFiles {
    let files = write_pair(folder);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.not_before = rcgen::date_time_ymd(from, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    fs::write(&files.chain, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&files.key, format!("\u{feff}{}", key.serialize_pem())).unwrap();
    files
}

#[test]
fn a_certificate_that_has_expired_is_served_shown_and_warned_of() {
    let folder = folder();
    let expiry = Metrics::new().unwrap().certificate_expiry();
    let files = write_pair_of_years(folder.path(), 1990, 2000);
    let certificate = Certificate::load(&files).unwrap();
    let warning = certificate.warning(SystemTime::now()).unwrap();
    assert_eq!(
        warning,
        format!(
            "the certificate in {} has expired on Jan  1 00:00:00 2000 +00:00: renew it",
            files.chain.display()
        )
    );
    let tls = Tls::new(certificate, files, expiry.clone()).unwrap();
    assert_eq!(expiry.get(), 946_684_800);
    let files = write_pair_of_years(folder.path(), 2000, 2100);
    let certificate = Certificate::load(&files).unwrap();
    assert_eq!(certificate.warning(SystemTime::now()), None);
    tls.replace(certificate, files);
    assert_eq!(expiry.get(), 4_102_444_800);
}

#[tokio::test]
async fn a_certificate_of_version_1_is_served() {
    let sample = |name: &str| Path::new(SAMPLES).join(name);
    let files = CertificateFiles { chain: sample("v1.pem"), key: sample("v1.key") };
    let (server, _) = serve_https(&files, patient()).await;
    // rustls takes none of version 1, so the client checks nothing.
    let verifier = Arc::new(AnyCertificate);
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS12, &TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = shake_hands(&server, &connector).await.unwrap();
    stream.write_all(&get(&announce(1, ""))).await.unwrap();
    assert!(read_reply(&mut stream).await.contains("incompletei1e"));
    let shown = stream.get_ref().1.peer_certificates().unwrap().to_vec();
    assert_eq!(shown, [CertificateDer::from_pem_file(&files.chain).unwrap()]);
    server.stop().await;
}

/// Believes everything.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer,
        _: &[CertificateDer],
        _: &ServerName,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
