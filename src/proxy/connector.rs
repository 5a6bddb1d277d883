//! Gets a client its connection: waits until the tailnet is there, dials, dials directly where that is right, and
//! tries again when tailscaled went away meanwhile. One deadline covers it all.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout_at};

use super::policy::Policy;
use crate::dial::{Dial, DialError, Dialled, Target};
use crate::state::{Phase, Watcher};

/// tailscaled that has just ended is noticed within milliseconds; until then its socket is tried again at this pace.
const RETRY: Duration = Duration::from_millis(20);

/// How a dial through the tailnet ended, for those who judge the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Answered,
    TimedOut,
}

/// A connection to a target.
#[derive(Debug)]
pub enum Connection {
    /// tailscaled ends both directions as soon as one ends.
    Tailnet(UnixStream, Bytes),
    Direct(TcpStream),
}

/// Connects clients to targets.
pub struct Connector<D> {
    dial: D,
    policy: Policy,
    state: Watcher,
    timeout: Duration,
    observe: Box<dyn Fn(Outcome) + Send + Sync>,
}

impl<D: Dial> Connector<D> {
    /// `timeout` covers waiting and dialling together; `observe` hears how dials through the tailnet end.
    pub fn new(
        dial: D,
        policy: Policy,
        state: Watcher,
        timeout: Duration,
        observe: impl Fn(Outcome) + Send + Sync + 'static,
    ) -> Self {
        Self { dial, policy, state, timeout, observe: Box::new(observe) }
    }

    /// A connection to `target`, or the reason why there is none.
    pub async fn connect(&self, target: &Target) -> Result<Connection, DialError> {
        let deadline = Instant::now() + self.timeout;
        match self.dial_when_ready(target, deadline).await? {
            Dialled::Tailnet(stream, early) => Ok(Connection::Tailnet(stream, early)),
            Dialled::Outside(address) => {
                self.policy.judge_outside(address)?;
                timeout_at(deadline, dial_directly(address)).await.unwrap_or_else(|_| Err(self.too_late("dialling directly")))
            }
        }
    }

    async fn dial_when_ready(&self, target: &Target, deadline: Instant) -> Result<Dialled, DialError> {
        let mut state = self.state.clone();
        loop {
            let ready = timeout_at(deadline, wait_until_ready(&mut state)).await;
            ready.unwrap_or_else(|_| Err(self.too_late(&why_waiting(&state))))?;
            let result = match timeout_at(deadline, self.dial.dial(target)).await {
                Ok(result) => result,
                Err(_) => Err(self.too_late("no answer through the tailnet")),
            };
            match &result {
                Err(DialError::Tailscaled(error)) => tracing::debug!(%target, error, "dialling again"),
                _ => {
                    self.observe(&result);
                    return result;
                }
            }
            if Instant::now() + RETRY >= deadline {
                return result;
            }
            sleep(RETRY).await;
        }
    }

    fn observe(&self, result: &Result<Dialled, DialError>) {
        match result {
            Ok(Dialled::Tailnet(..)) | Err(DialError::Refused) => (self.observe)(Outcome::Answered),
            Err(DialError::TimedOut(_)) => (self.observe)(Outcome::TimedOut),
            _ => {}
        }
    }

    fn too_late(&self, doing: &str) -> DialError {
        DialError::TimedOut(format!("{doing} after {}", humantime::format_duration(self.timeout)))
    }
}

/// Ends when a dial makes sense. A draining daemon's tailscaled still works for connections that were there before.
async fn wait_until_ready(state: &mut Watcher) -> Result<(), DialError> {
    let gone = || DialError::Network("tetherd is stopping".into());
    let now = state.wait_for(|state| state.is_ready() || state.is_ending()).await.map_err(|_| gone())?;
    match now.phase {
        Phase::Failed => Err(DialError::Network(now.reason.clone())),
        Phase::Draining if now.time_to_ready.is_none() => Err(gone()),
        _ => Ok(()),
    }
}

fn why_waiting(state: &Watcher) -> String {
    let state = state.borrow();
    format!("the tailnet is not ready ({:?}: {})", state.phase, state.reason)
}

async fn dial_directly(address: SocketAddr) -> Result<Connection, DialError> {
    let text = |error: &std::io::Error| format!("{address}: {error}");
    let stream = TcpStream::connect(address).await.map_err(|error| match error.kind() {
        ErrorKind::ConnectionRefused => DialError::Refused,
        ErrorKind::TimedOut => DialError::TimedOut(text(&error)),
        ErrorKind::NetworkUnreachable | ErrorKind::AddrNotAvailable | ErrorKind::NetworkDown => DialError::Network(text(&error)),
        ErrorKind::HostUnreachable => DialError::Host(text(&error)),
        _ => DialError::Other(text(&error)),
    })?;
    // Small messages must not wait for the next ones.
    let _ = stream.set_nodelay(true);
    Ok(Connection::Direct(stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Direct;
    use crate::state::Publisher;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Fails as tailscaled does while it ends, as often as told, then names an address outside.
    struct Ending(AtomicU32, SocketAddr);

    impl Dial for Ending {
        async fn dial(&self, _: &Target) -> Result<Dialled, DialError> {
            match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
                Ok(_) => Err(DialError::Tailscaled("connection reset".into())),
                Err(_) => Ok(Dialled::Outside(self.1)),
            }
        }
    }

    fn connector(failures: u32, outside: &str, publisher: &Publisher, timeout: Duration) -> Connector<Ending> {
        let dial = Ending(AtomicU32::new(failures), outside.parse().expect("address"));
        Connector::new(dial, Policy::new(Direct::Allow), publisher.watch(), timeout, |_| {})
    }

    fn target() -> Target {
        Target::new("web", 80)
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_connection_that_comes_early_waits_and_times_out_with_the_reason() {
        let publisher = Publisher::new();
        let connector = connector(0, "127.0.0.1:1", &publisher, Duration::from_secs(3));
        let started = Instant::now();
        let error = connector.connect(&target()).await.expect_err("is not ready");
        assert!(matches!(&error, DialError::TimedOut(text) if text.contains("tailscaled is starting")), "{error}");
        assert_eq!(started.elapsed().as_secs(), 3);
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_dial_that_meets_an_ending_tailscaled_is_repeated() {
        let publisher = Publisher::new();
        publisher.publish(Phase::Ready, "joined");
        let connector = connector(3, "169.254.169.254:80", &publisher, Duration::from_secs(3));
        let error = connector.connect(&target()).await.expect_err("is refused");
        assert!(matches!(error, DialError::Policy(_)), "{error}");
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn repeating_ends_at_the_deadline() {
        let publisher = Publisher::new();
        publisher.publish(Phase::Ready, "joined");
        let connector = connector(u32::MAX, "127.0.0.1:1", &publisher, Duration::from_millis(100));
        let error = connector.connect(&target()).await.expect_err("never answers");
        assert!(matches!(error, DialError::Tailscaled(_)), "{error}");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_failed_daemon_keeps_nobody_waiting() {
        let publisher = Publisher::new();
        publisher.publish(Phase::Failed, "no tailscaled");
        let connector = connector(0, "127.0.0.1:1", &publisher, Duration::from_secs(60));
        let error = connector.connect(&target()).await.expect_err("has failed");
        assert!(matches!(error, DialError::Network(_)), "{error}");
    }
}
