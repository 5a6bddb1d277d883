//! Publishes the daemon's state: the only caller of `Publisher`, fed by events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};

use crate::exit_reason::ExitReason;
use crate::state::{Phase, Publisher, Watcher};
use crate::tailscaled::events::KeeperEvent;
use crate::tailscaled::exit_node::watch::ExitNodeProblem;

/// Something that changes the published state.
pub enum StateEvent<'a> {
    /// The keeper of tailscaled has reported. An obstacle keeps the daemon from being ready; dials wait meanwhile.
    Reported(&'a KeeperEvent, &'a ExitNodeProblem),
    /// A stop was asked for, for this reason.
    StopRequested(&'a str),
    /// The daemon cannot go on.
    Failed(&'a ExitReason),
}

/// Publishes the state. Clones publish the same one.
#[derive(Clone, Default)]
pub struct StatePublisher(Arc<Publisher>);

impl StatePublisher {
    /// Returns a reader of the state.
    pub fn watch(&self) -> Watcher {
        self.0.watch()
    }

    /// Publishes what `event` makes of the state, before it returns.
    pub fn publish(&self, event: StateEvent<'_>) {
        match event {
            StateEvent::Reported(report, Some(problem)) if report.phase == Phase::Ready => {
                self.0.publish_as(Phase::Starting, problem, false);
            }
            StateEvent::Reported(report, _) => self.0.publish_as(report.phase, &report.reason, report.dialable),
            StateEvent::StopRequested(reason) => self.0.publish(Phase::Draining, reason),
            StateEvent::Failed(reason) => self.0.publish(Phase::Failed, &reason.to_string()),
        }
    }
}

/// Publishes the keeper's `reports`, seen together with the latest `problem` of a required exit node, until the keeper
/// ends. Counts `restarts` of tailscaled.
pub async fn publish_reports(
    mut reports: mpsc::UnboundedReceiver<KeeperEvent>,
    mut problem: watch::Receiver<ExitNodeProblem>,
    publisher: StatePublisher,
    restarts: Arc<AtomicU64>,
) {
    let mut last: Option<KeeperEvent> = None;
    loop {
        tokio::select! {
            report = reports.recv() => {
                let Some(report) = report else { return };
                if report.phase == Phase::Restarting {
                    restarts.fetch_add(1, Ordering::Relaxed);
                }
                last = Some(report);
            }
            () = changed(&mut problem) => {}
        }
        if let Some(report) = &last {
            publisher.publish(StateEvent::Reported(report, &problem.borrow_and_update()));
        }
    }
}

/// Waits for another obstacle. Never ends when nobody watches an exit node.
async fn changed(problem: &mut watch::Receiver<ExitNodeProblem>) {
    if problem.changed().await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obstacle_holds_back_ready_and_nothing_else() {
        let publisher = StatePublisher::default();
        let report =
            |phase, reason: &str| KeeperEvent { phase, reason: reason.to_owned(), dialable: phase == Phase::Ready };
        let problem = Some("exit node gw is offline".to_owned());
        let watcher = publisher.watch();
        publisher.publish(StateEvent::Reported(&report(Phase::Ready, "joined"), &problem));
        assert_eq!(watcher.borrow().reason, "exit node gw is offline");
        assert!(!watcher.borrow().is_ready() && !watcher.borrow().dialable);
        publisher.publish(StateEvent::Reported(&report(Phase::Ready, "joined"), &None));
        assert!(watcher.borrow().is_ready());
        publisher.publish(StateEvent::Reported(&report(Phase::NeedsLogin, "expired"), &problem));
        assert_eq!(watcher.borrow().reason, "expired");
    }
}
