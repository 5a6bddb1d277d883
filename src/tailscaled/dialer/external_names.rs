//! Looks up names that are not the tailnet's own, with a stock tailscaled.
//!
//! Given such a name tailscaled looks it up and races all its addresses, some of them past the tunnel: one could be
//! 169.254.169.254, chosen by whoever owns the name. So tailscaled is given the address.

use std::net::IpAddr;

use crate::tailscaled::dialer::container_names::ContainerNames;
use crate::tailscaled::dialer::stock::StockDialer;
use crate::tailscaled::exit_node::rule::ExitRule;
use crate::target::dial::{DialError, DialOutcome, Located, Resolution, ResolvedAddress};
use crate::target::host::{Host, HostName, Target};
use crate::target::ranges::canonical_ip;

/// Number of a name's addresses that are tried at most.
const MOST_ADDRESSES: usize = 16;

/// Finds the addresses of `name` outside the tailnet, or those that tailscaled reaches through the tailnet, and the whole
/// name that the container's search list makes of it. tailscaled is asked by dials over UDP, which cost nothing.
///
/// # Errors
/// [`DialError::Host`] when nobody knows the name, or when it leads into the tailnet, but to no address that is known;
/// those of a dial.
pub async fn locate(dialer: &StockDialer, name: &str, port: u16) -> Result<Resolution, DialError> {
    let container = ContainerNames::read();
    let mut failure = DialError::Host(format!("{name} is not known"));
    for whole in container.whole_names(name) {
        match addresses_of(dialer, &whole, port).await {
            Ok(addresses) => {
                let whole = whole.trim_end_matches('.');
                let names = HostName::told(whole).into_iter().chain(container.aliases(whole)).collect();
                return Ok(Resolution::Addresses(Located { names, is_own_name: false, addresses }));
            }
            Err(error @ DialError::Host(_)) => failure = error,
            Err(error) => return Err(error),
        }
    }
    Err(failure)
}

async fn addresses_of(dialer: &StockDialer, whole: &str, port: u16) -> Result<Vec<ResolvedAddress>, DialError> {
    if let DialOutcome::Direct(address) = dialer.plan(whole, port).await? {
        return Ok(vec![ResolvedAddress { address: canonical_ip(address.ip()), by_tailnet: false }]);
    }
    let mut reachable = Vec::new();
    // With an exit node every address leads into the tailnet, and no name server may be asked past it.
    if dialer.direct.rule == ExitRule::Open {
        let resolved = tokio::net::lookup_host((whole, port)).await;
        let resolved = resolved.map(|found| found.map(|address| address.ip()).collect()).unwrap_or_default();
        reachable = reachable_by_tailnet(dialer, resolved, port).await?;
    }
    if reachable.is_empty() {
        // The exit node's answer, or a record that the tailnet's administrator has added for a domain of others.
        reachable = reachable_by_tailnet(dialer, dialer.dns_records(whole).await?, port).await?;
    }
    if reachable.is_empty() {
        return Err(DialError::Host(format!("{whole} leads into the tailnet, but to no address that is known here")));
    }
    Ok(reachable.into_iter().map(|address| ResolvedAddress { address, by_tailnet: true }).collect())
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
