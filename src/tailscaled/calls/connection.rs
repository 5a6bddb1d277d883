//! A connection through the tailnet, by tetherd's calls, from its dial to its end.
//!
//! tailscaled dials, gets the client's socket, and tells when the connection has ended.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::tailscaled::calls::channel::Channel;
use crate::tailscaled::calls::message::{DialReply, request};
use crate::tailscaled::calls::{message, session_ended};
use crate::target::datagrams::address_bytes;
use crate::target::dial::{DialError, RelayTerms, Relayed, WaitingConnection};

/// Ends the dial or the connection `id` in tailscaled when it is dropped before its end.
struct EndOnDrop {
    channel: Arc<Channel>,
    id: u32,
    has_ended: bool,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        self.channel.forget(self.id);
        self.channel.post(message::message(request::CUT, self.id, &[]));
    }
}

/// Dials `address` through the tailnet; `None` where no node leads there.
///
/// # Errors
/// Why the dial failed; [`DialError::Tailscaled`] when the session ended first.
pub async fn dial(channel: Arc<Channel>, address: SocketAddr) -> Result<Option<Box<dyn WaitingConnection>>, DialError> {
    let id = channel.new_id();
    let answer = channel.expect(id);
    let mut guard = EndOnDrop { channel, id, has_ended: false };
    let dial = message::message(request::DIAL, id, &address_bytes(address));
    guard.channel.send(&dial, None).await.map_err(session_ended)?;
    let answer = answer.await.map_err(|_| session_ended(io::ErrorKind::ConnectionReset.into()))?;
    match message::dial_reply(&answer) {
        Ok(DialReply::Connected(own_address)) => Ok(Some(Box::new(DialledConnection { guard, own_address }))),
        other => {
            guard.has_ended = true;
            other.map(|_| None)
        }
    }
}

/// A connection in tailscaled that waits for its client's socket.
struct DialledConnection {
    guard: EndOnDrop,
    own_address: SocketAddr,
}

impl WaitingConnection for DialledConnection {
    fn own_address(&self) -> SocketAddr {
        self.own_address
    }

    fn hand_over(
        self: Box<Self>,
        client: OwnedFd,
        ahead: Vec<u8>,
        terms: RelayTerms,
    ) -> BoxFuture<'static, io::Result<Relayed>> {
        async move {
            let mut guard = self.guard;
            let end = guard.channel.expect(guard.id);
            let message = message::message(request::HAND_OVER, guard.id, &message::hand_over(terms, &ahead));
            if message.len() > message::LARGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the client has sent too much ahead"));
            }
            guard.channel.send(&message, Some(client.as_fd())).await?;
            drop((client, message, ahead));
            let end = end.await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionReset))?;
            guard.has_ended = true;
            let end = message::connection_end(&end).ok_or(io::ErrorKind::InvalidData)?;
            let uncounted = guard.channel.uncounted(end.session);
            Ok(Relayed {
                sent: end.connection.sent,
                received: end.connection.received,
                uncounted: (uncounted.sent, uncounted.received),
            })
        }
        .boxed()
    }
}
