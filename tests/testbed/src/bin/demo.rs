//! `make demo`: a tailnet in this machine, and tetherd reachable from the shell.
//!
//! The tailnet has a node `web` with a page. tetherd's ports are made reachable from the person's own shell. Everything
//! is a child of this program and goes with it.

use std::env;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{ExitCode, exit};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::{SigSet, Signal};
use testbed::{Daemon, Node, Server, Tailnet, daemon, http, netns, privilege, relay, socks};

const USAGE: &str = "usage: demo --tetherd PATH [--once]";
/// Measured below 1 s; a busy machine may take longer, a broken one shall not hang.
const READY: Duration = Duration::from_secs(30);
/// tetherd drains for 10 s at most, then logs out.
const EXIT: Duration = Duration::from_secs(15);
/// How soon the end of tetherd is noticed while nobody asks for anything.
const WATCH: Duration = Duration::from_millis(200);
const PAGE: &str = "<!doctype html>
<html lang=en>
<title>Hello from inside the tailnet</title>
<h1>Hello from inside the tailnet</h1>
<p>This page is served by the node <b>web</b>. You reached it by name, through WireGuard, by way of
tetherd's SOCKS5 port. No route, no device and no privilege on this machine was needed.
</html>
";

struct Options {
    tetherd: PathBuf,
    once: bool,
}

enum Event {
    /// tetherd took this long from exec to ready, in this namespace.
    Ready(Duration, netns::Handle),
    Failed(anyhow::Error),
    Interrupted,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let options = parse(env::args_os().skip(1).map(PathBuf::from))?;
    let tetherd = options.tetherd.canonicalize();
    let tetherd = tetherd.with_context(|| format!("{}: run `cargo build -p tetherd`", options.tetherd.display()))?;
    privilege::obtain()?;
    let (events, inbox) = mpsc::channel();
    watch_signals(events.clone())?;
    let (stop, stopped) = mpsc::channel();
    // Children die with the thread that starts them: it is this one, which lives until they are gone.
    let stage = thread::spawn(move || {
        if let Err(error) = perform(&tetherd, &events, &stopped) {
            // Nobody listens any more only when the demo is over anyway.
            let _ = events.send(Event::Failed(error));
        }
    });
    let shown = show(&inbox, options.once);
    drop(stop);
    stage.join().map_err(|_| anyhow!("the demo's thread panicked"))?;
    shown?;
    // A failure while stopping comes after everything else.
    match inbox.try_iter().find_map(|event| if let Event::Failed(error) = event { Some(error) } else { None }) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn parse(mut arguments: impl Iterator<Item = PathBuf>) -> Result<Options> {
    let mut options = Options { tetherd: PathBuf::new(), once: false };
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--tetherd") => options.tetherd = arguments.next().context(USAGE)?,
            Some("--once") => options.once = true,
            _ => bail!("{}: unknown argument; {USAGE}", argument.display()),
        }
    }
    ensure!(options.tetherd.as_os_str() != "", USAGE);
    Ok(options)
}

/// Ctrl-C, SIGTERM and a closed terminal become an event. The second one ends at once; the kernel kills the children.
fn watch_signals(events: Sender<Event>) -> Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    // Threads started from here on inherit it; the test bed's children get a clean mask.
    signals.thread_block()?;
    thread::spawn(move || {
        let _ = signals.wait();
        let _ = events.send(Event::Interrupted);
        let _ = signals.wait();
        exit(130);
    });
    Ok(())
}

/// Sets everything up in a new namespace, keeps it until `stopped` ends, and takes it down.
fn perform(tetherd: &PathBuf, events: &Sender<Event>, stopped: &Receiver<()>) -> Result<()> {
    let inside = netns::enter_new()?;
    let tailnet = Tailnet::start()?;
    let _web = Node::join(&tailnet, "web")?;
    let _page = Server::page(80, PAGE)?;
    let mut daemon = Daemon::builder(tetherd).joining(&tailnet, "demo")?.start()?;
    let joined = daemon.wait_ready(READY)?;
    let _ = events.send(Event::Ready(joined, inside));
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(WATCH) {
        if daemon.has_ended()? {
            let status = daemon.wait_exit(EXIT)?;
            bail!("tetherd ended with {status}; it wrote:\n{}", daemon.output());
        }
    }
    daemon.terminate()?;
    let status = daemon.wait_exit(EXIT)?;
    ensure!(status.success(), "tetherd ended with {status}; it wrote:\n{}", daemon.output());
    Ok(())
}

/// What the person sees; returns when the demo is to end.
fn show(inbox: &Receiver<Event>, once: bool) -> Result<()> {
    println!("Starting a tailnet inside this machine: headscale, a node `web` with a page, and tetherd …");
    let (joined, inside) = match inbox.recv()? {
        Event::Ready(joined, inside) => (joined, inside),
        Event::Failed(error) => return Err(error),
        Event::Interrupted => return Ok(()),
    };
    let socks = relay::start(listen(daemon::SOCKS)?, inside.clone(), daemon::SOCKS)?;
    let health = relay::start(listen(daemon::HEALTH)?, inside, daemon::HEALTH)?;
    let title = fetch_title(socks).context("http://web/ could not be fetched through SOCKS5")?;
    println!("tetherd joined in {:.2} s, from exec to ready.", joined.as_secs_f64());
    println!("http://web/, fetched by name through SOCKS5: “{title}”");
    if once {
        return Ok(());
    }
    println!("\nFor you, in another shell:");
    println!("  curl --proxy socks5h://{socks} http://web/");
    println!("  curl http://{health}/status");
    println!("  curl http://{health}/readyz");
    println!("\nCtrl-C stops everything and leaves nothing behind.");
    match inbox.recv()? {
        Event::Failed(error) => Err(error),
        _ => {
            println!("\nStopping …");
            Ok(())
        }
    }
}

/// The usual port where it is free.
fn listen(usual: SocketAddr) -> Result<TcpListener> {
    match TcpListener::bind(usual) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)),
        other => other,
    }
    .with_context(|| format!("cannot listen on {usual}"))
}

fn fetch_title(proxy: SocketAddr) -> Result<String> {
    let page = http::get(socks::connect(proxy, "web", 80, None)?, "web", "/")?.text();
    let title = page.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    Ok(title.context("the page has no title")?.0.to_owned())
}
