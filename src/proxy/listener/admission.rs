//! Limits how many clients are connected, by a permit for each.
//!
//! Permits are given out while there is memory. One is taken before accept, so that clients wait in the backlog and are not
//! refused; where strangers can come, clients are in the lobby until they are let in, and take one then.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::memory::accept_throttle::AcceptThrottle;
use crate::proxy::listener::lobby::{Guest, Lobby};
use crate::proxy::listener::records::SourceRecords;
use crate::proxy::listener::source::Source;

/// Allows one connection, and counts it until dropped.
pub type Permit = OwnedSemaphorePermit;

/// Gives out permits. Shared by all listeners; cheap to clone.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Limits>);

#[derive(Debug)]
struct Limits {
    permits: Arc<Semaphore>,
    throttle: AcceptThrottle,
    lobby: Lobby,
    records: SourceRecords,
}

/// What one more client can have as soon as it is accepted.
#[derive(Debug)]
pub enum Ticket {
    Permit(Permit),
    /// A place in the lobby.
    Lobby,
}

/// What a client has: it is let in, or waits for that in the lobby.
#[derive(Debug)]
pub enum Place {
    LetIn(Permit),
    Lobby(Guest),
    /// It is on its way from the lobby.
    Between,
}

impl Admission {
    /// Allows `max` connections at a time, and new ones only while `throttle` does.
    pub fn new(max: usize, throttle: AcceptThrottle) -> Self {
        let (permits, lobby) = (Arc::new(Semaphore::new(max)), Lobby::beside(max));
        Self(Arc::new(Limits { permits, throttle, lobby, records: SourceRecords::default() }))
    }

    /// Returns the failures of clients, by their source.
    pub fn records(&self) -> &SourceRecords {
        &self.0.records
    }

    /// Waits for room in the lobby, or for a permit, and until there is memory.
    pub async fn ticket(&self, by_lobby: bool) -> Ticket {
        let ticket = if by_lobby {
            self.0.lobby.wait_for_room().await;
            Ticket::Lobby
        } else {
            Ticket::Permit(self.permit().await)
        };
        self.0.throttle.wait().await;
        ticket
    }

    /// Returns a ticket where there is one now, however little memory is left.
    pub fn try_ticket(&self, by_lobby: bool) -> Option<Ticket> {
        if by_lobby {
            self.0.lobby.has_room().then_some(Ticket::Lobby)
        } else {
            Arc::clone(&self.0.permits).try_acquire_owned().ok().map(Ticket::Permit)
        }
    }

    /// Gives a client of `source` the place that its ticket is for.
    pub fn place(&self, ticket: Ticket, source: Source) -> Place {
        match ticket {
            Ticket::Permit(permit) => Place::LetIn(permit),
            Ticket::Lobby => Place::Lobby(self.0.lobby.enter(source)),
        }
    }

    /// Waits for a permit.
    pub async fn permit(&self) -> Permit {
        match Arc::clone(&self.0.permits).acquire_owned().await {
            Ok(permit) => permit,
            // The semaphore is never closed.
            Err(_) => std::future::pending().await,
        }
    }
}
