//! Makes network namespaces that no packet can leave.
//!
//! tailscaled inside one believes it has a network. Loopback is up (IPv4 and IPv6), and one half of a veth pair has an
//! address and the default route; behind the other half there is nobody.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};

/// The namespace's own address outside loopback.
pub const OWN_ADDRESS: &str = "10.77.0.1";
/// A TCP connection to it fails at once with EHOSTUNREACH.
pub const HOST_UNREACHABLE: &str = "192.0.2.1";
/// A TCP connection to it fails at once with ENETUNREACH.
pub const NETWORK_UNREACHABLE: &str = "198.51.100.1";
/// A TCP connection to it is never answered: its packets go to a machine that is not there.
pub const SILENT: &str = "203.0.113.1";

/// `out` is the address-bearing half; the fixed neighbour makes packets vanish there, instead of failing after the
/// 3 s that ARP takes, as behind a real gateway that drops them.
const SETUP: &str = "\
link set lo up
link add out type veth peer name void
addr add 10.77.0.1/24 dev out
link set out up
link set void up
neigh add 10.77.0.2 lladdr 02:00:00:00:00:02 dev out nud permanent
route add default via 10.77.0.2 dev out
route add unreachable 192.0.2.0/24
route add throw 198.51.100.0/24
";

const DISABLE_IPV6: &str = "/proc/sys/net/ipv6/conf/lo/disable_ipv6";

/// A namespace that other threads can enter; it exists as long as a handle, a thread or a process holds it.
#[derive(Clone)]
pub struct Handle(Arc<File>);

impl Handle {
    /// The namespace the calling thread is in.
    pub fn current() -> Result<Self> {
        let file = File::open("/proc/thread-self/ns/net").context("cannot open the thread's network namespace")?;
        Ok(Self(Arc::new(file)))
    }

    /// Moves the calling thread, and what it starts from now on, into the namespace. Sockets opened before stay
    /// where they were.
    pub fn enter(&self) -> Result<()> {
        setns(self.0.as_ref(), CloneFlags::CLONE_NEWNET).context("cannot enter the network namespace")
    }
}

/// Moves the calling thread into a new namespace; threads and children it starts from now on are in it as well.
pub fn enter_new() -> Result<Handle> {
    unshare(CloneFlags::CLONE_NEWNET).map_err(|error| match error {
        Errno::EPERM => anyhow!(
            "making a network namespace is not permitted: run as root, or under `unshare -Ur` (package util-linux)"
        ),
        other => anyhow!("cannot make a network namespace: {other}"),
    })?;
    enable_ipv6()?;
    ip_batch(SETUP)?;
    Handle::current()
}

/// Gives the namespace one more address of its own.
pub fn add_address(address: Ipv4Addr) -> Result<()> {
    ip_batch(&format!("addr add {address}/32 dev lo\n"))
}

/// Docker turns IPv6 off in its namespaces and some hosts do for all; headscale's STUN needs ::1.
fn enable_ipv6() -> Result<()> {
    let state = fs::read_to_string(DISABLE_IPV6).context("this kernel has no IPv6, which the test tailnet needs")?;
    if state.trim() == "0" {
        return Ok(());
    }
    fs::write(DISABLE_IPV6, "0").context("cannot enable IPv6 on the namespace's loopback")
}

/// Runs `ip` once for all commands: 7 ms, where nine runs take 24 ms.
fn ip_batch(commands: &str) -> Result<()> {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => {
                anyhow!("the program `ip` is missing: `apt-get install iproute2`")
            }
            _ => anyhow!("cannot run `ip`: {error}"),
        })?;
    // Taken, so that it closes and `ip` sees the end.
    let mut input = ip.stdin.take().context("ip has no stdin")?;
    input.write_all(commands.as_bytes())?;
    drop(input);
    let output = ip.wait_with_output()?;
    if !output.status.success() {
        bail!("`ip` could not set the namespace up: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind::{HostUnreachable, NetworkUnreachable, TimedOut};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn connect(address: &str) -> ErrorKind {
        let address = SocketAddr::new(address.parse().unwrap(), 9);
        TcpStream::connect_timeout(&address, Duration::from_millis(300)).unwrap_err().kind()
    }

    #[test]
    fn loopback_works_and_the_outside_is_as_promised() {
        enter_new().unwrap();
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        }
        assert_eq!(connect(HOST_UNREACHABLE), HostUnreachable);
        assert_eq!(connect(NETWORK_UNREACHABLE), NetworkUnreachable);
        assert_eq!(connect(SILENT), TimedOut);
        assert_eq!(connect("8.8.8.8"), TimedOut);
    }

    #[test]
    fn another_thread_enters_by_handle() {
        let handle = enter_new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:7").unwrap();
        let address = listener.local_addr().unwrap();
        let from_new = thread::spawn(move || {
            enter_new().unwrap();
            let outside = TcpStream::connect(address).is_ok();
            handle.enter().unwrap();
            (outside, TcpStream::connect(address).is_ok())
        });
        assert_eq!(from_new.join().unwrap(), (false, true));
    }
}
