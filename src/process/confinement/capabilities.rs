//! Drops capabilities of root that no program needs which this process starts.

use nix::libc;

/// Capabilities of root that are kept: those by which tailscaled writes into a directory of another user. It opens no interface.
/// Without CAP_NET_ADMIN its UDP buffers are no larger than `net.core.rmem_max` says, as for any other user.
const KEPT_CAPABILITIES: [i32; 3] = [CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER];
// linux/capability.h
const CAP_CHOWN: i32 = 0;
const CAP_DAC_OVERRIDE: i32 = 1;
const CAP_FOWNER: i32 = 3;
const MOST_CAPABILITIES: i32 = 63;

/// Drops all but [`KEPT_CAPABILITIES`] from what any later program can have. Without the right to do so there is nothing to
/// drop.
#[allow(unsafe_code)]
pub fn drop_from_bounding_set() {
    for capability in (0..=MOST_CAPABILITIES).filter(|capability| !KEPT_CAPABILITIES.contains(capability)) {
        // SAFETY: prctl with numbers alone.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
}
