//! Makes a target of the address of a SOCKS5 request or datagram.

use fast_socks5::util::target_addr::TargetAddr;

use crate::target::dial::Target;

/// Returns the target that `address`, as fast-socks5 has parsed it, names.
pub fn target_at(address: TargetAddr) -> Target {
    match address {
        TargetAddr::Ip(address) => address.into(),
        TargetAddr::Domain(name, port) => Target::new(&name, port),
    }
}
