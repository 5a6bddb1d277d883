//! Reads a target out of an address as fast-socks5 parses it, of a request or of a datagram.

use fast_socks5::util::target_addr::TargetAddr;

use crate::target::dial::Target;

/// Returns the target that `address` names.
pub fn target_at(address: TargetAddr) -> Target {
    match address {
        TargetAddr::Ip(address) => address.into(),
        TargetAddr::Domain(name, port) => Target::new(&name, port),
    }
}
