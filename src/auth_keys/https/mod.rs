//! The HTTPS client for the APIs that give auth keys; the AWS SDK uses it, too.
//!
//! HTTP/1.1, TLS by rustls with ring, one connection a request.

pub(crate) mod aws;
pub(crate) mod ca_certificates;
pub(crate) mod egress_proxy;
pub(crate) mod json_api;

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, StatusCode, Uri};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls;
use tokio_rustls::rustls::CertificateError;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::auth_keys::context::KeyContext;
use crate::auth_keys::https::ca_certificates::CaSources;
use crate::auth_keys::https::egress_proxy::{EgressProxy, without_brackets};
use crate::net::http_request;
use crate::net::http_request::HttpError;
use crate::secret::redactor::Redactor;
use crate::sync::IgnorePoison;

/// Longest time for one connection to open, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest time for a request and its whole response.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest body of a response that is read, in bytes. Documents of APIs have some hundred bytes, AWS's secrets up to
/// 64 KiB.
pub const LONGEST_BODY: usize = 1 << 20;

/// A request could not be sent or its response not be read.
#[derive(Debug, Error)]
pub enum HttpsError {
    #[error("no answer within {} s", .0.as_secs_f32())]
    TimedOut(Duration),
    #[error("its certificate comes from an authority that is not trusted: set ca_file if that is your own")]
    UnknownAuthority,
    #[error("{0}")]
    Connection(#[from] std::io::Error),
    #[error("{0}")]
    Http(#[from] HttpError),
    #[error("{0}")]
    Malformed(String),
    #[error("{0} is no address")]
    NoAddress(String),
    #[error("plain HTTP to {0} can be read and changed on the way: use https://")]
    InTheClear(String),
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

impl HttpsError {
    /// Whether trying again may help; otherwise the settings are wrong.
    pub fn passes(&self) -> bool {
        !matches!(
            self,
            Self::UnknownAuthority | Self::Malformed(_) | Self::NoAddress(_) | Self::InTheClear(_) | Self::Tls(_)
        )
    }
}

/// An HTTPS client. Cheap to clone; clones share the TLS configuration.
#[derive(Clone)]
pub struct Https {
    certificates: CaSources,
    /// Made at the first TLS connection of a login, since reading the system's CA certificates takes milliseconds and memory;
    /// `None` before and after it.
    tls: Arc<Mutex<Option<TlsConnector>>>,
    proxy: EgressProxy,
    redactor: Redactor,
}

impl Https {
    /// Makes a client that also trusts the CA certificates of `ca_file` and of the platform. The environment names the proxy.
    pub fn new(context: &KeyContext<'_>) -> Self {
        Self {
            certificates: CaSources::new(context.ca_file, context.ca_directory, context.environment),
            tls: Arc::default(),
            proxy: EgressProxy::from(context.environment),
            redactor: context.redactor.clone(),
        }
    }

    /// The redactor that texts of APIs are masked with.
    pub fn redactor(&self) -> &Redactor {
        &self.redactor
    }

    /// Has the CA certificates read anew at the next connection: each login trusts what is there by then.
    pub fn forget_certificates(&self) {
        *self.tls.lock().ignore_poison() = None;
    }

    /// Sends a request and returns status and body of the response, within 10 s.
    pub async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), HttpsError> {
        let exchange = async {
            let (head, body) = self.send(request, CONNECT_TIMEOUT).await?.into_parts();
            Ok((head.status, http_request::read_body(body, LONGEST_BODY).await?))
        };
        timeout(EXCHANGE_TIMEOUT, exchange).await.unwrap_or(Err(HttpsError::TimedOut(EXCHANGE_TIMEOUT)))
    }

    /// Sends a request to its absolute address and returns the response with its body unread.
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        connect_timeout: Duration,
    ) -> Result<Response<Incoming>, HttpsError> {
        let uri = request.uri().clone();
        let (Some(host), Some(authority)) = (uri.host().map(without_brackets), uri.authority()) else {
            return Err(HttpsError::NoAddress(uri.to_string()));
        };
        if let Ok(authority) = HeaderValue::from_str(authority.as_str()) {
            request.headers_mut().entry(HOST).or_insert(authority);
        }
        *request.uri_mut() = origin_form(&uri);
        let is_plain = uri.scheme_str() == Some("http");
        let port = uri.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
        let late = |_| HttpsError::TimedOut(connect_timeout);
        if is_plain {
            let stream = timeout(connect_timeout, connect_in_the_clear(host, port)).await.map_err(late)??;
            return Ok(http_request::send(stream, request).await?);
        }
        let connect = async {
            let stream = self.proxy.connect(host, port).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(host.to_owned()).map_err(|_| HttpsError::NoAddress(host.to_owned()))?;
            self.tls()?.connect(name, stream).await.map_err(handshake_error)
        };
        let stream = timeout(connect_timeout, connect).await.map_err(late)??;
        Ok(http_request::send(stream, request).await?)
    }

    fn tls(&self) -> Result<TlsConnector, HttpsError> {
        let mut tls = self.tls.lock().ignore_poison();
        if let Some(made) = &*tls {
            return Ok(made.clone());
        }
        let made = self.certificates.tls_connector().map_err(HttpsError::Tls)?;
        Ok(tls.insert(made).clone())
    }
}

/// Connects for plain HTTP: to this machine, or to the addresses at which platforms have their metadata and credentials, which
/// speak nothing else. A name counts for what it leads to.
async fn connect_in_the_clear(host: &str, port: u16) -> Result<TcpStream, HttpsError> {
    let refused = || HttpsError::InTheClear(host.to_owned());
    if host.parse().is_ok_and(|address| !may_be_plain(address)) {
        return Err(refused());
    }
    let stream = TcpStream::connect((host, port)).await?;
    if may_be_plain(stream.peer_addr()?.ip()) { Ok(stream) } else { Err(refused()) }
}

/// Whether an address is loopback, or link-local as those of metadata and credentials are.
fn may_be_plain(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_link_local(),
        // fd00:ec2::/32 is AWS's, fd20:ce::254 Google's.
        IpAddr::V6(address) => {
            address.is_loopback()
                || address.is_unicast_link_local()
                || matches!(address.segments(), [0xfd00, 0xec2, ..] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254])
        }
    }
}

fn handshake_error(error: std::io::Error) -> HttpsError {
    match error.get_ref().and_then(|cause| cause.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => HttpsError::UnknownAuthority,
        _ => error.into(),
    }
}

/// Returns path and query of an address, which is what HTTP/1.1 sends (RFC 9112, section 3.2.1).
fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    path.parse().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;

    fn https() -> Https {
        Https::new(&KeyContext {
            environment: &Environment::new(),
            ca_file: None,
            ca_directory: None,
            api_url: "",
            tailnet: "-",
            control_url: None,
            tags: Vec::new(),
            imds: false,
            redactor: Redactor::default(),
        })
    }

    #[test]
    fn certificates_are_read_once_for_a_login_and_anew_for_the_next() {
        let https = https();
        let read = || https.clone().tls().expect("is set up").config().clone();
        let first = read();
        assert!(Arc::ptr_eq(&first, &read()));
        https.forget_certificates();
        assert!(!Arc::ptr_eq(&first, &read()));
    }

    #[test]
    fn plain_http_is_for_this_machine_and_for_metadata() {
        for (address, plain) in [
            ("127.0.0.1", true),
            ("127.9.9.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("169.254.169.254", true),
            ("169.254.170.2", true),
            ("169.254.170.23", true),
            ("fd00:ec2::23", true),
            ("fe80::a9fe:a9fe", true),
            ("10.0.0.1", false),
            ("::ffff:10.0.0.1", false),
            ("100.64.0.1", false),
            ("fd00:ec3::1", false),
            ("fd7a:115c:a1e0::1", false),
            ("203.0.113.7", false),
            ("0.0.0.0", false),
        ] {
            assert_eq!(may_be_plain(address.parse().expect("an address")), plain, "{address}");
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_request_in_the_clear_is_not_sent_and_waiting_does_not_help() {
        let https = https();
        let request = Request::get("http://192.0.2.1/").body(Full::default()).expect("a request");
        let error = https.exchange(request).await.expect_err("is not sent");
        assert!(matches!(error, HttpsError::InTheClear(_)) && !error.passes(), "{error}");
    }
}
