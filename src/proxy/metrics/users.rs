//! Counters of each user, for metrics. There are as many as the file has users.

use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::proxy::metrics::labels::{Direction, Refuser};

/// Counters of all users. Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct UserMetrics {
    open: Family<UserLabel, Gauge>,
    connections: Family<UserLabel, Counter>,
    refusals: Family<UserRefusalLabels, Counter>,
    bytes: Family<UserByteLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UserLabel {
    user: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UserRefusalLabels {
    user: String,
    by: Refuser,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UserByteLabels {
    user: String,
    direction: Direction,
}

/// The parts of tetherd that refuse a client whose password was right.
const REFUSERS: [Refuser; 3] = [Refuser::Policy, Refuser::Limit, Refuser::Protocol];
const DIRECTIONS: [Direction; 2] = [Direction::Sent, Direction::Received];

/// Counters of one user. Clones share the counts, also once the user is forgotten.
#[derive(Clone, Debug)]
pub struct UserAccount(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    open: Gauge,
    connections: Counter,
    refusals: [(Refuser, Counter); REFUSERS.len()],
    sent: Counter,
    received: Counter,
}

impl UserMetrics {
    /// Returns the counters of `user`, the same ones as before where there are some.
    pub fn account(&self, user: &str) -> UserAccount {
        let label = UserLabel { user: user.to_owned() };
        let bytes = |direction| self.bytes.get_or_create_owned(&UserByteLabels { user: user.to_owned(), direction });
        let [sent, received] = DIRECTIONS.map(bytes);
        UserAccount(Arc::new(Counts {
            open: self.open.get_or_create_owned(&label),
            connections: self.connections.get_or_create_owned(&label),
            refusals: REFUSERS
                .map(|by| (by, self.refusals.get_or_create_owned(&UserRefusalLabels { user: user.to_owned(), by }))),
            sent,
            received,
        }))
    }

    /// Leaves `user` out of the metrics from now on.
    pub fn forget(&self, user: &str) {
        let label = UserLabel { user: user.to_owned() };
        self.open.remove(&label);
        self.connections.remove(&label);
        for by in REFUSERS {
            self.refusals.remove(&UserRefusalLabels { user: user.to_owned(), by });
        }
        for direction in DIRECTIONS {
            self.bytes.remove(&UserByteLabels { user: user.to_owned(), direction });
        }
    }

    /// Adds the metrics of users to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("user_connections_open", "Connections of each user now", self.open.clone());
        registry.register("user_connections", "Requests of each user that got a connection", self.connections.clone());
        registry.register(
            "user_refusals",
            "Requests and datagrams of each user that were refused",
            self.refusals.clone(),
        );
        let help = "Bytes carried for each user, counted at the end of a connection: sent by it, received by it";
        registry.register("user_bytes", help, self.bytes.clone());
    }
}

impl UserAccount {
    /// Counts one more open connection, and returns how many there are.
    pub fn opened(&self) -> usize {
        (self.0.open.inc() + 1).try_into().unwrap_or_default()
    }

    /// Counts one open connection less.
    pub fn closed(&self) {
        self.0.open.dec();
    }

    /// Counts a request that got its connection.
    pub fn connected(&self) {
        self.0.connections.inc();
    }

    /// Counts a request or a datagram that tetherd has refused.
    pub fn refused(&self, by: Refuser) {
        if let Some((_, refusals)) = self.0.refusals.iter().find(|(own, _)| *own == by) {
            refusals.inc();
        }
    }

    /// Adds the bytes of a connection that has ended.
    pub fn add_traffic(&self, sent: u64, received: u64) {
        self.0.sent.inc_by(sent);
        self.0.received.inc_by(received);
    }
}
