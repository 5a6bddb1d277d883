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

use crate::proxy::listener::stream::Stream;
use crate::proxy::relay::copy::Copied;
use crate::proxy::relay::limits::{RelayLimits, Traffic};
use crate::proxy::relay::migration::MigrationGuard;
use crate::proxy::relay::{HalfClose, Terms, relay, relay_until};

/// Shared by all connections. The thread begins when it is needed first, and stays.
#[derive(Debug, Default)]
pub struct RelayWorker {
    other: OnceLock<Option<Handle>>,
    /// Connections that were found to carry much, and stayed on this thread or went to the other one.
    here: AtomicUsize,
    there: AtomicUsize,
}

/// A connection that carries much, counted until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn among(those: &'a AtomicUsize) -> Self {
        those.fetch_add(1, Ordering::Relaxed);
        Self(those)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RelayWorker {
    /// Relays here, and on the other thread from when it carries much and more such connections are here than there: one
    /// that is short or silent is not worth the move.
    pub async fn relay(
        &self,
        mut client: Stream,
        mut target: Stream,
        patience: &RelayLimits,
        carried: &Arc<Traffic>,
    ) -> io::Result<()> {
        let stays = OnceLock::new();
        let leaves = || {
            let there_are_fewer = self.there.load(Ordering::Relaxed) < self.here.load(Ordering::Relaxed);
            let leaves = stays.get().is_none() && there_are_fewer && self.other().is_some();
            if !leaves {
                stays.get_or_init(|| Counted::among(&self.here));
            }
            leaves
        };
        let terms = Terms { half_close: HalfClose::PassOn, patience, carried, ties: &MigrationGuard::loose(&leaves) };
        let copied = relay_until(&mut client, &mut target, terms).await?;
        // Nothing but TCP on both sides is asked whether it leaves.
        if copied == Copied::Leaves
            && let (Stream::Tcp(client), Stream::Tcp(target), Some(other)) = (client, target, self.other())
        {
            let _counted = Counted::among(&self.there);
            return there(other, client, target, patience.clone(), Arc::clone(carried)).await;
        }
        Ok(())
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

async fn there(
    other: &Handle,
    client: TcpStream,
    target: TcpStream,
    patience: RelayLimits,
    carried: Arc<Traffic>,
) -> io::Result<()> {
    let (client, target) = (client.into_std()?, target.into_std()?);
    let relaying = other.spawn(async move {
        let (client, target) = (TcpStream::from_std(client)?, TcpStream::from_std(target)?);
        relay(Stream::Tcp(client), Stream::Tcp(target), HalfClose::PassOn, &patience, &carried).await
    });
    // Whoever gives up here gives up there.
    AbortOnDropHandle::new(relaying).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::upload_throttle::UploadThrottle;
    use std::num::NonZeroUsize;
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
    async fn exchange(lane: &RelayWorker, number: u8) {
        let ((mut client, near), (far, mut target)) = (pair().await, pair().await);
        let patience = RelayLimits {
            half_closed: LONG,
            half_closed_held: LONG,
            idle: None,
            draining: CancellationToken::new(),
            brake: UploadThrottle::default(),
        };
        let carried = Arc::new(Traffic::default());
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
        let lane = RelayWorker::default();
        exchange(&lane, 0).await;
        assert!(lane.other.get().is_none(), "one connection needs no other thread");
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let moving = async {
            while cores > 1 && lane.there.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
        };
        let moving = tokio::time::timeout(LONG, moving);
        let (moved, ..) =
            tokio::join!(moving, exchange(&lane, 1), exchange(&lane, 2), exchange(&lane, 3), exchange(&lane, 4));
        moved.expect("one that carries much moves where there are two cores");
        assert_eq!((lane.here.load(Ordering::Relaxed), lane.there.load(Ordering::Relaxed)), (0, 0));
    }
}
