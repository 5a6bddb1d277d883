//! Relays bytes between client and target, half-closes and resets included.
//!
//! No byte of the response is lost when the client is the first to stop sending.

pub(crate) mod client_end;
pub(crate) mod copy;
pub(crate) mod error;
pub mod limits;
pub(crate) mod migration;
pub(crate) mod resets;
pub(crate) mod splice;
#[cfg(test)]
mod tests;
pub(crate) mod traffic;
pub mod worker;

use std::io;
use std::pin::pin;

use tokio::io::AsyncWriteExt;

use crate::memory::upload_throttle::UploadThrottle;
use crate::proxy::listener::split::{ReadHalf, WriteHalf};
use crate::proxy::listener::stream::Stream;
use crate::proxy::relay::client_end::{ClientEnd, ClientSocket, closed};
use crate::proxy::relay::copy::{Copied, Direction, copy, discard};
use crate::proxy::relay::error::CopyError;
use crate::proxy::relay::limits::{RelayLimits, idle, until_silent};
use crate::proxy::relay::migration::MigrationGuard;
use crate::proxy::relay::resets::Resets;
use crate::proxy::relay::traffic::Traffic;

/// Whether the target is told that the client has stopped sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HalfClose {
    /// The target is told, and can still respond.
    PassOn,
    /// The target is not told, since the connection to it ends in both directions as soon as one direction ends. So it
    /// is through a stock tailscaled.
    Hold,
}

/// The limits, counters and guard that both directions of a connection share.
#[derive(Clone, Copy)]
pub struct RelayContext<'a> {
    pub half_close: HalfClose,
    pub limits: &'a RelayLimits,
    pub traffic: &'a Traffic,
    pub guard: &'a MigrationGuard<'a>,
}

/// Relays between `client` and `target` until both directions have ended. Once one side has ended, the other may go on
/// as long as it is not silent for longer than `limits` say. Where the client's end is not passed on to the target, a
/// client that has closed its socket ends the connection.
pub async fn relay(
    mut client: Stream,
    mut target: Stream,
    half_close: HalfClose,
    limits: &RelayLimits,
    traffic: &Traffic,
) -> io::Result<()> {
    let context = RelayContext { half_close, limits, traffic, guard: &MigrationGuard::pinned() };
    relay_until(&mut client, &mut target, context).await.map(drop)
}

/// Relays until both directions have ended, or until the connection migrates: then this thread holds none of its bytes.
/// When one side has reset the connection and ends are passed on, the socket of the other side sends a reset, too, once it
/// is dropped.
pub async fn relay_until(client: &mut Stream, target: &mut Stream, context: RelayContext<'_>) -> io::Result<Copied> {
    let resets = Resets::default();
    let result = tokio::select! {
        result = relay_both(client, target, context, &resets) => result,
        () = idle(context.traffic, context.limits.idle) => Err(io::ErrorKind::TimedOut.into()),
    };
    if resets.any() && context.half_close == HalfClose::PassOn {
        Box::pin(resets.pass_on(client, target)).await;
    }
    result
}

async fn relay_both(
    client: &mut Stream,
    target: &mut Stream,
    context: RelayContext<'_>,
    resets: &Resets,
) -> io::Result<Copied> {
    let socket = (context.half_close == HalfClose::Hold).then(|| ClientSocket::find(client));
    let (client_reads, client_writes) = client.halves();
    let (target_reads, target_writes) = target.halves();
    let mut response = pin!(relay_response(target_reads, client_writes, context, resets));
    let mut request = pin!(relay_request(client_reads, target_writes, context, resets));
    let RelayContext { limits, traffic, guard, .. } = context;
    tokio::select! {
        result = &mut request => {
            let (copied, client) = result?;
            if copied == Copied::Migrates {
                return Ok(Copied::Migrates);
            }
            traffic.client_ended();
            guard.end_direction();
            Box::pin(rest_of_response(response, &client, socket, context)).await
        }
        result = &mut response => {
            if result? == Copied::Migrates {
                return Ok(Copied::Migrates);
            }
            traffic.target_ended();
            guard.end_direction();
            let (copied, _) =
                Box::pin(until_silent(request, traffic, limits.half_closed, &limits.draining)).await?;
            Ok(copied)
        }
    }
}

/// Relays the rest of the response to a client that has ended its side. With the client's `socket` given, this ends
/// once that socket is closed.
async fn rest_of_response(
    response: impl Future<Output = io::Result<Copied>>,
    client: &ReadHalf<'_>,
    socket: Option<ClientSocket>,
    RelayContext { limits, traffic, .. }: RelayContext<'_>,
) -> io::Result<Copied> {
    let Some(socket) = socket else {
        return until_silent(response, traffic, limits.half_closed, &limits.draining).await;
    };
    let silence = match socket.end(client) {
        ClientEnd::Closed => return Ok(Copied::All),
        ClientEnd::HalfClosed => limits.half_closed,
        ClientEnd::Unknown => limits.half_closed_held,
    };
    tokio::select! {
        result = until_silent(response, traffic, silence, &limits.draining) => result,
        () = closed(|| socket.end(client)) => Ok(Copied::All),
    }
}

/// Relays from the target to the client.
async fn relay_response(
    mut target: ReadHalf<'_>,
    mut client: WriteHalf<'_>,
    context: RelayContext<'_>,
    resets: &Resets,
) -> io::Result<Copied> {
    let RelayContext { half_close, traffic, guard, .. } = context;
    let unthrottled = UploadThrottle::default();
    let direction = Direction { counter: &traffic.received, throttle: &unthrottled, guard, ends_at_reset: false };
    match copy(&mut target, &mut client, direction).await {
        Ok(Copied::Migrates) => return Ok(Copied::Migrates),
        Ok(Copied::All) => {}
        // When the target has ended, tailscaled closes its socket, perhaps with unread bytes of the client: the kernel
        // then reports a reset, after the last byte of the response.
        Err(CopyError::Read(_)) if half_close == HalfClose::Hold => {}
        Err(CopyError::Read(error)) => return Err(resets.record_target(error)),
        Err(CopyError::Write(error)) => return Err(resets.record_client(error)),
    }
    // The kernel reports a reset only once. The other direction has got it, and to this one the stream has merely
    // ended.
    if resets.by_target() {
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    end_direction(&mut client, guard).await
}

/// Relays from the client to the target. Returns the client's half, which was read to its end.
async fn relay_request<'a>(
    mut client: ReadHalf<'a>,
    mut target: WriteHalf<'_>,
    context: RelayContext<'_>,
    resets: &Resets,
) -> io::Result<(Copied, ReadHalf<'a>)> {
    let RelayContext { half_close, limits, traffic, guard } = context;
    // Uploads through the tailnet wait in the memory of tailscaled, direct ones do not: only the former are throttled.
    let throttle =
        if half_close == HalfClose::Hold { limits.upload_throttle.clone() } else { UploadThrottle::default() };
    let direction = Direction { counter: &traffic.sent, throttle: &throttle, guard, ends_at_reset: true };
    let copied = match copy(&mut client, &mut target, direction).await {
        Ok(Copied::All) if half_close == HalfClose::PassOn => end_direction(&mut target, guard).await?,
        Ok(copied) => copied,
        // A target that takes nothing more may have responded all the same. What the client still sends is read and
        // dropped: closing a socket with unread bytes resets it, and the reset overtakes the end of the response.
        Err(CopyError::Write(error)) => {
            if error.kind() == io::ErrorKind::ConnectionReset {
                resets.record_target(error);
            }
            let _hold = guard.hold();
            let discarded = Box::pin(discard(&mut client, &traffic.discarded)).await;
            discarded.map(|()| Copied::All).map_err(|error| resets.record_client(error.into_inner()))?
        }
        Err(CopyError::Read(error)) => return Err(resets.record_client(error)),
    };
    Ok((copied, client))
}

/// Shuts down the sending side of `to`, unless the other direction has ended already: then closing the socket does so.
async fn end_direction(to: &mut WriteHalf<'_>, guard: &MigrationGuard<'_>) -> io::Result<Copied> {
    if !guard.has_ended_direction() {
        to.shutdown().await?;
    }
    Ok(Copied::All)
}
