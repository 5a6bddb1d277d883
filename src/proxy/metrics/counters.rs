//! Counters of the proxy, for the status and for metrics.
//!
//! Every label has a handful of values, whatever clients send.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::proxy::metrics::labels::{Direction, Outcome, Path, Protocol, Refuser};
use crate::status::Connections;

/// Upper bounds of the buckets of dial times, in seconds. A connection through a warm path takes 1-2 ms;
/// `connect_timeout` is 15 s.
const DIAL_BUCKETS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0];

/// Counts connections, bytes and dials. Clones share the counts.
#[derive(Clone, Debug)]
pub struct Counters {
    open: Gauge,
    accepted: Counter,
    failed: Counter,
    requests: Family<RequestLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    bytes: Family<ByteLabels, Counter>,
    dials: Family<DialLabels, Histogram, fn() -> Histogram>,
    associations: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    protocol: Protocol,
    outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    by: Refuser,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByteLabels {
    direction: Direction,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DialLabels {
    path: Path,
}

/// Counts an open connection or association until it is dropped.
pub struct OpenGuard(Gauge);

impl OpenGuard {
    fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Default for Counters {
    fn default() -> Self {
        let counters = Self {
            open: Gauge::default(),
            accepted: Counter::default(),
            failed: Counter::default(),
            requests: Family::default(),
            refusals: Family::default(),
            bytes: Family::default(),
            dials: Family::new_with_constructor(|| Histogram::new(DIAL_BUCKETS)),
            associations: Gauge::default(),
        };
        counters.start_at_zero();
        counters
    }
}

impl Counters {
    /// Makes the counts appear at zero: one that appears only once it has happened hides its first step from `rate()`.
    fn start_at_zero(&self) {
        for protocol in Protocol::SERVED {
            drop(self.requests.get_or_create(&RequestLabels { protocol, outcome: Outcome::Connected }));
        }
        for by in [Refuser::Policy, Refuser::Authentication, Refuser::Protocol] {
            drop(self.refusals.get_or_create(&RefusalLabels { by }));
        }
        for direction in [Direction::Sent, Direction::Received] {
            drop(self.bytes.get_or_create(&ByteLabels { direction }));
        }
        for path in [Path::Tailnet, Path::Direct] {
            drop(self.dials.get_or_create(&DialLabels { path }));
        }
    }

    /// Counts a client's connection for as long as the returned value lives.
    pub fn connection_opened(&self) -> OpenGuard {
        self.accepted.inc();
        OpenGuard::new(&self.open)
    }

    /// Counts a UDP association for as long as the returned value lives.
    pub fn association_opened(&self) -> OpenGuard {
        OpenGuard::new(&self.associations)
    }

    /// Counts a request that got its connection.
    pub fn request_connected(&self, protocol: Protocol) {
        self.requests.get_or_create(&RequestLabels { protocol, outcome: Outcome::Connected }).inc();
    }

    /// Counts a request that got no connection.
    pub fn request_failed(&self, protocol: Protocol, outcome: Outcome) {
        self.failed.inc();
        self.requests.get_or_create(&RequestLabels { protocol, outcome }).inc();
        if let Some(by) = outcome.refuser() {
            self.refusals.get_or_create(&RefusalLabels { by }).inc();
        }
    }

    /// Counts a datagram that tetherd has refused.
    pub fn datagram_dropped(&self, outcome: Outcome) {
        if let Some(by) = outcome.refuser() {
            self.refusals.get_or_create(&RefusalLabels { by }).inc();
        }
    }

    /// Counts how long a client waited for its connection.
    pub fn dialled(&self, path: Path, time: Duration) {
        self.dials.get_or_create(&DialLabels { path }).observe(time.as_secs_f64());
    }

    /// Returns the counter of the bytes carried in one direction, to add to.
    pub fn bytes(&self, direction: Direction) -> Counter {
        self.bytes.get_or_create_owned(&ByteLabels { direction })
    }

    /// Adds bytes that were sent and received and not counted as they passed.
    pub fn add_traffic(&self, (sent, received): (u64, u64)) {
        self.bytes(Direction::Sent).inc_by(sent);
        self.bytes(Direction::Received).inc_by(received);
    }

    /// Returns the counts as they are now.
    pub fn now(&self) -> Connections {
        Connections {
            open: self.open.get().try_into().unwrap_or_default(),
            accepted: self.accepted.get(),
            failed: self.failed.get(),
            sent_bytes: self.bytes(Direction::Sent).get(),
            received_bytes: self.bytes(Direction::Received).get(),
        }
    }

    /// Adds the metrics of the proxy to `registry`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("connections_open", "Clients connected now", self.open.clone());
        registry.register("connections_accepted", "Clients accepted since the start", self.accepted.clone());
        registry.register(
            "connections",
            "What clients asked for and what came of it: an HTTP client may ask several times over one connection",
            self.requests.clone(),
        );
        registry.register("refusals", "Connections and datagrams that tetherd itself refused", self.refusals.clone());
        registry.register("relayed_bytes", "Bytes carried: sent by clients, received by them", self.bytes.clone());
        registry.register_with_unit(
            "dial_duration",
            "Time from a client's request to its connection, waiting for the tailnet included",
            Unit::Seconds,
            self.dials.clone(),
        );
        registry.register("udp_associations_open", "UDP associations alive now", self.associations.clone());
    }
}
