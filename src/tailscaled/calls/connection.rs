//! A connection through the tailnet from its dial to its end: tailscaled has dialled it, gets the client's socket, and says
//! when it is over.

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
use crate::target::dial::{DialError, Held, RelayTerms, Relayed};

/// Something that tailscaled does for this session under an id. Dropped, it is given up there.
struct Line {
    channel: Arc<Channel>,
    id: u32,
    is_over: bool,
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        self.channel.forget(self.id);
        self.channel.post(message::message(request::CUT, self.id, &[]));
    }
}

/// Dials `address` through the tailnet; `None` where no node leads there.
pub async fn dial(channel: Arc<Channel>, address: SocketAddr) -> Result<Option<Box<dyn Held>>, DialError> {
    let id = channel.new_id();
    let answer = channel.expect(id);
    let mut line = Line { channel, id, is_over: false };
    let dial = message::message(request::DIAL, id, &address_bytes(address));
    line.channel.send(&dial, None).await.map_err(session_ended)?;
    let answer = answer.await.map_err(|_| session_ended(io::ErrorKind::ConnectionReset.into()))?;
    match message::dial_outcome(&answer) {
        Ok(DialReply::Connected(own_address)) => Ok(Some(Box::new(HeldConnection { line, own_address }))),
        other => {
            line.is_over = true;
            other.map(|_| None)
        }
    }
}

/// A connection that waits for its client's socket.
struct HeldConnection {
    line: Line,
    own_address: SocketAddr,
}

impl Held for HeldConnection {
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
            let mut line = self.line;
            let over = line.channel.expect(line.id);
            let message = message::message(request::HAND_OVER, line.id, &message::hand_over(terms, &ahead));
            if message.len() > message::LARGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "the client has sent too much ahead"));
            }
            line.channel.send(&message, Some(client.as_fd())).await?;
            drop((client, message, ahead));
            let over = over.await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionReset))?;
            line.is_over = true;
            let ((sent, received), session) = message::ended(&over).ok_or(io::ErrorKind::InvalidData)?;
            Ok(Relayed { sent, received, uncounted: line.channel.uncounted(session) })
        }
        .boxed()
    }
}
