//! Remembers for a while where the datagrams to each target of an association go.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::metrics::labels::Outcome;
use crate::target::datagrams::NetworkKind;
use crate::target::host::Target;

/// How many targets are remembered; with more targets each datagram costs a request to tailscaled.
const MAX_TARGETS: usize = 256;

/// How long a route or a refusal is remembered: afterwards a node may have joined, a route been added, a name moved.
const ROUTE_LIFETIME: Duration = Duration::from_secs(10);
const REFUSAL_LIFETIME: Duration = Duration::from_secs(1);

/// Where the datagrams to a target go.
#[derive(Clone, Copy, Debug)]
pub struct FlowRoute {
    pub network: NetworkKind,
    pub address: SocketAddr,
}

/// The routes of one association, and the refusals of its targets.
#[derive(Default)]
pub struct FlowRoutes(HashMap<Target, FlowEntry>);

struct FlowEntry {
    since: Instant,
    route: Result<FlowRoute, Outcome>,
}

impl FlowRoutes {
    /// Returns the route to `target`, or why datagrams may not go there; `None` where that is not known, or no longer.
    pub fn get(&self, target: &Target) -> Option<Result<FlowRoute, Outcome>> {
        let FlowEntry { since, route } = self.0.get(target)?;
        let lifetime = if route.is_ok() { ROUTE_LIFETIME } else { REFUSAL_LIFETIME };
        (since.elapsed() < lifetime).then_some(*route)
    }

    /// Remembers the route to `target`, or why datagrams may not go there. All others are forgotten when there are too
    /// many.
    pub fn insert(&mut self, target: Target, route: Result<FlowRoute, Outcome>) {
        if self.0.len() >= MAX_TARGETS {
            self.0.clear();
        }
        self.0.insert(target, FlowEntry { since: Instant::now(), route });
    }

    /// Forgets all routes.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
