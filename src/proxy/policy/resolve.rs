//! Judges a target by all that its name stands for, so that what was judged is what is reached.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use crate::proxy::connect::deadline::{Deadline, RETRY};
use crate::proxy::connect::hedge::DialSignal;
use crate::proxy::policy::Policy;
use crate::target::dial::{Dial, DialError, Host, Resolution, ResolvedAddress, Target};

/// How often a name is looked up again that nobody knows yet: it may be one for the container's own name server.
const LOOK_UP_AGAIN: Duration = Duration::from_millis(200);

/// How long a look-up may take right after a start, until it is made anew.
const LOOK_UP_EARLY: Duration = Duration::from_secs(1);

/// Judges for one client.
pub struct TargetResolver<'a, D> {
    pub dial: &'a D,
    pub policy: &'a Policy,
    pub deadline: Deadline<'a>,
    /// Hears of lookups without an answer.
    pub observe: &'a (dyn Fn(DialSignal) + Send + Sync),
}

impl<D: Dial> TargetResolver<'_, D> {
    /// A node has two names, one of them with the tailnet's domain: a rule about either is about the node.
    pub async fn as_given(&self, target: &Target) -> Result<(), DialError> {
        if matches!(target.host, Host::Name(_)) && self.policy.has_rules_about_names() {
            loop {
                self.deadline.ready().await?;
                match self.deadline.by("asking for the tailnet's domain", self.dial.domain()).await {
                    Err(DialError::Tailscaled(_)) => sleep(RETRY).await,
                    domain => break self.policy.learn_domain(domain?),
                }
            }
        }
        self.policy.judge_target(target)
    }

    /// Where the target is a name: the addresses to dial instead, at least one. A name of others may stand for several, and
    /// for other ones the next time it is asked for. `None` where tailscaled is to be given the target as it is.
    pub async fn place(&self, target: &Target) -> Result<Option<Vec<ResolvedAddress>>, DialError> {
        let Host::Name(_) = target.host else { return Ok(None) };
        self.locate(target).await
    }

    /// The same for an address, too: whether a node leads there.
    pub async fn locate(&self, target: &Target) -> Result<Option<Vec<ResolvedAddress>>, DialError> {
        let located = loop {
            self.deadline.ready().await?;
            let is_early = self.deadline.is_early();
            let located = async {
                let located = self.dial.locate(target, self.policy.needs_addresses());
                if !is_early {
                    return located.await;
                }
                // The name of a node that is not known yet may be asked of a name server that is silent.
                let unknown = || DialError::Host(format!("{target} is not known yet"));
                timeout(LOOK_UP_EARLY, located).await.unwrap_or_else(|_| Err(unknown()))
            };
            match self.deadline.by("looking up the name", located).await {
                Err(DialError::Tailscaled(_)) => sleep(RETRY).await,
                Err(DialError::Host(_)) if is_early && self.deadline.leaves_a_retry() => {
                    sleep(LOOK_UP_AGAIN).await;
                }
                Err(error @ DialError::TimedOut(_)) => {
                    (self.observe)(DialSignal::NoAnswer);
                    return Err(error);
                }
                result => break result?,
            }
        };
        match located {
            Resolution::Name => Ok(None),
            Resolution::Addresses { name, addresses } => {
                // A rule about the name that answered is about this one.
                if let (Some(name), Host::Name(_)) = (name, &target.host) {
                    self.policy.judge_other_name(&Target { host: Host::Name(name), port: target.port })?;
                }
                allowed(self.policy, target, &addresses).map(Some)
            }
        }
    }
}

/// Those of the addresses that may be reached.
fn allowed(policy: &Policy, target: &Target, addresses: &[ResolvedAddress]) -> Result<Vec<ResolvedAddress>, DialError> {
    let mut refusal = DialError::Host(format!("{target} has no address"));
    let mut allowed = Vec::new();
    for located in addresses {
        let ResolvedAddress { address, inside } = *located;
        let judged = if inside {
            policy.judge_address(target, address)
        } else {
            policy.judge_outside(target, SocketAddr::new(address, target.port))
        };
        match judged {
            Ok(()) => allowed.push(*located),
            // Another address of a host that is denied is no way around it.
            Err(error) if policy.denies(address, target.port) => return Err(error),
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
    use crate::config::types::rule::Rule;

    fn located(address: &str, inside: bool) -> ResolvedAddress {
        ResolvedAddress { address: address.parse().expect("address"), inside }
    }

    fn judge(deny: &str, addresses: &[&str]) -> Result<Vec<ResolvedAddress>, DialError> {
        let policy = Policy::new(Direct::Allow, Vec::new(), vec![Rule::parse(deny).expect("a rule")]);
        let addresses: Vec<ResolvedAddress> = addresses.iter().map(|address| located(address, true)).collect();
        allowed(&policy, &Target::new("web", 80), &addresses)
    }

    #[test]
    fn another_address_of_a_denied_host_is_no_way_around_it() {
        assert!(matches!(judge("10.0.0.0/8", &["192.0.2.1", "10.0.0.1"]), Err(DialError::Policy(_))));
    }

    #[test]
    fn an_address_that_is_never_reached_leaves_the_others() {
        let reached = judge("10.0.0.0/8", &["169.254.169.254", "192.0.2.1"]);
        assert_eq!(reached, Ok(vec![located("192.0.2.1", true)]));
    }

    #[test]
    fn a_name_without_an_address_is_an_unknown_host() {
        assert!(matches!(judge("10.0.0.0/8", &[]), Err(DialError::Host(_))));
    }

    #[test]
    fn where_direct_is_denied_what_a_node_leads_to_is_reached_all_the_same() {
        let policy = Policy::new(Direct::Deny, Vec::new(), Vec::new());
        let judge = |inside| allowed(&policy, &Target::new("web", 80), &[located("192.0.2.1", inside)]);
        assert!(judge(true).is_ok());
        assert!(matches!(judge(false), Err(DialError::Policy(_))));
    }
}
