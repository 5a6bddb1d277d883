//! Serves clients: the listeners of the proxy and of the forwards, and what their clients share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::listeners;
use crate::config::Settings;
use crate::dial::Target;
use crate::fatal::Fatal;
use crate::memory::{Brake, LimitWatch};
use crate::proxy::{
    self, Admission, Connector, Counters, Heard, Lane, Listener, Patience, Permit, Policy, Proxy, SILENCE_AT_THE_END,
    Stream,
};
use crate::state::Publisher;
use crate::tailscaled::{Calls, Dialer, PathWatch, Thaw};

/// The open listeners.
pub(super) struct ProxyListeners {
    proxies: Vec<Listener>,
    forwards: Vec<(Listener, Target)>,
}

impl ProxyListeners {
    pub(super) async fn open(settings: &Settings) -> Result<Self, Fatal> {
        let proxies = listeners::open_all("socks_listen", &settings.socks_listen).await?;
        let places: Vec<_> = settings.forwards.iter().map(|forward| forward.listen.clone()).collect();
        let open = listeners::open_all("forwards", &places).await?;
        let targets = settings.forwards.iter().map(|forward| Target::new(&forward.host, forward.port));
        Ok(Self { proxies, forwards: open.into_iter().zip(targets).collect() })
    }

    /// Where the first proxy listener with an address is.
    pub(super) fn proxy_address(&self) -> Option<SocketAddr> {
        self.proxies.iter().find_map(Listener::tcp_address)
    }
}

/// What every listener's clients share.
pub(super) struct Serving {
    pub proxy: Arc<Proxy<Dialer>>,
    pub admission: Admission,
    pub connections: TaskTracker,
    pub accepting: CancellationToken,
}

impl Serving {
    /// Accepts on all `listeners` from now on.
    pub(super) fn accept_on(&self, listeners: ProxyListeners) {
        listeners.proxies.into_iter().for_each(|listener| self.proxy_on(listener));
        listeners.forwards.into_iter().for_each(|(listener, target)| self.forward_on(listener, target));
    }

    fn proxy_on(&self, listener: Listener) {
        let proxy = Arc::clone(&self.proxy);
        self.accept(listener, move |stream, from, permit| {
            let proxy = Arc::clone(&proxy);
            async move {
                proxy.serve(stream, &from).await;
                drop(permit);
            }
        });
    }

    fn forward_on(&self, listener: Listener, target: Target) {
        let (proxy, target) = (Arc::clone(&self.proxy), Arc::new(target));
        self.accept(listener, move |stream, from, permit| {
            let (proxy, target) = (Arc::clone(&proxy), Arc::clone(&target));
            async move {
                proxy.forward(stream, &from, &target).await;
                drop(permit);
            }
        });
    }

    fn accept<F>(&self, listener: Listener, client: impl Fn(Stream, String, Permit) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (admission, stop) = (self.admission.clone(), self.accepting.clone());
        tokio::spawn(proxy::serve(listener, admission, self.connections.clone(), stop, client));
    }
}

/// Tells tailscaled when the daemon drains.
pub(super) async fn drain_calls(calls: Calls, accepting: CancellationToken) {
    accepting.cancelled().await;
    calls.drain(SILENCE_AT_THE_END).await;
}

/// How often the limit of the control group is looked at: as many small files as there are groups above.
const LOOK_AT_LIMIT: Duration = Duration::from_secs(1);

/// Has tailscaled keep to its share of the control group's limit when that changes.
pub(super) async fn follow_memory(mut limit: LimitWatch, calls: Calls) {
    loop {
        sleep(LOOK_AT_LIMIT).await;
        if let Some(share) = limit.changed() {
            let told = if calls.is_stock() { "this tailscaled keeps what it was started with" } else { "it is told" };
            tracing::info!(
                bytes = share,
                "the control group's limit has changed, and tailscaled's share with it: {told}"
            );
            calls.set_memory_limit(share).await;
        }
    }
}

pub(super) fn connector(
    settings: &Settings,
    dialer: Dialer,
    publisher: &Publisher,
    (path, thaw): (PathWatch, Thaw),
) -> Connector<Dialer> {
    let observe = move |outcome| match outcome {
        Heard::Answer => path.answered(),
        Heard::Pause => thaw.doubt(),
        Heard::Silence => {
            path.silent();
            thaw.doubt();
        }
    };
    let policy = Policy::new(settings.direct, settings.allow.clone(), settings.deny.clone());
    Connector::new(dialer, policy, publisher.watch(), settings.connect_timeout, observe)
}

pub(super) fn proxy(
    settings: &Settings,
    connector: Connector<Dialer>,
    counters: &Counters,
    (accepting, brake): (&CancellationToken, &Brake),
) -> Proxy<Dialer> {
    Proxy {
        connector,
        credentials: settings.socks_credentials.clone(),
        handshake_timeout: settings.handshake_timeout,
        patience: Patience {
            half_closed: settings.half_close_timeout.carried,
            half_closed_held: settings.half_close_timeout.held,
            idle: settings.idle_timeout.0,
            draining: accepting.clone(),
            brake: brake.clone(),
        },
        counters: counters.clone(),
        udp: settings.udp,
        lane: Lane::default(),
    }
}
