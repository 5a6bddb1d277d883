//! A second thread for connections past the tailnet. Splicing them is work of the kernel for which one core is not enough
//! when several carry much: in a trial of bare relays two threads moved 1.4 times as much as one. Through the tailnet
//! tailscaled needs the cores.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::task::AbortOnDropHandle;

use super::patience::{Carried, Patience};
use super::relay::{HalfClose, relay};
use super::stream::Stream;

/// With one connection there is nothing to divide, and moving it costs two wake-ups.
const ENOUGH: usize = 2;

/// Shared by all connections. The thread begins when it is needed first, and stays.
#[derive(Debug, Default)]
pub struct Lane {
    other: OnceLock<Option<Handle>>,
    open: AtomicUsize,
    turn: AtomicUsize,
}

/// A connection past the tailnet, counted until it is dropped.
struct Open<'a>(&'a AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Lane {
    /// Relays here or on the other thread, by turns.
    pub(super) async fn relay(
        &self,
        client: Stream,
        target: Stream,
        patience: &Patience,
        carried: &Arc<Carried>,
    ) -> io::Result<()> {
        let open = self.open.fetch_add(1, Ordering::Relaxed) + 1;
        let _open = Open(&self.open);
        match (client, target) {
            (Stream::Tcp(client), Stream::Tcp(target)) if open >= ENOUGH && self.is_the_others_turn() => {
                match self.other() {
                    Some(other) => there(other, client, target, patience.clone(), Arc::clone(carried)).await,
                    None => here(Stream::Tcp(client), Stream::Tcp(target), patience, carried).await,
                }
            }
            (client, target) => here(client, target, patience, carried).await,
        }
    }

    fn is_the_others_turn(&self) -> bool {
        self.turn.fetch_add(1, Ordering::Relaxed) % 2 == 1
    }

    /// `None` where there is one core, or no thread to be had.
    fn other(&self) -> Option<&Handle> {
        self.other.get_or_init(start).as_ref()
    }
}

fn start() -> Option<Handle> {
    thread::available_parallelism().ok().filter(|cores| cores.get() > 1)?;
    let event_loop = Builder::new_current_thread().enable_all().build().ok()?;
    let handle = event_loop.handle().clone();
    let run = move || event_loop.block_on(std::future::pending::<()>());
    thread::Builder::new().name("relay".into()).spawn(run).ok()?;
    Some(handle)
}

async fn here(client: Stream, target: Stream, patience: &Patience, carried: &Carried) -> io::Result<()> {
    relay(client, target, HalfClose::PassOn, patience, carried).await
}

async fn there(
    other: &Handle,
    client: TcpStream,
    target: TcpStream,
    patience: Patience,
    carried: Arc<Carried>,
) -> io::Result<()> {
    let (client, target) = (client.into_std()?, target.into_std()?);
    let relaying = other.spawn(async move {
        let (client, target) = (TcpStream::from_std(client)?, TcpStream::from_std(target)?);
        here(Stream::Tcp(client), Stream::Tcp(target), &patience, &carried).await
    });
    // Whoever gives up here gives up there.
    AbortOnDropHandle::new(relaying).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Brake;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    const LONG: Duration = Duration::from_secs(60);
    const ALL: usize = 3 << 20;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (near, far) = tokio::join!(TcpStream::connect(address), listener.accept());
        (near.expect("connects"), far.expect("accepts").0)
    }

    /// Sends much, ends its side, and has to get all of it back.
    async fn exchange(lane: &Lane, number: u8) {
        let ((mut client, near), (far, mut target)) = (pair().await, pair().await);
        let patience =
            Patience { half_closed: LONG, idle: None, draining: CancellationToken::new(), brake: Brake::default() };
        let carried = Arc::new(Carried::default());
        let relaying = lane.relay(Stream::Tcp(near), Stream::Tcp(far), &patience, &carried);
        let echoing = async {
            let mut request = Vec::new();
            target.read_to_end(&mut request).await.expect("the whole request and its end");
            target.write_all(&request).await.expect("answers");
            drop(target);
        };
        let asking = async {
            let sent: Vec<u8> = (0..ALL).map(|at| (at % 251) as u8 ^ number).collect();
            client.write_all(&sent).await.expect("sent");
            client.shutdown().await.expect("half-closed");
            let mut back = Vec::new();
            client.read_to_end(&mut back).await.expect("the whole answer");
            assert!(back == sent, "connection {number}: {} bytes came back changed", back.len());
        };
        let (result, (), ()) = tokio::join!(relaying, echoing, asking);
        result.expect("ends in order");
        assert_eq!((carried.sent(), carried.received()), (ALL as u64, ALL as u64));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn connections_on_either_thread_carry_every_byte() {
        let lane = Lane::default();
        exchange(&lane, 0).await;
        assert!(lane.other.get().is_none(), "one connection needs no other thread");
        tokio::join!(exchange(&lane, 1), exchange(&lane, 2), exchange(&lane, 3), exchange(&lane, 4));
        assert!(lane.other.get().is_some(), "several do");
        assert_eq!(lane.open.load(Ordering::Relaxed), 0);
    }
}
