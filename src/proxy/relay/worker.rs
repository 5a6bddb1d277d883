//! A second thread that relays direct connections which carry much.
//!
//! Splicing is work of the kernel for which one core is not enough: in a trial of bare relays two threads moved 1.4
//! times as much as one. Connections through the tailnet stay, since tailscaled needs the cores.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::task::AbortOnDropHandle;

use crate::proxy::listener::stream::Stream;
use crate::proxy::relay::copy::Copied;
use crate::proxy::relay::limits::RelayLimits;
use crate::proxy::relay::migration::MigrationGuard;
use crate::proxy::relay::traffic::Traffic;
use crate::proxy::relay::{HalfClose, RelayContext, relay, relay_until};

/// Relays direct connections on this thread and on the worker's. Shared by all connections; the worker's thread starts
/// when it is first needed, and stays.
#[derive(Debug, Default)]
pub struct RelayWorker {
    thread: OnceLock<Option<Handle>>,
    /// Connections that carry much and stayed on the thread that accepted them.
    stayed: AtomicUsize,
    /// Connections that carry much and moved to the worker's thread.
    moved: AtomicUsize,
}

/// A connection that carries much, counted until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn in_count(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl RelayWorker {
    /// Relays on this thread, and on the worker's from when the connection carries much and fewer such connections have
    /// moved than stayed: one that is short or silent is not worth the move.
    pub async fn relay(
        &self,
        mut client: Stream,
        mut target: Stream,
        limits: &RelayLimits,
        traffic: &Arc<Traffic>,
    ) -> io::Result<()> {
        let stays = OnceLock::new();
        let wants_to_migrate = || {
            let fewer_have_moved = self.moved.load(Ordering::Relaxed) < self.stayed.load(Ordering::Relaxed);
            let migrates = stays.get().is_none() && fewer_have_moved && self.thread().is_some();
            if !migrates {
                stays.get_or_init(|| Counted::in_count(&self.stayed));
            }
            migrates
        };
        let guard = &MigrationGuard::movable(&wants_to_migrate);
        let context = RelayContext { half_close: HalfClose::PassOn, limits, traffic, guard };
        let copied = relay_until(&mut client, &mut target, context).await?;
        // Only TCP on both sides is asked whether it migrates.
        if copied == Copied::Migrates
            && let (Stream::Tcp(client), Stream::Tcp(target), Some(thread)) = (client, target, self.thread())
        {
            let _counted = Counted::in_count(&self.moved);
            return relay_on(thread, client, target, limits.clone(), Arc::clone(traffic)).await;
        }
        Ok(())
    }

    /// Returns the worker's thread; `None` where there is one core, or where no thread can be started.
    fn thread(&self) -> Option<&Handle> {
        self.thread.get_or_init(start_thread).as_ref()
    }
}

fn start_thread() -> Option<Handle> {
    thread::available_parallelism().ok().filter(|cores| cores.get() > 1)?;
    let event_loop = Builder::new_current_thread().enable_all().build().ok()?;
    let handle = event_loop.handle().clone();
    let run = move || event_loop.block_on(std::future::pending::<()>());
    thread::Builder::new().name("relay".into()).spawn(run).ok()?;
    Some(handle)
}

/// Relays on the event loop of `thread`. Dropped, it ends the relay there.
async fn relay_on(
    thread: &Handle,
    client: TcpStream,
    target: TcpStream,
    limits: RelayLimits,
    traffic: Arc<Traffic>,
) -> io::Result<()> {
    let (client, target) = (client.into_std()?, target.into_std()?);
    let relaying = thread.spawn(async move {
        let (client, target) = (TcpStream::from_std(client)?, TcpStream::from_std(target)?);
        relay(Stream::Tcp(client), Stream::Tcp(target), HalfClose::PassOn, &limits, &traffic).await
    });
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
    async fn exchange(worker: &RelayWorker, number: u8) {
        let ((mut client, near), (far, mut target)) = (pair().await, pair().await);
        let limits = RelayLimits {
            half_closed: LONG,
            half_closed_held: LONG,
            idle: None,
            draining: CancellationToken::new(),
            upload_throttle: UploadThrottle::default(),
        };
        let traffic = Arc::new(Traffic::default());
        let relaying = worker.relay(Stream::Tcp(near), Stream::Tcp(far), &limits, &traffic);
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
        assert_eq!((traffic.sent(), traffic.received()), (ALL as u64, ALL as u64));
    }

    #[tokio::test(flavor = "current_thread")]
    async fn connections_on_either_thread_carry_every_byte() {
        let worker = RelayWorker::default();
        exchange(&worker, 0).await;
        assert!(worker.thread.get().is_none(), "one connection needs no other thread");
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let moving = async {
            while cores > 1 && worker.moved.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
        };
        let moving = tokio::time::timeout(LONG, moving);
        let (moved, ..) = tokio::join!(
            moving,
            exchange(&worker, 1),
            exchange(&worker, 2),
            exchange(&worker, 3),
            exchange(&worker, 4)
        );
        moved.expect("one that carries much moves where there are two cores");
        assert_eq!((worker.stayed.load(Ordering::Relaxed), worker.moved.load(Ordering::Relaxed)), (0, 0));
    }
}
