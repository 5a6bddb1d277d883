//! The calls of ours inside tailscaled (`parts/tailscaled/calls`): one session, by which connections are dialled and handed
//! over, names looked up, datagrams carried. A tailscaled that users bring may lack them.

pub(crate) mod association;
pub mod channel;
pub(crate) mod dialled;
pub(crate) mod message;

use std::io;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as AsyncMutex;
use tokio::time::timeout;

use crate::tailscaled::calls::channel::{Channel, SessionOpened};
use crate::tailscaled::calls::message::request;
use crate::tailscaled::local_api::ANSWER_TIMEOUT;
use crate::tailscaled::path::timeout::within;
use crate::target::dial::{DialError, ResolvedAddress};

/// Stands in the program of a tailscaled that has the calls.
pub const MARKER: &str = "tetherd calls: version 1";

/// What is less with a tailscaled that has no such calls.
pub const WITHOUT_CALLS: &str = "this tailscaled has no calls of tetherd's: no UDP, names by split DNS do not resolve, and \
    the end of a client's connection reaches its target when the client has closed, not when it half-closes; the one that \
    comes with tetherd has them";

/// How long cutting may take at a stop: some µs for each connection.
const CUT_TIMEOUT: Duration = Duration::from_millis(200);

/// The session with the tailscaled that runs now. Clones share it.
#[derive(Clone)]
pub struct Calls(Arc<Inner>);

struct Inner {
    socket: PathBuf,
    state: Mutex<State>,
    /// One opens at a time.
    opening: AsyncMutex<()>,
    /// Bytes; 0 where tailscaled keeps what its environment says.
    memory_limit: AtomicU64,
    /// Milliseconds; 0 until the daemon drains.
    drain_limit: AtomicU64,
    /// Whether it was said what is less without the calls.
    was_said: AtomicBool,
}

enum State {
    /// No session, or none since tailscaled was started again.
    Unknown,
    Open(Arc<Channel>),
    /// tailscaled has no calls.
    Stock,
}

impl Calls {
    /// By the LocalAPI that listens at `socket`.
    pub fn new(socket: PathBuf) -> Self {
        Self(Arc::new(Inner {
            socket,
            state: Mutex::new(State::Unknown),
            opening: AsyncMutex::new(()),
            memory_limit: AtomicU64::new(0),
            drain_limit: AtomicU64::new(0),
            was_said: AtomicBool::new(false),
        }))
    }

    /// To be called when tailscaled has been started and listens: finds out what it can do, and opens the session.
    pub async fn begin(&self) {
        self.forget_all_but_an_open_session();
        if let Ok(None) = self.channel().await
            && !self.0.was_said.swap(true, Ordering::Relaxed)
        {
            tracing::warn!("{WITHOUT_CALLS}");
        }
    }

    /// A dial may have opened the session already.
    fn forget_all_but_an_open_session(&self) {
        let mut state = self.state();
        if !matches!(&*state, State::Open(channel) if channel.is_open()) {
            *state = State::Unknown;
        }
    }

    /// Whether tailscaled is known to lack the calls.
    pub fn is_stock(&self) -> bool {
        matches!(*self.state(), State::Stock)
    }

    /// The open session, opened where there is none; `None` where tailscaled has no calls.
    pub async fn channel(&self) -> io::Result<Option<Arc<Channel>>> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        // In a box: few dials open a session.
        Box::pin(self.open()).await
    }

    fn known(&self) -> Option<Option<Arc<Channel>>> {
        match &*self.state() {
            State::Open(channel) if channel.is_open() => Some(Some(Arc::clone(channel))),
            State::Stock => Some(None),
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
            SessionOpened::Session(channel) => {
                // Open first: what is set from now on is told by whoever sets it.
                *self.state() = State::Open(Arc::clone(&channel));
                self.tell(&channel).await?;
                Ok(Some(channel))
            }
            SessionOpened::Unknown => {
                *self.state() = State::Stock;
                Ok(None)
            }
        }
    }

    /// Tells a new session what was set before it.
    async fn tell(&self, channel: &Channel) -> io::Result<()> {
        let (memory, drain) = (self.0.memory_limit.load(Ordering::Relaxed), self.0.drain_limit.load(Ordering::Relaxed));
        if memory > 0 {
            channel.send(&message::message(request::MEMORY, 0, &memory.to_le_bytes()), None).await?;
        }
        if let Some(limit) = u32::try_from(drain).ok().filter(|limit| *limit > 0) {
            channel.send(&message::message(request::DRAIN, 0, &limit.to_le_bytes()), None).await?;
        }
        Ok(())
    }

    /// Bounds tailscaled's memory, in bytes, from now on and in every run to come.
    pub async fn set_memory_limit(&self, limit: u64) {
        self.0.memory_limit.store(limit, Ordering::Relaxed);
        self.tell_now().await;
    }

    /// From now on half-closed connections end when they have been silent for `limit`.
    pub async fn drain(&self, limit: Duration) {
        self.0.drain_limit.store(message::milliseconds(limit).into(), Ordering::Relaxed);
        self.tell_now().await;
    }

    /// Cuts all connections that tailscaled relays: both their sides are reset. Ends when that is done.
    pub async fn cut_all(&self) {
        let Some(Some(channel)) = self.known() else { return };
        channel.post(message::message(request::CUT_ALL, 0, &[]));
        // Messages are served in their order: with the answer to the next one this one is done.
        let id = channel.new_id();
        let _ = timeout(CUT_TIMEOUT, ask(&channel, id, request::TRAFFIC, &[])).await;
    }

    /// A session that breaks meanwhile tells the next one.
    async fn tell_now(&self) {
        if let Some(Some(channel)) = self.known() {
            let _ = self.tell(&channel).await;
        }
    }

    /// Bytes that handed-over connections have sent and received since the last report.
    pub async fn traffic(&self) -> Option<(u64, u64)> {
        let channel = self.known()??;
        let id = channel.new_id();
        let session = message::traffic(&ask(&channel, id, request::TRAFFIC, &[]).await.ok()?)?;
        Some(channel.uncounted(session))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All addresses of a name or of an address, as the tailnet knows them, and the whole name that they are of.
pub async fn resolve(channel: &Channel, name: &str) -> Result<(String, Vec<ResolvedAddress>), DialError> {
    let id = channel.new_id();
    let answer = ask(channel, id, request::RESOLVE, name.as_bytes()).await.map_err(session_ended)?;
    message::places(&answer)
}

/// One question with its answer. Given up, it is forgotten.
async fn ask(channel: &Channel, id: u32, kind: u8, body: &[u8]) -> io::Result<Vec<u8>> {
    let answer = channel.expect(id);
    let _forget = Forget(channel, id);
    channel.send(&message::message(kind, id, body), None).await?;
    answer.await.map_err(|_| io::ErrorKind::ConnectionReset.into())
}

struct Forget<'a>(&'a Channel, u32);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.0.forget(self.1);
    }
}

pub fn session_ended(error: io::Error) -> DialError {
    DialError::Tailscaled(format!("session: {error}"))
}
