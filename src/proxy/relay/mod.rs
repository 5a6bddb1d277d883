//! Copies bytes between a client and its target until both directions have ended, and loses no byte of the answer
//! when the client is the first to stop sending.

pub(crate) mod client_end;
pub(crate) mod copy;
pub mod limits;
pub(crate) mod migration;
pub(crate) mod resets;
pub(crate) mod splice;
#[cfg(test)]
mod tests;
pub mod worker;

use std::io;
use std::pin::pin;

use tokio::io::AsyncWriteExt;

use crate::memory::upload_throttle::UploadThrottle;
use crate::proxy::listener::split::{ReadHalf, WriteHalf};
use crate::proxy::listener::stream::Stream;
use crate::proxy::relay::client_end::{ClientEnd, ClientSocket};
use crate::proxy::relay::copy::{Broken, Copied, copy, discard};
use crate::proxy::relay::limits::{RelayLimits, Traffic, idle, until_silent};
use crate::proxy::relay::migration::MigrationGuard;
use crate::proxy::relay::resets::BrokenBy;

/// Whether the target may hear that the client has stopped sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfClose {
    /// It may: the target still answers.
    PassOn,
    /// It may not: the way to the target ends both directions as soon as one ends.
    Hold,
}

/// What both directions of a connection keep to.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    pub half_close: HalfClose,
    pub patience: &'a RelayLimits,
    pub carried: &'a Traffic,
    pub ties: &'a MigrationGuard<'a>,
}

/// Relays until the end. Once one side has ended, the other gets as long as it has something to say, and
/// the time that `patience` gives it after its last byte. Where the target may not hear of the client's end, a client
/// that has closed its socket ends the connection.
pub async fn relay(
    mut client: Stream,
    mut target: Stream,
    half_close: HalfClose,
    patience: &RelayLimits,
    carried: &Traffic,
) -> io::Result<()> {
    let terms = Terms { half_close, patience, carried, ties: &MigrationGuard::lasting() };
    relay_until(&mut client, &mut target, terms).await.map(drop)
}

/// The same, or until the connection leaves: then no byte of it is held here. Where one side has broken the connection off,
/// the other one's socket resets it when it is dropped.
pub async fn relay_until(client: &mut Stream, target: &mut Stream, terms: Terms<'_>) -> io::Result<Copied> {
    let broken = BrokenBy::default();
    let result = tokio::select! {
        result = carry(client, target, terms, &broken) => result,
        () = idle(terms.carried, terms.patience.idle) => Err(io::ErrorKind::TimedOut.into()),
    };
    if broken.any() && terms.half_close == HalfClose::PassOn {
        Box::pin(broken.pass_on(client, target)).await;
    }
    result
}

async fn carry(client: &mut Stream, target: &mut Stream, terms: Terms<'_>, broken: &BrokenBy) -> io::Result<Copied> {
    let socket = (terms.half_close == HalfClose::Hold).then(|| ClientSocket::find(client));
    let (client_reads, client_writes) = client.halves();
    let (target_reads, target_writes) = target.halves();
    let mut answer = pin!(answer(target_reads, client_writes, terms, broken));
    let mut request = pin!(request(client_reads, target_writes, terms, broken));
    let Terms { patience, carried, ties, .. } = terms;
    tokio::select! {
        result = &mut request => {
            let (copied, client) = result?;
            if copied == Copied::Leaves {
                return Ok(Copied::Leaves);
            }
            ties.end();
            Box::pin(rest_of_answer(answer, &client, socket, terms)).await
        }
        result = &mut answer => {
            if result? == Copied::Leaves {
                return Ok(Copied::Leaves);
            }
            ties.end();
            let (copied, _) = Box::pin(until_silent(request, carried, patience.half_closed, patience)).await?;
            Ok(copied)
        }
    }
}

/// Lets the answer come to a client that has ended its side. With the client's `socket`, only while it is not closed.
async fn rest_of_answer(
    answer: impl Future<Output = io::Result<Copied>>,
    client: &ReadHalf<'_>,
    socket: Option<ClientSocket>,
    Terms { patience, carried, .. }: Terms<'_>,
) -> io::Result<Copied> {
    let Some(socket) = socket else { return until_silent(answer, carried, patience.half_closed, patience).await };
    let silence = match socket.end(client) {
        ClientEnd::Closed => return Ok(Copied::All),
        ClientEnd::HalfClosed => patience.half_closed,
        ClientEnd::Unknown => patience.half_closed_held,
    };
    tokio::select! {
        result = until_silent(answer, carried, silence, patience) => result,
        () = socket.closed(client) => Ok(Copied::All),
    }
}

async fn answer(
    mut target: ReadHalf<'_>,
    mut client: WriteHalf<'_>,
    terms: Terms<'_>,
    broken: &BrokenBy,
) -> io::Result<Copied> {
    match copy(&mut target, &mut client, &terms.carried.received, &UploadThrottle::default(), terms.ties).await {
        Ok(Copied::Leaves) => return Ok(Copied::Leaves),
        Ok(Copied::All) => {}
        // tailscaled closes its socket with bytes of ours unread when the target has ended: the kernel then reports
        // a reset, after the last byte of the answer.
        Err(Broken::Reading(_)) if terms.half_close == HalfClose::Hold => {}
        Err(Broken::Reading(error)) => return Err(broken.by_target(error)),
        Err(Broken::Writing(error)) => return Err(broken.by_client(error)),
    }
    // The kernel tells of a reset once: the other direction has heard of it.
    if broken.target_has_reset() {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    end(&mut client, terms.ties).await
}

/// Gives back what it has read to the end.
async fn request<'a>(
    mut client: ReadHalf<'a>,
    mut target: WriteHalf<'_>,
    terms: Terms<'_>,
    broken: &BrokenBy,
) -> io::Result<(Copied, ReadHalf<'a>)> {
    let Terms { half_close, patience, carried, ties } = terms;
    // tailscaled holds what waits to be sent through the tailnet, and nothing of what goes past it.
    let brake = if half_close == HalfClose::Hold { patience.brake.clone() } else { UploadThrottle::default() };
    let copied = match copy(&mut client, &mut target, &carried.sent, &brake, ties).await {
        Ok(Copied::All) if half_close == HalfClose::PassOn => end(&mut target, ties).await?,
        Ok(copied) => copied,
        // A target that listens no more may have answered all the same. What the client still sends is read and
        // dropped: closing a socket with unread bytes resets it, and the reset overtakes the end of the answer.
        Err(Broken::Writing(error)) => {
            if error.kind() == io::ErrorKind::ConnectionReset {
                broken.by_target(error);
            }
            let _tie = ties.bind();
            let discarded = Box::pin(discard(&mut client, &carried.unheard)).await;
            discarded.map(|()| Copied::All).map_err(|error| broken.by_client(error.into_inner()))?
        }
        Err(Broken::Reading(error)) => return Err(broken.by_client(error)),
    };
    Ok((copied, client))
}

/// Tells `to` that nothing more comes; the last direction leaves that to the closing of the socket.
async fn end(to: &mut WriteHalf<'_>, ties: &MigrationGuard<'_>) -> io::Result<Copied> {
    if !ties.one_has_ended() {
        to.shutdown().await?;
    }
    Ok(Copied::All)
}
