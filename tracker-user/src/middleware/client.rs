//! Asks other services over HTTP and HTTPS, within bounds of time and size.

use std::{sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use ureq::{
    Agent, Body,
    http::Response,
    tls::{RootCerts, TlsConfig},
};

/// Longer answers are refused.
const BODY_BYTES_MAX: u64 = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No answer, or one that says no.
    #[error(transparent)]
    Http(Box<ureq::Error>),
    /// An answer that is something else.
    #[error("the answer is not what it should be")]
    Json(#[from] serde_json::Error),
    /// Neither a success nor an error.
    #[error("the answer has the status {0}")]
    Unsuccessful(u16),
}

impl ClientError {
    /// The status with which the service said no.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Http(error) => match **error {
                ureq::Error::StatusCode(status) => Some(status),
                _ => None,
            },
            _ => None,
        }
    }
}

impl From<ureq::Error> for ClientError {
    fn from(error: ureq::Error) -> Self {
        Self::Http(Box::new(error))
    }
}

/// Proxies are taken from the environment, as Go does; certificates are checked by what the system
/// trusts (or `SSL_CERT_FILE`).
#[derive(Debug)]
pub(super) struct Client(Agent);

impl Client {
    /// A client whose questions take at most `timeout`, from the look-up of the name to the end of
    /// the answer.
    pub(super) fn new(timeout: Duration) -> Self {
        Self(agent(RootCerts::PlatformVerifier, timeout))
    }

    /// The answer of `GET url`, in JSON.
    pub(super) fn get<T: DeserializeOwned>(&self, url: &str) -> Result<T, ClientError> {
        read(self.0.get(url).call()?)
    }

    /// The answer of `POST url` with a question, both in JSON.
    pub(super) fn post<T: DeserializeOwned>(
        &self,
        url: &str,
        question: &impl Serialize,
    ) -> Result<T, ClientError> {
        let question = serde_json::to_vec(question)?;
        read(self.0.post(url).content_type("application/json").send(question)?)
    }

    /// Tells it by `POST url`, in JSON. What is answered does not matter, if it is no error. Each time by a
    /// connection of its own: one that waits may be closed just when it is used, and then nobody can tell
    /// what has been heard.
    pub(super) fn notify(&self, url: &str, what: &impl Serialize) -> Result<(), ClientError> {
        let what = serde_json::to_vec(what)?;
        // Whoever follows one after a POST asks by GET, and is answered as if all were well.
        let request = self.0.post(url).config().max_redirects(0).build();
        let request = request.header("connection", "close").content_type("application/json");
        let mut response = request.send(what)?;
        // A service may give up what it is doing when nobody waits for the rest of its answer.
        let _ = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_vec();
        let status = response.status();
        if status.is_success() { Ok(()) } else { Err(ClientError::Unsuccessful(status.as_u16())) }
    }
}

/// Whoever asks over HTTP, with certificates checked by these roots.
pub(crate) fn agent(roots: RootCerts, timeout: Duration) -> Agent {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls =
        TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build();
    Agent::config_builder()
        .timeout_global(Some(timeout))
        .tls_config(tls)
        .user_agent("xdp-tracker")
        .build()
        .into()
}

fn read<T: DeserializeOwned>(mut response: Response<Body>) -> Result<T, ClientError> {
    let body = response.body_mut().with_config().limit(BODY_BYTES_MAX).read_to_vec()?;
    Ok(serde_json::from_slice(&body)?)
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::TcpListener,
        thread,
    };

    use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
    use serde_json::{Value, json};
    use ureq::tls::Certificate;

    use super::*;
    use crate::middleware::tests::Service;

    const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n[]";

    fn client() -> Client {
        Client::new(Duration::from_secs(10))
    }

    /// Answers each connection with the text, over TLS, with a certificate of its own.
    fn secure_service() -> (String, Certificate<'static>) {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (certificate, private) = (key.cert.der().clone(), key.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], PrivateKeyDer::Pkcs8(private.into()))
            .unwrap();
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
        thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
                let mut stream = StreamOwned::new(connection, tcp);
                // A client that does not trust us goes away.
                if stream.read(&mut [0; 1024]).is_ok() {
                    let _ = stream.write_all(ANSWER.as_bytes());
                }
            }
        });
        (url, Certificate::from_der(&certificate).to_owned())
    }

    #[test]
    fn an_answer_is_read_as_json() {
        let service = Service::start(r#"{"a": 1}"#);
        assert_eq!(client().get::<Value>(&service.url).unwrap(), json!({ "a": 1 }));
        service.answer("none");
        assert!(matches!(client().get::<Value>(&service.url), Err(ClientError::Json(_))));
    }

    #[test]
    fn https_is_spoken_with_those_who_are_trusted() {
        let (url, certificate) = secure_service();
        let trusting =
            Client(agent(RootCerts::new_with_certs(&[certificate]), Duration::from_secs(10)));
        assert_eq!(trusting.get::<Value>(&url).unwrap(), json!([]));
        let error = client().get::<Value>(&url).unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
    }

    #[test]
    fn a_service_that_drips_is_given_up_at_the_timeout() {
        for head in ["HTTP/1.1 200 OK\r\nX: ", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"]
        {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.write_all(head.as_bytes()).unwrap();
                // Each byte is in time.
                while stream.write_all(b"x").is_ok() {
                    thread::sleep(Duration::from_millis(10));
                }
            });
            let client = Client::new(Duration::from_millis(300));
            let error = client.get::<Value>(&url).unwrap_err().to_string();
            assert!(error.contains("timeout"), "{error}");
        }
    }

    #[test]
    fn who_says_no_or_too_much_or_nothing_is_an_error() {
        let service = Service::start("x".repeat(BODY_BYTES_MAX as usize + 1));
        assert!(matches!(client().get::<Value>(&service.url), Err(ClientError::Http(_))));
        service.go_down();
        assert!(matches!(client().get::<Value>(&service.url), Err(ClientError::Http(_))));
        // Accepts connections, by the system's hand, and never answers.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let error =
            Client::new(Duration::from_millis(100)).get::<Value>(&url).unwrap_err().to_string();
        assert!(error.contains("timeout"), "{error}");
    }
}
