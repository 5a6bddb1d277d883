//! Limits how many clients are connected, by a permit for each.
//!
//! Permits are given out while there is memory. One is taken before accept, so that clients wait in the backlog and are not
//! refused; where strangers can come, clients are in the lobby until they are let in, and take one then. Those of a balancer
//! have a lobby of their own until it has said where they come from.

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
    /// Clients of balancers, none of which has said where they come from yet.
    unknown: Lobby,
    records: SourceRecords,
}

/// What the clients of a listener get as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirstPlace {
    /// A permit: nothing is asked of them.
    Permit,
    /// A place in the lobby: strangers can come, or a password is asked for.
    Lobby,
    /// A place among those whose balancer has yet to say where they come from, by a header of the PROXY protocol.
    Unknown,
}

/// What one more client can have as soon as it is accepted.
#[derive(Debug)]
pub enum Ticket {
    Permit(Permit),
    /// A place in the lobby.
    Lobby,
    /// A place among those of balancers.
    Unknown,
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
        let (permits, lobby, unknown) = (Arc::new(Semaphore::new(max)), Lobby::beside(max), Lobby::beside(max));
        Self(Arc::new(Limits { permits, throttle, lobby, unknown, records: SourceRecords::default() }))
    }

    /// Returns the failures of clients, by their source.
    pub fn records(&self) -> &SourceRecords {
        &self.0.records
    }

    /// Waits for room in a lobby, or for a permit, and until there is memory.
    pub async fn ticket(&self, first: FirstPlace) -> Ticket {
        let ticket = self.ticket_at_once(first).await;
        self.0.throttle.wait().await;
        ticket
    }

    /// Waits for room in a lobby, or for a permit, however little memory is left. The room is there until the next await.
    pub async fn ticket_at_once(&self, first: FirstPlace) -> Ticket {
        match first {
            FirstPlace::Permit => Ticket::Permit(self.permit().await),
            FirstPlace::Lobby => {
                self.0.lobby.wait_for_room().await;
                Ticket::Lobby
            }
            FirstPlace::Unknown => {
                self.0.unknown.wait_for_room().await;
                Ticket::Unknown
            }
        }
    }

    /// Gives a client of `source` the place that its ticket is for.
    pub fn place(&self, ticket: Ticket, source: Source) -> Place {
        match ticket {
            Ticket::Permit(permit) => Place::LetIn(permit),
            Ticket::Lobby => Place::Lobby(self.0.lobby.enter(source)),
            Ticket::Unknown => Place::Lobby(self.0.unknown.enter(Source::Unknown)),
        }
    }

    /// Waits for room in the lobby, and takes a client in that its balancer says to be of `source`.
    pub async fn enter_lobby(&self, source: Source) -> Guest {
        self.0.lobby.wait_for_room().await;
        self.0.lobby.enter(source)
    }

    /// Gives no permits any more: connections are about to be cut, and who still waits for one's place is not to take it.
    pub fn close(&self) {
        self.0.permits.close();
    }

    /// Waits for a permit, for ever once there are none any more.
    pub async fn permit(&self) -> Permit {
        match Arc::clone(&self.0.permits).acquire_owned().await {
            Ok(permit) => permit,
            // Closed: the client is cut soon.
            Err(_) => std::future::pending().await,
        }
    }
}
