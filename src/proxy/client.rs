//! One client from accept to end: its first byte tells SOCKS5 from HTTP.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::connector::{Connection, Connector};
use super::counters::Counters;
use super::patience::{Carried, Patience};
use super::relay::{HalfClose, relay};
use super::stream::Stream;
use super::{http, socks};
use crate::config::Credentials;
use crate::dial::{Dial, Target};

/// The version byte that a SOCKS5 greeting begins with.
const SOCKS5: u8 = 5;

/// What serving a client takes.
pub struct Proxy<D> {
    pub connector: Connector<D>,
    pub credentials: Option<Credentials>,
    pub handshake_timeout: Duration,
    pub patience: Patience,
    /// Whether UDP ASSOCIATE is served.
    pub udp: bool,
    pub counters: Counters,
}

impl<D: Dial> Proxy<D> {
    /// Serves one client to the end.
    pub async fn serve(&self, stream: Stream, from: &str) {
        let open = self.counters.open();
        let first = async {
            tokio::select! {
                byte = timeout(self.handshake_timeout, stream.first_byte()) => byte,
                // A client that has said nothing yet is no running connection.
                () = self.patience.draining.cancelled() => Ok(Ok(None)),
            }
        };
        match first.await {
            Ok(Ok(Some(SOCKS5))) => socks::serve(self, stream, from).await,
            // Every HTTP method begins with a letter.
            Ok(Ok(Some(byte))) if byte.is_ascii_alphabetic() => http::serve(self, stream, from).await,
            Ok(Ok(Some(byte))) => {
                self.unserved(from, &format!("neither SOCKS5 nor HTTP: it begins with {byte:#04x}"));
                self.linger(stream).await;
            }
            Ok(Ok(None)) => self.unserved(from, "it sent nothing"),
            Ok(Err(error)) => self.unserved(from, &error.to_string()),
            Err(_) => self.unserved(from, "it sent nothing in time"),
        }
        drop(open);
    }

    /// Serves one client of a port that leads to `target`.
    pub async fn forward(&self, stream: Stream, from: &str, target: &Target) {
        let open = self.counters.open();
        match self.connector.connect(target).await {
            Ok(connection) => self.relay(stream, connection, &[]).await,
            Err(error) => self.unserved(from, &format!("{target}: {error}")),
        }
        drop(open);
    }

    /// Counts and logs a client that got no connection.
    pub(super) fn unserved(&self, from: &str, reason: &str) {
        self.counters.failed();
        tracing::info!(from, reason, "connection not made");
    }

    /// Carries bytes between a client and its target. `sent` came from the client already.
    pub(super) async fn relay(&self, mut client: Stream, connection: Connection, sent: &[u8]) {
        let carried = Carried::default();
        let result = match connection {
            Connection::Tailnet(mut target, early) => {
                let begun = async {
                    target.write_all(sent).await?;
                    client.write_all(&early).await
                };
                match begun.await {
                    Ok(()) => relay(client, target, HalfClose::Hold, &self.patience, &carried).await,
                    Err(error) => Err(error),
                }
            }
            Connection::Direct(mut target) => match target.write_all(sent).await {
                Ok(()) => relay(client, target, HalfClose::PassOn, &self.patience, &carried).await,
                Err(error) => Err(error),
            },
        };
        self.counters.relayed(carried.sent(), carried.received());
        if let Err(error) = result {
            tracing::debug!(%error, sent = carried.sent(), received = carried.received(), "connection broke");
        }
    }

    /// Lets a refused client read its reply: closing a socket with unread bytes resets the connection, and the reset
    /// would overtake the reply.
    pub(super) async fn linger(&self, mut client: Stream) {
        let _ = client.shutdown().await;
        let mut rest = tokio::io::sink();
        tokio::select! {
            _ = timeout(self.handshake_timeout, tokio::io::copy(&mut client, &mut rest)) => {}
            () = self.patience.draining.cancelled() => {}
        }
    }
}
