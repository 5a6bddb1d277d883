//! Cuts network paths of a whole namespace: past the relay, to the control server.
//!
//! A path past the relay (DERP) is a direct one between nodes. [`crate::flows`] cuts the paths of one process.

use anyhow::Result;

use crate::flows::nft;

/// Lets nodes of this namespace reach each other through DERP alone: of UDP only DNS and STUN are left.
pub fn relay_only() -> Result<()> {
    nft("add table inet testbed
         add chain inet testbed out { type filter hook output priority 0; }
         add rule inet testbed out udp dport != { 53, 3478 } udp sport != { 53, 3478 } drop\n")
}

/// Drops, from now on, every packet to the control server, of flows old and new.
pub fn swallow_control() -> Result<()> {
    nft("add table inet expired
         add chain inet expired out { type filter hook output priority 0; }
         add rule inet expired out tcp dport 8443 drop\n")
}
