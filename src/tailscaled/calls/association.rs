//! Datagrams through the tailnet: a socket of their own to tailscaled, one datagram a message, each with its target.

use std::os::fd::AsFd;

use super::channel::{Channel, pair};
use super::message::{self, request};
use super::session_ended;
use crate::datagrams::Datagrams;
use crate::dial::DialError;

/// Opens an association.
pub(in crate::tailscaled) async fn associate(channel: &Channel) -> Result<Datagrams, DialError> {
    let (own, theirs) = pair().map_err(session_ended)?;
    let message = message::message(request::ASSOCIATE, channel.new_id(), &[]);
    channel.send(&message, Some(theirs.as_fd())).await.map_err(session_ended)?;
    Datagrams::new(own).map_err(session_ended)
}
