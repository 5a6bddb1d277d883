//! Looks up names that are not the tailnet's own, with a stock tailscaled.
//!
//! Given such a name tailscaled looks it up and races all its addresses, some of them past the tunnel: one could be
//! 169.254.169.254, chosen by whoever owns the name. So tailscaled is given the address.

use std::net::IpAddr;

use crate::tailscaled::dialer::stock::StockDialer;
use crate::tailscaled::exit_node::rule::ExitRule;
use crate::target::dial::{DialError, DialOutcome, Resolution, ResolvedAddress};
use crate::target::host::{Host, Target};

/// Number of a name's addresses that are tried at most.
const MOST_ADDRESSES: usize = 16;

/// Finds the addresses of `name`, the host of `target`: one outside the tailnet, or those that tailscaled reaches
/// through the tailnet. tailscaled is asked by dials over UDP, which cost nothing.
///
/// # Errors
/// [`DialError::Host`] when the name leads into the tailnet, but to no address that is known; those of a dial.
pub async fn locate(dialer: &StockDialer, name: &str, target: &Target) -> Result<Resolution, DialError> {
    if let DialOutcome::Direct(address) = dialer.dial("udp", target).await? {
        return Ok(addresses(vec![address.ip()], false));
    }
    let mut reachable = Vec::new();
    // With an exit node every address leads into the tailnet, and no name server may be asked past it.
    if dialer.direct.rule == ExitRule::Open {
        let resolved = tokio::net::lookup_host((name, target.port)).await;
        let resolved = resolved.map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default();
        reachable = reachable_by_tailnet(dialer, resolved, target.port).await?;
    }
    if reachable.is_empty() {
        // The exit node's answer, or a record that the tailnet's administrator has added for a domain of others.
        reachable = reachable_by_tailnet(dialer, dialer.dns_records(name).await?, target.port).await?;
    }
    if reachable.is_empty() {
        return Err(DialError::Host(format!("{target} leads into the tailnet, but to no address that is known here")));
    }
    Ok(addresses(reachable, true))
}

fn addresses(addresses: Vec<IpAddr>, by_tailnet: bool) -> Resolution {
    let addresses = addresses.into_iter().map(|address| ResolvedAddress { address, by_tailnet }).collect();
    Resolution::Addresses { name: None, addresses }
}

/// Returns those of `addresses` that tailscaled reaches through the tailnet.
async fn reachable_by_tailnet(
    dialer: &StockDialer,
    addresses: Vec<IpAddr>,
    port: u16,
) -> Result<Vec<IpAddr>, DialError> {
    let mut reachable = Vec::new();
    for address in addresses.into_iter().take(MOST_ADDRESSES) {
        let literal = Target { host: Host::Ip(address), port };
        match dialer.dial("udp", &literal).await {
            Ok(DialOutcome::Tailnet(..)) => reachable.push(address),
            Err(error @ DialError::Tailscaled(_)) => return Err(error),
            Ok(DialOutcome::Direct(_)) | Err(_) => {}
        }
    }
    Ok(reachable)
}
