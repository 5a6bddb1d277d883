//! Dials one target through the tailnet.
//!
//! It dials again where tailscaled or the path failed meanwhile, and where tailscaled may not know every node yet.

use crate::proxy::connect::deadline::{Deadline, RETRY};
use crate::proxy::connect::hedge::{DialSignal, SignalObserver, dial_hedged};
use crate::proxy::policy::reserved::refuse_reserved;
use crate::target::dial::{Dial, DialError, DialOutcome};
use crate::target::host::{Host, Target};
use crate::target::ranges::is_of_a_tailnet;

/// Dials for one client.
pub struct TailnetDialer<'a, D> {
    pub dial: &'a D,
    pub deadline: Deadline<'a>,
    pub observe: &'a SignalObserver,
}

impl<D: Dial> TailnetDialer<'_, D> {
    /// Has tailscaled dial `target`: the outcome is a connection, or the address to dial directly.
    pub async fn dial(&self, target: &Target) -> Result<DialOutcome, DialError> {
        let attempt = || dial_hedged(|| self.dial.dial(target), || self.deadline.time_in_phase(), self.observe);
        let pause_after = |result: &Result<DialOutcome, DialError>| {
            self.report(result);
            self.is_worth_a_retry(target, result).then_some(RETRY)
        };
        let dialled = self.deadline.retry("no answer through the tailnet", attempt, pause_after).await;
        dialled.map_err(|error| refused_if_unassigned(target, error))
    }

    fn report(&self, result: &Result<DialOutcome, DialError>) {
        match result {
            Ok(DialOutcome::Tailnet(_)) | Err(DialError::Refused) => (self.observe)(DialSignal::Answered),
            Err(DialError::TimedOut(_)) => (self.observe)(DialSignal::NoAnswer),
            _ => {}
        }
    }

    /// Whether another dial may have another outcome: tailscaled or the path failed, or tailscaled has just started and
    /// may not know all nodes yet.
    fn is_worth_a_retry(&self, target: &Target, result: &Result<DialOutcome, DialError>) -> bool {
        match result {
            Ok(DialOutcome::Tailnet(_)) => false,
            // tailscaled knows no node with this tailnet address, which may not exist or not be known yet.
            Ok(DialOutcome::Direct(address)) => self.deadline.is_early() && is_of_a_tailnet(address.ip()),
            Err(error) => {
                let is_of_the_path = matches!(error, DialError::TimedOut(_) | DialError::Tailscaled(_));
                let is_worth_it =
                    is_of_the_path || (self.deadline.is_early() && is_unassigned_tailnet_ip(target, error));
                if is_worth_it && self.deadline.leaves_a_retry() {
                    tracing::debug!(%target, %error, "dialling again");
                }
                is_worth_it
            }
        }
    }
}

/// Turns the error of a tailnet address that no node has, and that tailscaled finds no way to, into the policy's
/// refusal: the policy refuses such addresses wherever they turn up.
fn refused_if_unassigned(target: &Target, error: DialError) -> DialError {
    match &target.host {
        Host::Ip(address) if is_unassigned_tailnet_ip(target, &error) => {
            refuse_reserved(*address).err().unwrap_or(error)
        }
        _ => error,
    }
}

/// Whether `target` is an address of the tailnet's ranges that no node has, by the error of its dial.
fn is_unassigned_tailnet_ip(target: &Target, error: &DialError) -> bool {
    let Host::Ip(address) = target.host else { return false };
    matches!(error, DialError::Network(_) | DialError::Host(_)) && is_of_a_tailnet(address)
}
