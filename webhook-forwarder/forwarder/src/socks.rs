//! Connects to the target through the layer's SOCKS5 listener, or directly.
//!
//! The listener resolves the name. One connection a call; hyper keeps them.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use fast_socks5::client::{Config, Socks5Stream};
use fast_socks5::{ReplyError, SocksError};
use hyper::Uri;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

/// Where connections come from.
#[derive(Clone, Copy, Debug)]
pub enum Dial {
    Socks(SocketAddr),
    Direct,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    #[error("nothing listens at {0}: is the tetherd layer attached, and did it start? ({1})")]
    NoProxy(SocketAddr, std::io::Error),
    #[error("tetherd answers: {0}")]
    Reply(ReplyError),
    #[error("tetherd cannot be spoken to: {0}")]
    Socks(SocksError),
    #[error(transparent)]
    Direct(#[from] std::io::Error),
    #[error("the address has no host")]
    NoHost,
}

impl DialError {
    /// The tailnet has waited, and nobody answered.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::Reply(reply) => matches!(reply, ReplyError::TtlExpired | ReplyError::ConnectionTimeout),
            Self::Direct(error) => error.kind() == std::io::ErrorKind::TimedOut,
            _ => false,
        }
    }
}

impl Service<Uri> for Dial {
    type Response = TokioIo<TcpStream>;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let dial = *self;
        Box::pin(async move {
            let stream = dial.connect(&to).await?;
            // Small writes are whole requests here.
            stream.set_nodelay(true)?;
            Ok(TokioIo::new(stream))
        })
    }
}

impl Dial {
    async fn connect(self, to: &Uri) -> Result<TcpStream, DialError> {
        let host = to.host().ok_or(DialError::NoHost)?.trim_start_matches('[').trim_end_matches(']');
        let own = if to.scheme_str() == Some("https") { 443 } else { 80 };
        let port = to.port_u16().unwrap_or(own);
        let Self::Socks(proxy) = self else {
            return Ok(TcpStream::connect((host, port)).await?);
        };
        let stream = TcpStream::connect(proxy).await.map_err(|error| DialError::NoProxy(proxy, error))?;
        let mut socks = Socks5Stream::use_stream(stream, None, Config::default()).await.map_err(DialError::from)?;
        let target = fast_socks5::util::target_addr::ToTargetAddr::to_target_addr(&(host, port))
            .map_err(|error| DialError::Socks(error.into()))?;
        socks.request(fast_socks5::Socks5Command::TCPConnect, target).await.map_err(DialError::from)?;
        Ok(socks.get_socket())
    }
}

impl From<SocksError> for DialError {
    fn from(error: SocksError) -> Self {
        match error {
            SocksError::ReplyError(reply) => Self::Reply(reply),
            other => Self::Socks(other),
        }
    }
}
