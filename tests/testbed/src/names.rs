//! A name server inside the namespace that answers NXDOMAIN to nearly every name.
//!
//! It is what a container's resolver says of a name nobody has. Only names that begin with an address in dashes, such
//! as 169-254-169-254.example.com, have that address, or several: 192-0-2-1--169-254-169-254.example.com.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Where the resolver asks when /etc/resolv.conf names nobody (resolv.conf(5)).
const DEFAULT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Answers NXDOMAIN to everything else, on the addresses that /etc/resolv.conf names, until it is dropped.
pub struct NoNames {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Takes in every question on those addresses and never answers, until it is dropped.
pub struct SilentNames(#[expect(dead_code, reason = "open is all that they are for")] Vec<UdpSocket>);

impl SilentNames {
    /// To be called in a thread that has entered a namespace of its own: its loopback gets the servers' addresses.
    pub fn start() -> Result<Self> {
        Ok(Self(sockets()?))
    }
}

impl NoNames {
    /// To be called in a thread that has entered a namespace of its own: its loopback gets the servers' addresses.
    pub fn start() -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for socket in sockets()? {
            socket.set_read_timeout(Some(Duration::from_millis(100)))?;
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || answer(&socket, &stop)));
        }
        Ok(Self { stop, threads })
    }
}

impl Drop for NoNames {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A socket for each name server, whose address the loopback gets.
fn sockets() -> Result<Vec<UdpSocket>> {
    servers()?.into_iter().map(socket).collect()
}

fn socket(server: IpAddr) -> Result<UdpSocket> {
    if !server.is_loopback() {
        let added = Command::new("ip").args(["addr", "add", &server.to_string(), "dev", "lo"]).status()?;
        ensure!(added.success(), "{server} cannot be added to the loopback");
    }
    UdpSocket::bind(SocketAddr::new(server, 53)).with_context(|| format!("binding {server}:53"))
}

fn servers() -> Result<Vec<IpAddr>> {
    let text = fs::read_to_string("/etc/resolv.conf").context("reading /etc/resolv.conf")?;
    let named = text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse().ok());
    let servers: Vec<IpAddr> = named.collect();
    Ok(if servers.is_empty() { vec![DEFAULT] } else { servers })
}

fn answer(socket: &UdpSocket, stop: &AtomicBool) {
    let mut message = [0; 512];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut message) else { continue };
        if length < 12 {
            continue;
        }
        let mut reply = message[..question_end(&message[..length])].to_vec();
        let addresses = addresses_in(&reply);
        // RFC 1035, section 4.1.1: QR and RA set, RCODE 3 or 0; the question goes back as it came.
        reply[2] |= 0x80;
        reply[3] = 0x80 | if addresses.is_empty() { 3 } else { 0 };
        reply[6..12].fill(0);
        let asked_for_them = reply.ends_with(&[0, 1, 0, 1]);
        for address in addresses.into_iter().filter(|_| asked_for_them) {
            reply[7] += 1;
            // The name of the question, A, IN, a minute, four bytes.
            reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            reply.extend(address.octets());
        }
        let _ = socket.send_to(&reply, from);
    }
}

/// The addresses that the first label of the question names.
fn addresses_in(question: &[u8]) -> Vec<Ipv4Addr> {
    let label = || {
        let length = usize::from(*question.get(12)?);
        std::str::from_utf8(question.get(13..13 + length)?).ok()
    };
    label().unwrap_or_default().split("--").filter_map(|address| address.replace('-', ".").parse().ok()).collect()
}

/// Where the first question ends: labels, the empty one, type and class.
fn question_end(message: &[u8]) -> usize {
    let mut at = 12;
    while let Some(&label) = message.get(at).filter(|label| **label != 0) {
        at += usize::from(label) + 1;
    }
    (at + 5).min(message.len())
}
