//! Remembers for a while where the datagrams to each target of an association go.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::proxy::metrics::labels::Outcome;
use crate::target::datagrams::Way;
use crate::target::host::Target;

/// How many targets are remembered; a client that has more pays a question to tailscaled for each datagram.
const MAX_TARGETS: usize = 256;

/// How long a route is remembered, and a refusal: a node may join, a route come, a name move.
const ROUTE_LIFETIME: Duration = Duration::from_secs(10);
const REFUSAL_LIFETIME: Duration = Duration::from_secs(1);

/// Where the datagrams to a target go.
#[derive(Clone, Copy, Debug)]
pub struct Route {
    pub way: Way,
    pub address: SocketAddr,
}

/// The routes of one association, and the refusals of its targets.
#[derive(Default)]
pub struct Routes(HashMap<Target, Entry>);

struct Entry {
    since: Instant,
    route: Result<Route, Outcome>,
}

impl Routes {
    /// Returns the route to `target`, or why datagrams may not go there; `None` where that is not known, or no longer.
    pub fn get(&self, target: &Target) -> Option<Result<Route, Outcome>> {
        let Entry { since, route } = self.0.get(target)?;
        let lifetime = if route.is_ok() { ROUTE_LIFETIME } else { REFUSAL_LIFETIME };
        (since.elapsed() < lifetime).then_some(*route)
    }

    /// Remembers the route to `target`, or why datagrams may not go there. All others are forgotten when there are too many.
    pub fn insert(&mut self, target: Target, route: Result<Route, Outcome>) {
        if self.0.len() >= MAX_TARGETS {
            self.0.clear();
        }
        self.0.insert(target, Entry { since: Instant::now(), route });
    }

    /// Forgets all routes.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}
