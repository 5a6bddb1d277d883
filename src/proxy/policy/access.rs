//! What one client may reach, beside what holds for all clients.

use std::sync::Arc;

use crate::config::types::rule::Rule;

/// What decides about the targets of one client alone.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Whether the client came by a listener that other machines reach, and itself chooses the target.
    pub by_network: bool,
    /// The rules of the client's user, which hold beside those for all; `None` where the user has none.
    pub rules: Option<Arc<Rules>>,
}

/// Rules about targets: `deny` wins; where there is an `allow`, nothing else is reached.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub allow: Vec<Rule>,
    pub deny: Vec<Rule>,
}
