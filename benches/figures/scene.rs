//! The scene of a benchmark: a tailnet with a node `web`, and the proxies.
//!
//! The targets of `web` are here; tetherd runs beside a node that has tailscaled's own SOCKS5 server.

use std::env;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use testbed::load::Load;
use testbed::{Daemon, Node, NodeOptions, Tailnet, daemon, netns, parts, socks, wait_until};

use crate::echo;

/// Measured 0.2 s to 0.7 s on two idle cores; the rest is for busy ones.
const READY: Duration = Duration::from_secs(30);
/// Where tailscaled's own SOCKS5 server listens.
const BARE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 2055);
/// The targets: bytes without end, and an echo.
pub const LOAD: u16 = 9000;
pub const ECHO: u16 = 9007;

/// The program that is measured.
pub fn binary() -> PathBuf {
    env::var_os("BENCH_TETHERD").map_or_else(|| env!("CARGO_BIN_EXE_tetherd").into(), PathBuf::from)
}

/// The tailnet; its parts go in this order.
pub struct Scene {
    pub tetherd: Daemon,
    _bare: Option<Node>,
    pub load: Load,
    _web: Node,
    pub tailnet: Tailnet,
}

/// A SOCKS5 proxy that is measured.
#[derive(Clone, Copy, Debug)]
pub struct Proxy(pub SocketAddr);

pub const TETHERD: Proxy = Proxy(daemon::SOCKS);
pub const TAILSCALED: Proxy = Proxy(BARE);

impl Proxy {
    pub fn connect(self, host: &str, port: u16) -> Result<TcpStream> {
        socks::connect(self.0, host, port, None).with_context(|| format!("through {}", self.0))
    }
}

impl Scene {
    /// In a namespace of its own, which the calling thread enters.
    pub fn new() -> Result<Self> {
        netns::enter_new()?;
        let tailnet = Tailnet::start()?;
        let web = Node::join(&tailnet, "web")?;
        let load = Load::on(LOAD)?;
        echo::on(ECHO..=ECHO)?;
        let tetherd = tetherd(&tailnet)?;
        Ok(Self { tetherd, _bare: None, load, _web: web, tailnet })
    }

    /// With a second node beside it, which has the same settings.
    pub fn beside_tailscaled() -> Result<Self> {
        let scene = Self::new()?;
        let bare = tailscaled(&scene.tailnet)?;
        Ok(Self { _bare: Some(bare), ..scene })
    }
}

/// tetherd with its default settings, ready.
pub fn tetherd(tailnet: &Tailnet) -> Result<Daemon> {
    let mut tetherd = Daemon::builder(binary()).joining(tailnet, "app")?.start()?;
    tetherd.wait_ready(READY)?;
    Ok(tetherd)
}

/// The tailscaled that people have, with its own SOCKS5 server, ready.
pub fn tailscaled(tailnet: &Tailnet) -> Result<Node> {
    let stock = parts::find(parts::STOCK_TAILSCALED)?;
    let args = vec![format!("--socks5-server={BARE}")];
    let node = Node::join_program(tailnet, "bare", &stock, NodeOptions { args, ..NodeOptions::default() })?;
    // Its server says no, and not later, as long as it has not heard of the other node.
    wait_until("tailscaled knows the other node", READY, || TAILSCALED.connect("web", ECHO).ok())?;
    Ok(node)
}
