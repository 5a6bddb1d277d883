//! Builds the daemon: hands every part just the values that it needs.
//!
//! Listeners come first: they are open before tailscaled is even looked for.

pub(crate) mod auth;
pub(crate) mod dns;
pub(crate) mod node;
pub(crate) mod proxy;
pub(crate) mod tailscaled;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use tokio::net::{TcpListener, UnixListener};

use crate::auth_keys::AuthKeys;
use crate::daemon::build::auth::{build_auth_keys, fetch_first_key, warn_before_expiry};
use crate::daemon::build::dns::DnsListeners;
use crate::daemon::build::node::{configure_node, login};
use crate::daemon::build::proxy::ProxyServer;
use crate::daemon::build::tailscaled::{LocalTailscaled, launch, start_keeper};
use crate::daemon::cloudwatch_emf::{EmfSource, EmfWriter};
use crate::daemon::context::{BuildInputs, DaemonContext, OtherListeners};
use crate::daemon::listeners::{ProxyListeners, bind};
use crate::daemon::own_proxy::without_own_proxy;
use crate::daemon::readiness::{StatePublisher, publish_reports};
use crate::daemon::running::{Daemon, KeeperTask};
use crate::daemon::status::{StatusSource, TailscaledAnswers};
use crate::daemon::{memory_limit, prewarm, reaper, shutdown};
use crate::exit_reason::ExitReason;
use crate::health;
use crate::health::routes::Routes;
use crate::memory::limit_watch::LimitWatch;
use crate::memory::{code_pages, heap};
use crate::platform::interface::Identity;
use crate::process::child::OwnChildren;
use crate::proxy::policy::own_listeners::OwnListeners;
use crate::secret::redactor::Redactor;
use crate::tailscaled::exit_node::watch::ChosenExitNode;
use crate::tailscaled::process::Measures;

/// Builds and starts every part of the daemon. Needs the event loop. Fails where a listener cannot be opened,
/// tailscaled is not found, or the CA certificates for it cannot be written.
pub async fn build_daemon(inputs: BuildInputs<'_>) -> Result<Daemon, ExitReason> {
    let settings = inputs.settings;
    let listeners = ProxyListeners::open(settings).await?;
    let proxy_address = listeners.proxy_address();
    let health = settings.health_listen.iter().map(|address| bind("health_listen", *address));
    let health: Vec<TcpListener> = health.collect::<Result<_, _>>()?;
    let dns = DnsListeners::open(settings)?;
    let others = inputs.context.supervised.map(|supervised| &supervised.others);
    let own_listeners = own_listeners(&listeners, &health, &dns, others);
    let environment = without_own_proxy(inputs.context.environment, &own_listeners).await;
    let context = DaemonContext { environment: &environment, ..inputs.context.clone() };
    let inputs = BuildInputs { context: &context, ..inputs };
    let parts = DaemonParts::new(inputs, own_listeners)?;
    let admission = parts.proxy.accept_on(listeners, inputs.context.memory.as_ref());
    dns.serve(Arc::clone(&parts.proxy.proxy), settings, parts.own_listeners.clone());
    parts.serve_health(health, inputs)?;
    let emf_writer = parts.start_emf_writer(inputs);
    parts.start_background_tasks(inputs);
    let keeper = parts.start_tailscaled(inputs).await?;
    Ok(Daemon {
        state: parts.state,
        keeper,
        start_gate: inputs.start_gate.clone(),
        stop_accepting: parts.proxy.stop_accepting,
        connections: parts.proxy.connections,
        accept_loops: parts.proxy.accept_loops,
        calls: parts.tailscaled.calls,
        admission,
        start_timeout: settings.start_timeout.0,
        drain_timeout: settings.drain_timeout,
        stop_grace: inputs.context.platform.stop_grace(),
        children: parts.children,
        redactor: parts.redactor,
        proxy_address,
        credentials: settings.socks_credentials.clone(),
        env_all_proxy: settings.env_all_proxy,
        emf_writer,
    })
}

/// Returns where the daemon listens, and the `others` that belong to it: that is no target for its clients.
fn own_listeners(
    listeners: &ProxyListeners,
    health: &[TcpListener],
    dns: &DnsListeners,
    others: Option<&OtherListeners>,
) -> OwnListeners {
    let health = health.iter().filter_map(|listener| listener.local_addr().ok());
    let (tcp, udp) = others.map_or((&[][..], &[][..]), |others| (&others.tcp, &others.udp));
    let by_tcp = listeners.tcp_addresses().chain(health).chain(dns.addresses()).chain(tcp.iter().copied());
    let by_udp = dns.addresses().chain(listeners.udp_addresses()).chain(udp.iter().copied());
    OwnListeners::new(by_tcp.collect()).with_udp(by_udp.collect())
}

/// Parts that others are built from.
struct DaemonParts {
    state: StatePublisher,
    tailscaled: LocalTailscaled,
    proxy: ProxyServer,
    own_listeners: OwnListeners,
    keys: Option<AuthKeys>,
    /// Starts of tailscaled after the first.
    restarts: Arc<AtomicU64>,
    /// Name and labels of this container; set once the platform has answered.
    identity: Arc<OnceLock<Identity>>,
    /// Set once it is known how tailscaled is started.
    confinement: Arc<OnceLock<Measures>>,
    redactor: Redactor,
    children: OwnChildren,
}

impl DaemonParts {
    /// Builds the parts. None of them runs yet.
    fn new(inputs: BuildInputs<'_>, own_listeners: OwnListeners) -> Result<Self, ExitReason> {
        let state = StatePublisher::default();
        let tailscaled = LocalTailscaled::new(inputs.socket);
        let proxy = ProxyServer::new(inputs.settings, &tailscaled, state.watch(), own_listeners.clone())?;
        let redactor = Redactor::default();
        Ok(Self {
            state,
            tailscaled,
            proxy,
            own_listeners,
            keys: build_auth_keys(inputs, &redactor),
            restarts: Arc::default(),
            identity: Arc::default(),
            confinement: Arc::default(),
            redactor,
            children: OwnChildren::default(),
        })
    }

    /// Serves probes, status and metrics on the health ports, and to a supervisor.
    fn serve_health(&self, listeners: Vec<TcpListener>, inputs: BuildInputs<'_>) -> Result<(), ExitReason> {
        let own_confinement = inputs.confinement.to_vec();
        let source = StatusSource {
            api: self.tailscaled.api.clone(),
            calls: self.tailscaled.calls.clone(),
            counters: self.proxy.counters.clone(),
            proxy: Arc::clone(&self.proxy.proxy),
            restarts: Arc::clone(&self.restarts),
            rebinder: self.tailscaled.rebinder.clone(),
            max_connections: self.proxy.max_connections,
            key_expiry: self.keys.as_ref().map(AuthKeys::expiry).unwrap_or_default(),
            identity: Arc::clone(&self.identity),
            own_confinement,
            confinement: Arc::clone(&self.confinement),
            answers: TailscaledAnswers::default(),
        };
        let routes = Arc::new(Routes::new(self.state.watch(), source).of_tailnet(inputs.context.tailnet));
        for listener in listeners {
            tokio::spawn(health::server::serve_health(listener, Arc::clone(&routes)));
        }
        if let Some(supervised) = inputs.context.supervised {
            let questions = supervised.questions.try_clone().and_then(|listener| {
                listener.set_nonblocking(true)?;
                UnixListener::from_std(listener)
            });
            let questions = questions.map_err(|error| {
                ExitReason::Configuration(format!(
                    "the supervisor cannot be answered: {error}; raise the limit of open files"
                ))
            })?;
            tokio::spawn(health::private::serve_supervisor(questions, routes));
        }
        Ok(())
    }

    /// Starts writing metrics to the log on platforms where nobody can scrape them.
    fn start_emf_writer(&self, inputs: BuildInputs<'_>) -> Option<EmfWriter> {
        let function = inputs.settings.metrics_of_function.clone()?;
        let writer = EmfWriter::new(EmfSource {
            function,
            counters: self.proxy.counters.clone(),
            proxy: Arc::clone(&self.proxy.proxy),
            restarts: Arc::clone(&self.restarts),
            state: self.state.watch(),
        });
        tokio::spawn(writer.clone().write_every_minute());
        Some(writer)
    }

    /// Starts the tasks that nothing waits for.
    fn start_background_tasks(&self, inputs: BuildInputs<'_>) {
        let (settings, calls) = (inputs.settings, &self.tailscaled.calls);
        tokio::spawn(self.tailscaled.rebinder.clone().run());
        tokio::spawn(prewarm::dial_once(settings.prewarm.clone(), Arc::clone(&self.proxy.proxy), self.state.watch()));
        let proxy = Arc::clone(&self.proxy.proxy);
        tokio::spawn(async move { proxy.users.keep_up_to_date().await });
        tokio::spawn(node::warn_of_peers(settings.node.clone(), calls.clone(), self.state.watch()));
        tokio::spawn(shutdown::drain_calls(calls.clone(), self.proxy.stop_accepting.clone()));
        if let Some(budget) = inputs.context.memory.clone().filter(|_| settings.memory_follows_group) {
            tokio::spawn(memory_limit::pass_on_changes(LimitWatch::new(budget), calls.clone()));
        }
        tokio::spawn(code_pages::forget_after_each_start(self.state.watch()));
        let counters = self.proxy.counters.clone();
        tokio::spawn(heap::give_back_after_connections(move || {
            let counts = counters.now();
            counts.accepted.saturating_sub(counts.open)
        }));
    }

    /// Starts tailscaled, joins the tailnet and keeps both.
    async fn start_tailscaled(&self, inputs: BuildInputs<'_>) -> Result<KeeperTask, ExitReason> {
        let (settings, context) = (inputs.settings, inputs.context);
        let launch = launch(inputs, &self.redactor, &self.own_listeners.loopback_ports())?
            .registered_in(self.children.clone())
            .throttled_by(self.proxy.upload_throttle.clone())
            .expected_at(self.tailscaled.api.socket().clone());
        self.confinement.get_or_init(|| launch.measures());
        reaper::reap_if_first_process(self.children.clone());
        let exit_node = ChosenExitNode::default();
        let problem = configure_node(settings, &self.tailscaled.api, &exit_node, &self.state);
        // The listeners are open already: clients that connect while the platform is asked wait and are not refused.
        let found = context.platform.identity(context.environment).await;
        let identity = self.identity.get_or_init(|| found);
        let login = login(settings, identity, exit_node, self.keys.clone(), self.redactor.clone());
        let (keeper, reports) = start_keeper(inputs, launch, self.tailscaled.clone(), login);
        tokio::spawn(publish_reports(reports, problem, self.state.clone(), Arc::clone(&self.restarts)));
        fetch_first_key(self.keys.clone(), inputs);
        warn_before_expiry(self.keys.as_ref(), self.tailscaled.api.clone(), self.state.watch());
        Ok(keeper)
    }
}
