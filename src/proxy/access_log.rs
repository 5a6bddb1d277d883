//! The access log: a line at the end of each connection, and for each not made.
//!
//! Names and order of the fields stay the same; what is not known of a connection is left out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::field::display;

use crate::config::types::enums::AccessLog;
use crate::proxy::listener::client::{Client, LineDue};
use crate::proxy::metrics::labels::{Outcome, Path, Protocol};
use crate::proxy::relay::traffic::Traffic;
use crate::proxy::users::user::User;
use crate::target::host::Target;

/// A client's request that led to no connection.
#[derive(Clone, Copy, Debug)]
pub struct Failure<'a> {
    pub protocol: Protocol,
    pub outcome: Outcome,
    /// `None` where the client has named none.
    pub target: Option<&'a Target>,
    /// What the client was told: a reply of SOCKS5, or a status of HTTP. `None` where it was told nothing.
    pub reply: Option<u16>,
    pub reason: &'a str,
}

impl<'a> Failure<'a> {
    /// Makes the failure of a client that was told nothing, and has named no target.
    pub fn of_handshake(protocol: Protocol, outcome: Outcome, reason: &'a str) -> Self {
        Self { protocol, outcome, target: None, reply: None, reason }
    }
}

/// Logs a request that led to no connection, unless the log has none. Of strangers one line a minute and source.
pub fn log_failure(log: AccessLog, client: &Client, failure: &Failure<'_>) {
    if log == AccessLog::Off {
        return;
    }
    let Failure { protocol, target, reply, reason, .. } = *failure;
    let (from, user, protocol) = (&*client.origin.from, client.user(), protocol.word());
    let (user, to) = (user.as_deref().map(|user| &*user.name), target.map(display));
    match client.line_due() {
        LineDue::Yes => tracing::info!(from, user, protocol, to, reply, reason, "connection not made"),
        LineDue::AfterOthers { source, withheld } => tracing::info!(
            from, user, protocol, to, reply, reason, %source, withheld,
            "connection not made; its source gets one line a minute"
        ),
        LineDue::No => {}
    }
}

/// A client's request that led to a connection.
#[derive(Debug)]
pub struct Success<'a> {
    pub protocol: Protocol,
    /// `None` for an association, which has many.
    pub target: Option<&'a Target>,
    pub path: Option<Path>,
    /// Time from the request to the connection; `None` where one was there already.
    pub connect: Option<Duration>,
    /// As [`Failure::reply`].
    pub reply: Option<u16>,
}

/// Keeps account of one connection. Dropped at its end, it counts the bytes for the user, and writes the line.
#[derive(Debug, Default)]
pub struct ConnectionRecord {
    user: Option<Arc<User>>,
    bytes: Bytes,
    error: Option<String>,
    /// `None` where connections have no line.
    line: Option<Box<Line>>,
}

/// The bytes of a connection.
#[derive(Debug, Default)]
enum Bytes {
    /// tailscaled has not told, since it has ended first or the connection was cut.
    #[default]
    Unknown,
    /// Sent by the client and received by it.
    Known(u64, u64),
    Counted(Arc<Traffic>),
}

#[derive(Debug)]
struct Line {
    from: String,
    protocol: Protocol,
    to: Option<Target>,
    path: Option<Path>,
    connect: Option<Duration>,
    reply: Option<u16>,
    begun: Instant,
}

impl ConnectionRecord {
    /// Begins the record of a connection that is there now.
    pub fn begin(log: AccessLog, client: &Client, success: &Success<'_>) -> Self {
        let line = (log == AccessLog::All).then(|| {
            let Success { protocol, path, connect, reply, .. } = *success;
            let (from, to) = (client.origin.from.clone(), success.target.cloned());
            Box::new(Line { from, protocol, to, path, connect, reply, begun: Instant::now() })
        });
        Self { user: client.user(), bytes: Bytes::Unknown, error: None, line }
    }

    /// Notes how many bytes the client has sent and received.
    pub fn carried(&mut self, sent: u64, received: u64) {
        self.bytes = Bytes::Known(sent, received);
    }

    /// Has the bytes taken from `traffic` at the end.
    pub fn counted_by(&mut self, traffic: &Arc<Traffic>) {
        self.bytes = Bytes::Counted(Arc::clone(traffic));
    }

    /// Notes that the connection broke.
    pub fn broke(&mut self, error: &std::io::Error) {
        self.error = self.line.is_some().then(|| error.to_string());
    }
}

impl Drop for ConnectionRecord {
    fn drop(&mut self) {
        let (bytes, ended_by) = match &self.bytes {
            Bytes::Unknown => (None, None),
            Bytes::Known(sent, received) => (Some((*sent, *received)), None),
            Bytes::Counted(traffic) => (Some((traffic.sent(), traffic.received())), traffic.ended_first()),
        };
        if let (Some(account), Some((sent, received))) =
            (self.user.as_ref().and_then(|user| user.account.as_ref()), bytes)
        {
            account.add_traffic(sent, received);
        }
        let Some(line) = self.line.take() else { return };
        let Line { from, protocol, to, path, connect, reply, begun } = *line;
        let (user, to) = (self.user.as_deref().map(|user| &*user.name), to.as_ref().map(display));
        let (protocol, path) = (protocol.word(), path.map(Path::word));
        let (connect_ms, duration_ms) = (connect.map(milliseconds), milliseconds(begun.elapsed()));
        let (sent, received) = bytes.unzip();
        let error = self.error.as_deref();
        tracing::info!(
            from,
            user,
            protocol,
            to,
            path,
            reply,
            connect_ms,
            duration_ms,
            sent,
            received,
            ended_by,
            error,
            "connection ended"
        );
    }
}

/// Milliseconds with three digits behind the point.
fn milliseconds(time: Duration) -> f64 {
    time.as_micros() as f64 / 1e3
}
