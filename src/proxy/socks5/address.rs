//! Makes a target of the address of a SOCKS5 request or datagram.

use fast_socks5::util::target_addr::TargetAddr;

use crate::target::host::{InvalidHost, Target};

/// Returns the target that `address`, as fast-socks5 has parsed it, names.
///
/// # Errors
/// When the name in `address` is not valid.
pub fn target_at(address: TargetAddr) -> Result<Target, InvalidHost> {
    match address {
        TargetAddr::Ip(address) => Ok(address.into()),
        TargetAddr::Domain(name, port) => Target::new(&name, port),
    }
}
