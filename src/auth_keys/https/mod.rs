//! The one HTTP client for APIs beyond this machine: HTTP/1.1, TLS by rustls with ring, one connection a request. The
//! AWS SDK uses it, too.

pub(crate) mod aws;
pub(crate) mod ca_roots;
pub(crate) mod egress_proxy;
pub(crate) mod json_api;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
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

use crate::auth_keys::https::egress_proxy::{EgressProxy, bare};
use crate::environment::Environment;
use crate::net::http_request;
use crate::net::http_request::HttpError;

/// For one connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For a whole exchange.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Of an API: documents of some hundred bytes, and AWS's secrets of up to 64 KiB.
pub const LARGEST_ANSWER: usize = 1 << 20;

/// The request could not be sent or its answer not be read.
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
    #[error("TLS cannot be set up: {0}")]
    Tls(rustls::Error),
}

impl HttpsError {
    /// Whether asking again may help; otherwise the settings are at fault.
    pub fn passes(&self) -> bool {
        !matches!(self, Self::UnknownAuthority | Self::Malformed(_) | Self::NoAddress(_) | Self::Tls(_))
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Https {
    ca_file: Option<PathBuf>,
    place: Option<PathBuf>,
    /// Made when it is needed first: reading the system's roots takes milliseconds and memory.
    tls: Arc<OnceLock<Result<TlsConnector, rustls::Error>>>,
    proxy: EgressProxy,
}

impl Https {
    /// `ca_file` and the directory `place` hold more roots to trust.
    pub fn new(ca_file: Option<&Path>, place: Option<&Path>, environment: &Environment) -> Self {
        let [ca_file, place] = [ca_file, place].map(|path| path.map(Path::to_owned));
        Self { ca_file, place, tls: Arc::default(), proxy: EgressProxy::from(environment) }
    }

    /// One exchange with its whole answer.
    pub async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<(StatusCode, Bytes), HttpsError> {
        let exchange = async {
            let (head, body) = self.send(request, CONNECT_TIMEOUT).await?.into_parts();
            Ok((head.status, http_request::read_body(body, LARGEST_ANSWER).await?))
        };
        timeout(EXCHANGE_TIMEOUT, exchange).await.unwrap_or(Err(HttpsError::TimedOut(EXCHANGE_TIMEOUT)))
    }

    /// Sends a request to its absolute address and returns the head of the answer.
    pub async fn send(
        &self,
        mut request: Request<Full<Bytes>>,
        connect_timeout: Duration,
    ) -> Result<Response<Incoming>, HttpsError> {
        let uri = request.uri().clone();
        let (Some(host), Some(authority)) = (uri.host().map(bare), uri.authority()) else {
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
            let stream = timeout(connect_timeout, TcpStream::connect((host, port))).await.map_err(late)??;
            return Ok(http_request::send(stream, request).await?);
        }
        let connect = async {
            let stream = self.proxy.connect(host, port).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from(host.to_owned()).map_err(|_| HttpsError::NoAddress(host.to_owned()))?;
            self.tls()?.connect(name, stream).await.map_err(in_handshake)
        };
        let stream = timeout(connect_timeout, connect).await.map_err(late)??;
        Ok(http_request::send(stream, request).await?)
    }

    fn tls(&self) -> Result<&TlsConnector, HttpsError> {
        let made = self.tls.get_or_init(|| ca_roots::tls_connector(self.ca_file.as_deref(), self.place.as_deref()));
        made.as_ref().map_err(|error| HttpsError::Tls(error.clone()))
    }
}

fn in_handshake(error: std::io::Error) -> HttpsError {
    match error.get_ref().and_then(|cause| cause.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer)) => HttpsError::UnknownAuthority,
        _ => error.into(),
    }
}

/// The part of an address that HTTP/1.1 sends.
fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    path.parse().unwrap_or_default()
}
