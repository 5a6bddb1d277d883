//! The one writer of the published state: puts together what the keeper reports and what stands in the way of an
//! exit node that is required.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};

use crate::state::{Phase, Publisher};
use crate::tailscaled::events::KeeperEvent;
use crate::tailscaled::exit_node::watch::Obstacle;

/// Publishes until the keeper ends. `obstacle` keeps the daemon from being ready; dials wait meanwhile.
pub async fn publish(
    mut reports: mpsc::UnboundedReceiver<KeeperEvent>,
    mut obstacle: watch::Receiver<Obstacle>,
    publisher: Arc<Publisher>,
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
            () = changed(&mut obstacle) => {}
        }
        if let Some(report) = &last {
            tell(&publisher, report, &obstacle.borrow_and_update());
        }
    }
}

fn tell(publisher: &Publisher, report: &KeeperEvent, obstacle: &Obstacle) {
    match obstacle {
        Some(reason) if report.phase == Phase::Ready => publisher.publish_as(Phase::Starting, reason, false),
        _ => publisher.publish_as(report.phase, &report.reason, report.dialable),
    }
}

/// Never ends when nobody watches an exit node.
async fn changed(obstacle: &mut watch::Receiver<Obstacle>) {
    if obstacle.changed().await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_obstacle_holds_back_ready_and_nothing_else() {
        let publisher = Publisher::new();
        let report =
            |phase, reason: &str| KeeperEvent { phase, reason: reason.to_owned(), dialable: phase == Phase::Ready };
        let obstacle = Some("exit node gw is offline".to_owned());
        let watcher = publisher.watch();
        tell(&publisher, &report(Phase::Ready, "joined"), &obstacle);
        assert_eq!(watcher.borrow().reason, "exit node gw is offline");
        assert!(!watcher.borrow().is_ready() && !watcher.borrow().dialable);
        tell(&publisher, &report(Phase::Ready, "joined"), &None);
        assert!(watcher.borrow().is_ready());
        tell(&publisher, &report(Phase::NeedsLogin, "expired"), &obstacle);
        assert_eq!(watcher.borrow().reason, "expired");
    }
}
