//! Serves clients: the listeners of the proxy and of the forwards, and what their clients share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::settings::Settings;
use crate::daemon::listeners;
use crate::exit_reason::ExitReason;
use crate::memory::limit_watch::LimitWatch;
use crate::memory::upload_throttle::UploadThrottle;
use crate::proxy::client::{serve_client, serve_forward};
use crate::proxy::connect::Connector;
use crate::proxy::connect::hedge::DialSignal;
use crate::proxy::context::ClientContext;
use crate::proxy::listener;
use crate::proxy::listener::Listener;
use crate::proxy::listener::admission::{Admission, Permit};
use crate::proxy::listener::stream::Stream;
use crate::proxy::metrics::counters::Counters;
use crate::proxy::policy::Policy;
use crate::proxy::relay::limits::{RelayLimits, SILENCE_AT_THE_END};
use crate::proxy::relay::worker::RelayWorker;
use crate::state::Publisher;
use crate::tailscaled::calls::Calls;
use crate::tailscaled::dialer::Dialer;
use crate::tailscaled::path::health::PathHealth;
use crate::tailscaled::path::rebind::Rebinder;
use crate::target::dial::Target;

/// The open listeners.
pub struct ProxyListeners {
    proxies: Vec<Listener>,
    forwards: Vec<(Listener, Target)>,
}

impl ProxyListeners {
    pub async fn open(settings: &Settings) -> Result<Self, ExitReason> {
        let proxies = listeners::open_all("socks_listen", &settings.socks_listen).await?;
        let places: Vec<_> = settings.forwards.iter().map(|forward| forward.listen.clone()).collect();
        let open = listeners::open_all("forwards", &places).await?;
        let targets = settings.forwards.iter().map(|forward| Target::new(&forward.host, forward.port));
        Ok(Self { proxies, forwards: open.into_iter().zip(targets).collect() })
    }

    /// Where the first proxy listener with an address is.
    pub fn proxy_address(&self) -> Option<SocketAddr> {
        self.proxies.iter().find_map(Listener::tcp_address)
    }
}

/// What every listener's clients share.
pub struct ClientAcceptor {
    pub proxy: Arc<ClientContext<Dialer>>,
    pub admission: Admission,
    pub connections: TaskTracker,
    pub accepting: CancellationToken,
}

impl ClientAcceptor {
    /// Accepts on all `listeners` from now on.
    pub fn accept_on(&self, listeners: ProxyListeners) {
        listeners.proxies.into_iter().for_each(|listener| self.proxy_on(listener));
        listeners.forwards.into_iter().for_each(|(listener, target)| self.forward_on(listener, target));
    }

    fn proxy_on(&self, listener: Listener) {
        let proxy = Arc::clone(&self.proxy);
        self.accept(listener, move |stream, from, permit| {
            let proxy = Arc::clone(&proxy);
            async move {
                serve_client(&proxy, stream, &from).await;
                drop(permit);
            }
        });
    }

    fn forward_on(&self, listener: Listener, target: Target) {
        let (proxy, target) = (Arc::clone(&self.proxy), Arc::new(target));
        self.accept(listener, move |stream, from, permit| {
            let (proxy, target) = (Arc::clone(&proxy), Arc::clone(&target));
            async move {
                serve_forward(&proxy, stream, &from, &target).await;
                drop(permit);
            }
        });
    }

    fn accept<F>(&self, listener: Listener, client: impl Fn(Stream, String, Permit) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (admission, stop) = (self.admission.clone(), self.accepting.clone());
        tokio::spawn(listener::serve_clients(listener, admission, self.connections.clone(), stop, client));
    }
}

/// Tells tailscaled when the daemon drains.
pub async fn drain_calls(calls: Calls, accepting: CancellationToken) {
    accepting.cancelled().await;
    calls.drain(SILENCE_AT_THE_END).await;
}

/// How often the limit of the control group is looked at: as many small files as there are groups above.
const LOOK_AT_LIMIT: Duration = Duration::from_secs(1);

/// Has tailscaled keep to its share of the control group's limit when that changes.
pub async fn follow_memory(mut limit: LimitWatch, calls: Calls) {
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

pub fn connector(
    settings: &Settings,
    dialer: Dialer,
    publisher: &Publisher,
    (path, rebinder): (PathHealth, Rebinder),
) -> Connector<Dialer> {
    let observe = move |outcome| match outcome {
        DialSignal::Answered => path.answered(),
        DialSignal::Slow => rebinder.dial_is_silent(),
        DialSignal::NoAnswer => {
            path.silent();
            rebinder.dial_is_silent();
        }
    };
    let policy = Policy::new(settings.direct, settings.allow.clone(), settings.deny.clone());
    Connector::new(dialer, policy, publisher.watch(), settings.connect_timeout, observe)
}

pub fn proxy(
    settings: &Settings,
    connector: Connector<Dialer>,
    counters: &Counters,
    (accepting, brake): (&CancellationToken, &UploadThrottle),
) -> ClientContext<Dialer> {
    ClientContext {
        connector,
        credentials: settings.socks_credentials.clone(),
        handshake_timeout: settings.handshake_timeout,
        limits: RelayLimits {
            half_closed: settings.half_close_timeout.carried,
            half_closed_held: settings.half_close_timeout.held,
            idle: settings.idle_timeout.0,
            draining: accepting.clone(),
            upload_throttle: brake.clone(),
        },
        counters: counters.clone(),
        udp: settings.udp,
        worker: RelayWorker::default(),
    }
}
