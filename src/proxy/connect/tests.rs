//! Tests that dials are repeated while tailscaled starts or ends.
//!
//! They end with the deadline.

use super::*;
use crate::config::types::enums::Direct;
use crate::config::types::local_targets::LocalTargets;
use crate::proxy::policy::access::Rules;
use crate::proxy::policy::own_listeners::OwnListeners;
use crate::state::{Phase, Publisher};
use crate::target::dial::Resolution;
use crate::target::own_node::OwnNode;
use crate::target::records::{RecordQuestion, Records};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Fails as tailscaled does while it ends, as often as told, then names an address to dial directly.
struct Ending(AtomicU32, SocketAddr);

impl Dial for Ending {
    async fn dial(&self, _: &Target) -> Result<DialOutcome, DialError> {
        match self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)) {
            Ok(_) => Err(DialError::Tailscaled("connection reset".into())),
            Err(_) => Ok(DialOutcome::Direct(self.1)),
        }
    }

    async fn own_node(&self) -> Result<Arc<OwnNode>, DialError> {
        Ok(Arc::default())
    }

    async fn locate(&self, _: &Target) -> Result<Resolution, DialError> {
        Ok(Resolution::Name)
    }

    async fn records(&self, _: RecordQuestion<'_>) -> Result<Records, DialError> {
        Ok(Records::OfOthers)
    }

    async fn associate(&self) -> Result<Datagrams, DialError> {
        Err(DialError::Refused)
    }

    fn carries_datagrams(&self) -> bool {
        true
    }

    async fn traffic(&self) -> (u64, u64) {
        (0, 0)
    }
}

fn connector(failures: u32, direct: &str, publisher: &Publisher, timeout: Duration) -> Connector<Ending> {
    let dial = Ending(AtomicU32::new(failures), direct.parse().expect("address"));
    let policy = Policy::new(Direct::Allow, LocalTargets::default(), Rules::default(), OwnListeners::default());
    Connector::new(dial, policy, publisher.watch(), timeout, |_| {})
}

fn target() -> Target {
    Target::new("web", 80).expect("a target")
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_dial_that_meets_an_ending_tailscaled_is_repeated() {
    let publisher = Publisher::new();
    publisher.publish(Phase::Ready, "joined");
    let connector = connector(3, "169.254.169.254:80", &publisher, Duration::from_secs(3));
    let error = connector.connect(&Access::default(), &target()).await.expect_err("is refused");
    assert!(matches!(error, DialError::Policy(_)), "{error}");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn repeating_ends_at_the_deadline() {
    let publisher = Publisher::new();
    publisher.publish(Phase::Ready, "joined");
    let connector = connector(u32::MAX, "127.0.0.1:1", &publisher, Duration::from_millis(100));
    let error = connector.connect(&Access::default(), &target()).await.expect_err("never answers");
    assert!(matches!(error, DialError::Tailscaled(_)), "{error}");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn right_after_a_start_an_address_of_the_tailnet_is_asked_for_until_a_node_has_it() {
    let publisher = Publisher::new();
    publisher.publish(Phase::Ready, "joined");
    let connector = connector(0, "100.64.0.9:80", &publisher, Duration::from_secs(10));
    let started = tokio::time::Instant::now();
    let target = Target::new("100.64.0.9", 80).expect("a target");
    let error = connector.connect(&Access::default(), &target).await.expect_err("no node has it");
    assert!(matches!(error, DialError::Policy(_)), "{error}");
    assert!(started.elapsed() >= Duration::from_millis(900), "{:?}", started.elapsed());
    let later = tokio::time::Instant::now();
    connector.connect(&Access::default(), &target).await.expect_err("no node has it");
    assert!(later.elapsed() < Duration::from_millis(50), "{:?}", later.elapsed());
}
