//! Parses `AUTHD_SOURCE_CIDR`: a list of IPv4 and IPv6 networks.
//!
//! They are separated by commas or white space. One bad entry makes the whole list unusable: nobody can tell what it
//! was meant to admit.

use std::net::IpAddr;

use ipnet::IpNet;

/// The networks that may call.
#[derive(Debug)]
pub struct Allowed(Vec<IpNet>);

/// Why the setting cannot be used.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Fault {
    #[error("AUTHD_SOURCE_CIDR is not set: give the networks that may call, such as 192.0.2.0/24,2001:db8::/32")]
    Missing,
    #[error("AUTHD_SOURCE_CIDR holds {0:?}, which is no network: write an address and a prefix length, 192.0.2.7/32")]
    NoNetwork(String),
    #[error("AUTHD_SOURCE_CIDR holds {0}, which has bits beyond its prefix: {1} is the network")]
    HostBits(IpNet, IpNet),
    #[error(
        "AUTHD_SOURCE_CIDR holds {0}, an IPv4 network in the form of IPv6: callers have IPv4 addresses, write it as one"
    )]
    Mapped(IpNet),
}

impl Allowed {
    pub fn read(setting: Option<&str>) -> Result<Self, Fault> {
        let entries = setting.unwrap_or_default().split(|c: char| c == ',' || c.is_whitespace());
        let entries = entries.filter(|entry| !entry.is_empty());
        let networks = entries.map(network).collect::<Result<Vec<_>, _>>()?;
        if networks.is_empty() { Err(Fault::Missing) } else { Ok(Self(networks)) }
    }

    /// An IPv4 address counts as such in its IPv6 form, too.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn network(entry: &str) -> Result<IpNet, Fault> {
    let network: IpNet = entry.parse().map_err(|_| Fault::NoNetwork(entry.to_owned()))?;
    match network {
        // No caller would ever be in it.
        IpNet::V6(v6) if v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some() => Err(Fault::Mapped(network)),
        // 10.0.0.1/8 is more likely a slip of 10.0.0.1/32 than a wish for 16 million addresses.
        _ if network.trunc() != network => Err(Fault::HostBits(network, network.trunc())),
        _ => Ok(network),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(setting: &str, address: &str) -> bool {
        Allowed::read(Some(setting)).expect("a list").contains(address.parse().expect("an address"))
    }

    #[test]
    fn both_families_are_admitted_up_to_the_edge_of_their_networks() {
        let setting = "\t192.0.2.0/24, 2001:db8:1::/48\r\n198.51.100.7/32,,";
        for address in ["192.0.2.0", "192.0.2.255", "198.51.100.7", "2001:db8:1:ffff::1", "::ffff:192.0.2.9"] {
            assert!(admits(setting, address), "{address}");
        }
        for address in ["192.0.1.255", "192.0.3.0", "198.51.100.8", "2001:db8:2::1", "::1", "::ffff:192.0.3.9"] {
            assert!(!admits(setting, address), "{address}");
        }
    }

    #[test]
    fn everybody_is_admitted_only_by_a_list_that_says_so() {
        assert!(admits("0.0.0.0/0", "203.0.113.5"));
        assert!(!admits("0.0.0.0/0", "2001:db8::5"), "the other family is named on its own");
        assert!(admits("0.0.0.0/0,::/0", "2001:db8::5"));
    }

    #[test]
    fn a_missing_or_bad_list_is_unusable_as_a_whole() {
        for setting in [None, Some(""), Some(" , ")] {
            assert_eq!(Allowed::read(setting).expect_err("nothing"), Fault::Missing);
        }
        for bad in ["192.0.2.0", "192.0.2.0/33", "any", "192.0.2.0/24;10.0.0.0/8", "2001:db8::/129"] {
            let setting = format!("10.0.0.0/8,{bad}");
            assert_eq!(Allowed::read(Some(&setting)).expect_err(bad), Fault::NoNetwork(bad.into()));
        }
        for mapped in ["::ffff:192.0.2.0/120", "::ffff:0:0/96"] {
            let fault = Allowed::read(Some(mapped)).expect_err("it would admit nobody");
            assert_eq!(fault, Fault::Mapped(mapped.parse().expect("a network")), "{mapped}");
        }
        let fault = Allowed::read(Some("10.0.0.1/8")).expect_err("host bits");
        assert!(fault.to_string().ends_with("10.0.0.0/8 is the network"), "{fault}");
    }
}
