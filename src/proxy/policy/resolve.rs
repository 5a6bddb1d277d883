//! Resolves a target to addresses and checks them against the policy.
//!
//! The addresses that were checked are those that are dialled, so that no second look-up can lead elsewhere.

use std::time::Duration;

use tokio::time::timeout;

use crate::proxy::connect::deadline::{Deadline, pause_without_tailscaled};
use crate::proxy::connect::hedge::{DialSignal, SignalObserver};
use crate::proxy::policy::Policy;
use crate::proxy::policy::access::Access;
use crate::proxy::policy::client_policy::ClientPolicy;
use crate::target::dial::{Dial, DialError, Located, Resolution, ResolvedAddress};
use crate::target::host::{Host, Target};

/// Pause before a name that is not known yet is looked up again. It may be a name for the container's own name server,
/// which must not be asked too often.
const LOOK_UP_AGAIN: Duration = Duration::from_millis(200);

/// How long a look-up may take right after a start of tailscaled before it is made anew.
const LOOK_UP_EARLY: Duration = Duration::from_secs(1);

/// Resolves and checks the target of one client.
pub struct TargetResolver<'a, D> {
    pub dial: &'a D,
    pub policy: &'a Policy,
    pub access: &'a Access,
    pub deadline: Deadline<'a>,
    /// Gets [`DialSignal::NoAnswer`] for each look-up that gets no answer.
    pub observe: &'a SignalObserver,
}

/// What to dial for a target.
pub enum Resolved {
    /// The target as the client gave it: tailscaled resolves it.
    AsGiven,
    /// Addresses that the policy allows, at least one; any of them may be dialled.
    Addresses(Vec<ResolvedAddress>),
}

/// How a look-up ended.
enum LookUp {
    Found(Resolution),
    /// The host is not known right after a start, when tailscaled may not know every node yet; says why.
    UnknownYet(String),
}

impl<D: Dial> TargetResolver<'_, D> {
    /// Checks a target as the client gave it. A node has two names, with and without the tailnet's domain: a rule about
    /// one of them covers the node.
    pub async fn check_as_given(&self, target: &Target) -> Result<(), DialError> {
        if Policy::needs_own_node(target) {
            let doing = "asking tailscaled for this node's name and addresses";
            let node = self.deadline.retry(doing, || self.dial.own_node(), pause_without_tailscaled).await?;
            self.policy.set_own_node(node);
        }
        self.policy.of(self.access).check_target(target)
    }

    /// Resolves a target that is a name; an address stays as it is. A name outside the tailnet may have several
    /// addresses, and other ones at the next look-up.
    pub async fn resolve_name(&self, target: &Target) -> Result<Resolved, DialError> {
        match target.host {
            Host::Name(_) => self.resolve(target).await,
            Host::Ip(_) => Ok(Resolved::AsGiven),
        }
    }

    /// Resolves a target. For an address the result tells whether a node of the tailnet leads there.
    pub async fn resolve(&self, target: &Target) -> Result<Resolved, DialError> {
        match self.look_up(target).await? {
            Resolution::Name => Ok(Resolved::AsGiven),
            Resolution::Addresses(located) => {
                allowed(self.policy.of(self.access), target, located).map(Resolved::Addresses)
            }
        }
    }

    async fn look_up(&self, target: &Target) -> Result<Resolution, DialError> {
        let pause_after = |result: &Result<LookUp, DialError>| match result {
            Ok(LookUp::Found(_)) => None,
            Ok(LookUp::UnknownYet(_)) => Some(LOOK_UP_AGAIN),
            Err(error) => {
                if matches!(error, DialError::TimedOut(_)) {
                    (self.observe)(DialSignal::NoAnswer);
                }
                pause_without_tailscaled(result)
            }
        };
        match self.deadline.retry("looking up the name", || self.look_up_once(target), pause_after).await? {
            LookUp::Found(resolution) => Ok(resolution),
            LookUp::UnknownYet(reason) => Err(DialError::Host(reason)),
        }
    }

    async fn look_up_once(&self, target: &Target) -> Result<LookUp, DialError> {
        let look_up = self.dial.locate(target);
        if !self.deadline.is_early() {
            return look_up.await.map(LookUp::Found);
        }
        match timeout(LOOK_UP_EARLY, look_up).await {
            Ok(Err(DialError::Host(reason))) => Ok(LookUp::UnknownYet(reason)),
            Ok(result) => result.map(LookUp::Found),
            // Before tailscaled knows a node, it may look the node's name up at a name server that does not answer.
            Err(_) => Ok(LookUp::UnknownYet(format!("{target} is not known yet"))),
        }
    }
}

/// Returns those of the addresses that may be reached, at least one. Fails with the reason when there is none, or when
/// one of them is denied, or one of the names that led to them.
pub fn allowed(policy: ClientPolicy<'_>, target: &Target, located: Located) -> Result<Vec<ResolvedAddress>, DialError> {
    if let Host::Name(_) = target.host {
        for name in located.names {
            policy.check_name(&Target { host: Host::Name(name), port: target.port })?;
        }
    }
    let mut refusal = DialError::Host(format!("{target} has no address"));
    let mut allowed = Vec::new();
    for resolved in located.addresses {
        let judged = policy.judged(resolved.address);
        let checked = match resolved.by_tailnet {
            true => policy.check_address(target, &judged),
            false => policy.check_direct(target, &judged),
        };
        let chosen = || if located.is_own_name { Ok(()) } else { policy.check_chosen(target, &judged) };
        match checked.and_then(|()| chosen()) {
            Ok(()) => allowed.push(resolved),
            // A host with a denied address must not be reached by another of its addresses.
            Err(error) if policy.denies(&judged, target.port) => return Err(error),
            Err(error) => refusal = error,
        }
    }
    if allowed.is_empty() { Err(refusal) } else { Ok(allowed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::types::Value;
    use crate::config::types::enums::Direct;
    use crate::config::types::local_targets::LocalTargets;
    use crate::config::types::rule::Rule;
    use crate::proxy::policy::access::Rules;
    use crate::proxy::policy::own_listeners::OwnListeners;

    fn resolved(address: &str, by_tailnet: bool) -> ResolvedAddress {
        ResolvedAddress { address: address.parse().expect("address"), by_tailnet }
    }

    fn check(deny: &str, addresses: &[&str]) -> Result<Vec<ResolvedAddress>, DialError> {
        let rules = Rules { deny: vec![Rule::parse(deny).expect("a rule")], ..Rules::default() };
        let policy = Policy::new(Direct::Allow, LocalTargets::default(), rules, OwnListeners::default());
        let addresses = addresses.iter().map(|address| resolved(address, true)).collect();
        let located = Located { addresses, ..Located::default() };
        allowed(policy.of(&Access::default()), &Target::new("web", 80).expect("a target"), located)
    }

    #[test]
    fn another_address_of_a_denied_host_is_no_way_around_it() {
        assert!(matches!(check("10.0.0.0/8", &["192.0.2.1", "10.0.0.1"]), Err(DialError::Policy(_))));
    }

    #[test]
    fn an_address_that_is_never_reached_leaves_the_others() {
        let reached = check("10.0.0.0/8", &["169.254.169.254", "192.0.2.1"]);
        assert_eq!(reached, Ok(vec![resolved("192.0.2.1", true)]));
    }

    #[test]
    fn a_name_without_an_address_is_an_unknown_host() {
        assert!(matches!(check("10.0.0.0/8", &[]), Err(DialError::Host(_))));
    }

    #[test]
    fn where_direct_is_denied_what_a_node_leads_to_is_reached_all_the_same() {
        let policy = Policy::new(Direct::Deny, LocalTargets::default(), Rules::default(), OwnListeners::default());
        let check = |by_tailnet| {
            allowed(
                policy.of(&Access::default()),
                &Target::new("web", 80).expect("a target"),
                Located { addresses: vec![resolved("192.0.2.1", by_tailnet)], ..Located::default() },
            )
        };
        assert!(check(true).is_ok());
        assert!(matches!(check(false), Err(DialError::Policy(_))));
    }
}
