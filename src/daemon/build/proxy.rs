//! Builds the proxy: dialer, connector, relays, and what accepts its clients.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::settings::Settings;
use crate::daemon::build::tailscaled::LocalTailscaled;
use crate::daemon::fd_limits;
use crate::daemon::listeners::{ClientAcceptor, ProxyListeners};
use crate::exit_reason::ExitReason;
use crate::memory::accept_throttle::AcceptThrottle;
use crate::memory::budget::MemoryBudget;
use crate::memory::upload_throttle::UploadThrottle;
use crate::net::server_tls::ServerTls;
use crate::proxy::connect::Connector;
use crate::proxy::connect::hedge::DialSignal;
use crate::proxy::context::ProxyContext;
use crate::proxy::listener::admission::Admission;
use crate::proxy::metrics::counters::Counters;
use crate::proxy::policy::Policy;
use crate::proxy::policy::access::Rules;
use crate::proxy::policy::own_listeners::OwnListeners;
use crate::proxy::relay::limits::RelayLimits;
use crate::proxy::relay::worker::RelayWorker;
use crate::proxy::users::Users;
use crate::state::Watcher;
use crate::tailscaled::dialer::Dialer;
use crate::tailscaled::exit_node::rule::ExitRule;

/// The proxy, and what its clients share.
pub struct ProxyServer {
    pub proxy: Arc<ProxyContext<Dialer>>,
    pub counters: Counters,
    /// Cancelled, it closes the listeners and tells relays that the daemon drains.
    pub stop_accepting: CancellationToken,
    pub connections: TaskTracker,
    pub accept_loops: TaskTracker,
    pub max_connections: usize,
    pub upload_throttle: UploadThrottle,
}

impl ProxyServer {
    /// Builds the proxy as the settings want it, and raises the limit of open files for its connections. Fails where the
    /// files for TLS cannot be used any more.
    pub fn new(
        settings: &Settings,
        tailscaled: &LocalTailscaled,
        state: Watcher,
        own_listeners: OwnListeners,
    ) -> Result<Self, ExitReason> {
        let counters = Counters::default();
        let stop_accepting = CancellationToken::new();
        let max_connections = fd_limits::connections(settings);
        let upload_throttle = UploadThrottle::at(settings.memory_limit.map(|limit| limit.0));
        let limits = relay_limits(settings, &stop_accepting, &upload_throttle);
        let proxy = ProxyContext {
            connector: connector(settings, tailscaled, state, own_listeners),
            users: users(settings)?,
            access_log: settings.access_log,
            handshake_timeout: settings.handshake_timeout,
            network_limits: RelayLimits { idle: settings.idle_timeout.network, ..limits.clone() },
            limits,
            counters: counters.clone(),
            tls: server_tls(settings)?,
            udp: settings.udp,
            via: settings.via,
            worker: RelayWorker::default(),
        };
        Ok(Self {
            proxy: Arc::new(proxy),
            counters,
            stop_accepting,
            connections: TaskTracker::new(),
            accept_loops: TaskTracker::new(),
            max_connections,
            upload_throttle,
        })
    }

    /// Accepts clients on `listeners` from now on, more slowly while `memory` is short. Returns what admits them.
    pub fn accept_on(&self, listeners: ProxyListeners, memory: Option<&MemoryBudget>) -> Admission {
        let throttle = AcceptThrottle::new(memory.map(|memory| memory.cgroups.clone()));
        let acceptor = ClientAcceptor {
            proxy: Arc::clone(&self.proxy),
            admission: Admission::new(self.max_connections, throttle),
            connections: self.connections.clone(),
            accept_loops: self.accept_loops.clone(),
            stop_accepting: self.stop_accepting.clone(),
        };
        acceptor.accept_on(listeners);
        acceptor.admission
    }
}

/// Builds the limits of connections from this machine, which end when `draining` is cancelled.
fn relay_limits(settings: &Settings, draining: &CancellationToken, upload_throttle: &UploadThrottle) -> RelayLimits {
    RelayLimits {
        half_closed: settings.half_close_timeout.carried,
        half_closed_held: settings.half_close_timeout.held,
        idle: settings.idle_timeout.local,
        draining: draining.clone(),
        upload_throttle: upload_throttle.clone(),
    }
}

/// Builds who may use the proxy. Fails where the file of users cannot be used any more.
fn users(settings: &Settings) -> Result<Users, ExitReason> {
    Users::new(settings).map_err(|error| ExitReason::Configuration(format!("users cannot be used: {error}")))
}

/// Builds the TLS of the proxy's listeners, where it is set. Fails where its files cannot be used any more.
fn server_tls(settings: &Settings) -> Result<Option<ServerTls>, ExitReason> {
    let tls = settings.socks_tls.clone().map(ServerTls::new).transpose();
    tls.map_err(|error| ExitReason::Configuration(format!("socks_tls_cert cannot be used: {error}")))
}

/// Builds the connector, which judges targets by the policy of the settings.
fn connector(
    settings: &Settings,
    tailscaled: &LocalTailscaled,
    state: Watcher,
    own_listeners: OwnListeners,
) -> Connector<Dialer> {
    let rules = Rules { allow: settings.allow.clone(), deny: settings.deny.clone() };
    let policy = Policy::new(settings.direct, settings.local_targets, rules, own_listeners);
    let observe = path_observer(tailscaled);
    let connector = Connector::new(dialer(settings, tailscaled), policy, state, settings.connect_timeout, observe);
    // With these anything may be reached through the tailnet.
    let leads_anywhere = settings.node.exit_node.is_some() || settings.node.accept_routes;
    if settings.goes_on_without_tailnet && !leads_anywhere { connector.going_on_without_tailnet() } else { connector }
}

fn dialer(settings: &Settings, tailscaled: &LocalTailscaled) -> Dialer {
    let LocalTailscaled { api, calls, rebinder, own_node, .. } = tailscaled.clone();
    let dialer = Dialer::new(api, calls, rebinder, own_node);
    match (&settings.node.exit_node, settings.node.exit_node_allow_lan_access) {
        (None, _) => dialer,
        (Some(_), false) => dialer.with_exit_rule(ExitRule::OnlyByExitNode),
        (Some(_), true) => dialer.with_exit_rule(ExitRule::ExceptOwnNetworks),
    }
}

/// Builds what learns from the connector's dials how the path is.
fn path_observer(tailscaled: &LocalTailscaled) -> impl Fn(DialSignal) + Send + Sync + 'static {
    let LocalTailscaled { path, rebinder, .. } = tailscaled.clone();
    move |signal| match signal {
        DialSignal::Answered => path.answered(),
        DialSignal::Slow => rebinder.dial_is_silent(),
        DialSignal::NoAnswer => {
            path.silent();
            rebinder.dial_is_silent();
        }
    }
}
