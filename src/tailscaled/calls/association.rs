//! Carries datagrams through the tailnet, over a socket to tailscaled.
//!
//! One message is one datagram.

use std::os::fd::AsFd;

use crate::tailscaled::calls::channel::Channel;
use crate::tailscaled::calls::message::request;
use crate::tailscaled::calls::seqpacket::pair;
use crate::tailscaled::calls::{message, session_ended};
use crate::target::datagrams::Datagrams;
use crate::target::dial::DialError;

/// Opens an association, which lasts until the returned socket is dropped.
///
/// # Errors
/// [`DialError::Tailscaled`] when the session has ended.
pub async fn associate(channel: &Channel) -> Result<Datagrams, DialError> {
    let (own, theirs) = pair().map_err(session_ended)?;
    let message = message::message(request::ASSOCIATE, channel.new_id(), &[]);
    channel.send(&message, Some(theirs.as_fd())).await.map_err(session_ended)?;
    Datagrams::new(own).map_err(session_ended)
}
