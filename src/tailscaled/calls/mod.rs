//! The client of tetherd's own calls inside tailscaled, in one session.
//!
//! The calls dial and hand over connections, look names up, and carry datagrams. Their server is
//! `parts/tailscaled/calls`. A tailscaled that a user brings may lack them.

pub(crate) mod association;
pub mod channel;
pub(crate) mod connection;
pub(crate) mod message;
pub(crate) mod seqpacket;
pub(crate) mod upgrade;

use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use crate::sync::IgnorePoison;
use crate::tailscaled::calls::channel::Channel;
use crate::tailscaled::calls::message::{ByteCounts, request};
use crate::tailscaled::local_api::ANSWER_TIMEOUT;
use crate::tailscaled::local_api::socket::LocalApiSocket;
use crate::tailscaled::path::timeout::within;
use crate::target::dial::{DialError, Located};
use crate::target::records::{RecordQuestion, Records};

/// Text in the program file of a tailscaled that has the calls.
pub const MARKER: &str = "tetherd calls: version 2";

/// Warning of what does not work with a tailscaled that has no calls.
pub const WITHOUT_CALLS: &str = "this tailscaled has no calls of tetherd's: no UDP, names by split DNS do not resolve, and \
    the end of a client's connection reaches its target when the client has closed, not when it half-closes; the one that \
    comes with tetherd has them";

/// How long cutting all connections may take; each one takes some µs.
const CUT_TIMEOUT: Duration = Duration::from_millis(200);

/// The session with the running tailscaled, and the limits that every new session is told. Clones share both.
#[derive(Clone)]
pub struct Calls(Arc<Inner>);

struct Inner {
    socket: LocalApiSocket,
    state: Mutex<KnownSession>,
    /// Held while a session is opened, so that only one is opened at a time.
    opening: AsyncMutex<()>,
    /// Limit of tailscaled's memory, in bytes; 0 where tailscaled keeps what its environment says.
    memory_limit: AtomicU64,
    /// Longest silence of half-closed connections, in milliseconds; 0 until the daemon drains.
    drain_limit: AtomicU64,
    /// Whether [`WITHOUT_CALLS`] was logged.
    warned: AtomicBool,
}

enum KnownSession {
    /// No session, or none since tailscaled was started again.
    Unknown,
    Open(Arc<Channel>),
    /// tailscaled has no calls.
    Stock,
}

impl Calls {
    /// Calls to the tailscaled whose LocalAPI listens on `socket`.
    pub fn new(socket: LocalApiSocket) -> Self {
        Self(Arc::new(Inner {
            socket,
            state: Mutex::new(KnownSession::Unknown),
            opening: AsyncMutex::new(()),
            memory_limit: AtomicU64::new(0),
            drain_limit: AtomicU64::new(0),
            warned: AtomicBool::new(false),
        }))
    }

    /// Finds out whether tailscaled has the calls, and opens the session. To be called when tailscaled was started and
    /// listens.
    pub async fn begin(&self) {
        self.forget_unless_open();
        if let Ok(None) = self.channel().await
            && !self.0.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("{WITHOUT_CALLS}");
        }
    }

    /// Forgets what is known of tailscaled, unless a dial has opened a session with it already.
    fn forget_unless_open(&self) {
        let mut state = self.state();
        if !matches!(&*state, KnownSession::Open(channel) if channel.is_open()) {
            *state = KnownSession::Unknown;
        }
    }

    /// Whether tailscaled is known to lack the calls.
    pub fn is_stock(&self) -> bool {
        matches!(*self.state(), KnownSession::Stock)
    }

    /// Returns the open session, or opens one; `None` when tailscaled has no calls.
    pub async fn channel(&self) -> io::Result<Option<Arc<Channel>>> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        // Heap-allocated (`Box::pin`), since few dials open a session.
        Box::pin(self.open()).await
    }

    fn known(&self) -> Option<Option<Arc<Channel>>> {
        match &*self.state() {
            KnownSession::Open(channel) if channel.is_open() => Some(Some(Arc::clone(channel))),
            KnownSession::Stock => Some(None),
            _ => None,
        }
    }

    async fn open(&self) -> io::Result<Option<Arc<Channel>>> {
        let _turn = self.0.opening.lock().await;
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let opened = within(ANSWER_TIMEOUT, pin!(Channel::open(&self.0.socket))).await;
        match opened.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))? {
            Some(channel) => {
                // Published before the limits are sent: a limit that is set from now on is sent by its setter.
                *self.state() = KnownSession::Open(Arc::clone(&channel));
                self.send_limits(&channel).await?;
                Ok(Some(channel))
            }
            None => {
                *self.state() = KnownSession::Stock;
                Ok(None)
            }
        }
    }

    /// Tells tailscaled the limits that were set.
    async fn send_limits(&self, channel: &Channel) -> io::Result<()> {
        let (memory, drain) = (self.0.memory_limit.load(Ordering::Relaxed), self.0.drain_limit.load(Ordering::Relaxed));
        if memory > 0 {
            channel.send(&message::message(request::MEMORY, 0, &memory.to_le_bytes()), None).await?;
        }
        if let Some(limit) = u32::try_from(drain).ok().filter(|limit| *limit > 0) {
            channel.send(&message::message(request::DRAIN, 0, &limit.to_le_bytes()), None).await?;
        }
        Ok(())
    }

    /// Bounds tailscaled's memory to `limit` bytes, from now on and in every run to come.
    pub async fn set_memory_limit(&self, limit: u64) {
        self.0.memory_limit.store(limit, Ordering::Relaxed);
        self.send_limits_now().await;
    }

    /// Ends half-closed connections that have been silent for `limit`, from now on.
    pub async fn drain(&self, limit: Duration) {
        self.0.drain_limit.store(message::milliseconds(limit).into(), Ordering::Relaxed);
        self.send_limits_now().await;
    }

    /// Resets both sides of all connections that tailscaled relays. Waits until that is done, for 200 ms at most.
    pub async fn cut_all(&self) {
        let Some(Some(channel)) = self.known() else { return };
        channel.post(message::message(request::CUT_ALL, 0, &[]));
        // tailscaled handles messages in their order: the response to the next one shows that this one is done.
        let id = channel.new_id();
        let _ = timeout(CUT_TIMEOUT, ask(&channel, id, request::TRAFFIC, &[])).await;
    }

    /// Tells the open session the limits. If it breaks meanwhile, the next session is told them at its start.
    async fn send_limits_now(&self) {
        if let Some(Some(channel)) = self.known() {
            let _ = self.send_limits(&channel).await;
        }
    }

    /// Returns the bytes that handed-over connections have sent and received since the last call; `None` without a
    /// session.
    pub async fn traffic(&self) -> Option<ByteCounts> {
        let channel = self.known()??;
        let id = channel.new_id();
        let session = message::byte_counts(&ask(&channel, id, request::TRAFFIC, &[]).await.ok()?)?;
        Some(channel.uncounted(session))
    }

    fn state(&self) -> MutexGuard<'_, KnownSession> {
        self.0.state.lock().ignore_poison()
    }
}

/// Looks up a name or an address, as the tailnet knows it.
///
/// # Errors
/// Why the look-up failed; [`DialError::Tailscaled`] when the session ended first.
pub async fn resolve(channel: &Channel, name: &str) -> Result<Located, DialError> {
    let id = channel.new_id();
    let answer = ask(channel, id, request::RESOLVE, name.as_bytes()).await.map_err(session_ended)?;
    message::resolved_addresses(&answer)
}

/// Asks for records of DNS.
///
/// # Errors
/// Why there is no answer; [`DialError::Tailscaled`] when the session ended first.
pub async fn query(channel: &Channel, question: RecordQuestion<'_>) -> Result<Records, DialError> {
    let id = channel.new_id();
    let answer = ask(channel, id, request::QUERY, &message::query(question)).await.map_err(session_ended)?;
    message::records(&answer)
}

/// Sends one request and waits for its response. Dropping the future discards the response.
async fn ask(channel: &Channel, id: u32, kind: u8, body: &[u8]) -> io::Result<Vec<u8>> {
    let answer = channel.expect(id);
    let _forget = ForgetOnDrop { channel, id };
    channel.send(&message::message(kind, id, body), None).await?;
    answer.await.map_err(|_| io::ErrorKind::ConnectionReset.into())
}

struct ForgetOnDrop<'a> {
    channel: &'a Channel,
    id: u32,
}

impl Drop for ForgetOnDrop<'_> {
    fn drop(&mut self) {
        self.channel.forget(self.id);
    }
}

/// Makes the error of a dial whose session has ended.
pub fn session_ended(error: io::Error) -> DialError {
    DialError::Tailscaled(format!("session: {error}"))
}
