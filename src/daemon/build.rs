//! Puts the parts together, listeners first: they are open before tailscaled is even looked for.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth_keys::AuthKeys;
use crate::auth_keys::context::KeyContext;
use crate::auth_keys::expiry;
use crate::config::sections::auth::AuthSource;
use crate::config::settings::Settings;
use crate::config::types::enums::Logout;
use crate::config::types::hostname::Hostname;
use crate::daemon::cloudwatch_emf::EmfWriter;
use crate::daemon::listeners::bind;
use crate::daemon::serving::{ClientAcceptor, ProxyListeners, connector, proxy};
use crate::daemon::status::StatusSource;
use crate::daemon::{Daemon, DaemonContext, code_pages, fd_limits, prewarm, readiness, reaper, serving};
use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::health;
use crate::health::routes::View;
use crate::memory::accept_throttle::AcceptThrottle;
use crate::memory::limit_watch::LimitWatch;
use crate::memory::upload_throttle::UploadThrottle;
use crate::platform::interface::{Identity, Platform};
use crate::process::child::OwnChildren;
use crate::proxy::listener::admission::Admission;
use crate::proxy::metrics::counters::Counters;
use crate::secret::redactor::Redactor;
use crate::state::Publisher;
use crate::tailscaled::calls::Calls;
use crate::tailscaled::dialer::Dialer;
use crate::tailscaled::exit_node::watch::{ChosenExitNode, ExitNodeWatch, Obstacle};
use crate::tailscaled::keeper::is_known;
use crate::tailscaled::keeper::{AtEnd, Keeper, KeeperParts};
use crate::tailscaled::local_api::LocalApi;
use crate::tailscaled::path::control_probe::ControlProbe;
use crate::tailscaled::path::health::PathHealth;
use crate::tailscaled::path::rebind::Rebinder;
use crate::tailscaled::process::Launch;
use crate::tailscaled::process::locate;
use crate::tailscaled::process::state_dir::StateDir;
use crate::tailscaled::process::{ca_roots, environment};
use crate::tailscaled::serve_file::ServeFile;
use crate::tailscaled::session::preferences::{LoginOptions, Preferences};

/// Starts everything. To be called inside the event loop.
pub async fn assemble(
    settings: &Settings,
    DaemonContext { platform, environment, memory }: DaemonContext<'_>,
    directory: &StateDir,
    socket: &Path,
) -> Result<Daemon, ExitReason> {
    let listeners = ProxyListeners::open(settings).await?;
    let proxy_address = listeners.proxy_address();
    let health_listener = bind("health_listen", settings.health_listen)?;
    let publisher = Arc::new(Publisher::new());
    let path = PathHealth::default();
    let api = LocalApi::new(socket.to_owned());
    let rebinder = Rebinder::new(api.clone(), path.clone());
    tokio::spawn(rebinder.clone().run());
    let counters = Counters::default();
    let calls = Calls::new(socket.to_owned());
    let restarts = Arc::new(AtomicU64::new(0));

    let accepting = CancellationToken::new();
    let connections = TaskTracker::new();
    let dialer = dialer(settings, Dialer::new(api.clone(), calls.clone(), rebinder.clone()));
    let connector = connector(settings, dialer, &publisher, (path.clone(), rebinder.clone()));
    let max_connections = fd_limits::connections(settings.max_connections);
    let brake = UploadThrottle::at(settings.memory_limit.map(|limit| limit.0));
    let proxy = Arc::new(proxy(settings, connector, &counters, (&accepting, &brake)));
    tokio::spawn(prewarm::dial_once(settings.prewarm.clone(), Arc::clone(&proxy), publisher.watch()));
    let serving = ClientAcceptor {
        proxy: Arc::clone(&proxy),
        admission: Admission::new(
            max_connections,
            AcceptThrottle::new(memory.as_ref().map(|(groups, _)| groups.clone())),
        ),
        connections: connections.clone(),
        accepting: accepting.clone(),
    };
    serving.accept_on(listeners);
    tokio::spawn(serving::drain_calls(calls.clone(), accepting.clone()));
    if let Some((groups, sharing)) = memory.filter(|_| settings.memory_follows_group) {
        tokio::spawn(serving::follow_memory(LimitWatch::new(groups, sharing), calls.clone()));
    }
    let journal = settings.metrics_of_function.clone().map(|function| {
        let journal =
            EmfWriter::new(function, (counters.clone(), Arc::clone(&proxy)), Arc::clone(&restarts), publisher.watch());
        tokio::spawn(journal.clone().keep());
        journal
    });
    let redactor = Redactor::default();
    let keys = keys(settings, platform, environment, &redactor);
    let identity = Arc::new(OnceLock::new());
    let inspector = StatusSource {
        api: api.clone(),
        calls: calls.clone(),
        counters,
        proxy,
        restarts: Arc::clone(&restarts),
        rebinder: rebinder.clone(),
        max_connections,
        key_expiry: keys.as_ref().map(AuthKeys::expiry).unwrap_or_default(),
        identity: Arc::clone(&identity),
    };
    tokio::spawn(health::server::serve_health(health_listener, View::new(publisher.watch(), inspector)));

    let children = OwnChildren::default();
    let launch = launch(settings, environment, (directory, socket), &redactor)?;
    let launch = launch.registered_in(children.clone()).throttled_by(brake);
    reaper::reap_if_first_process(children.clone());
    let exit_node = ChosenExitNode::default();
    let obstacle = attend_to_node(settings, &api, &exit_node, &publisher);
    // The listeners are open: who asks meanwhile is heard.
    let found = platform.identity(environment).await;
    let login = login(settings, identity.get_or_init(|| found), exit_node, (keys.clone(), &redactor));
    let control = control(settings, environment);
    let expiry_api = api.clone();
    let (keeper, events) = Keeper::new(KeeperParts {
        launch,
        api,
        calls: calls.clone(),
        login,
        path,
        rebinder,
        control_probe: control,
        state_dir: directory.state().to_owned(),
    });
    tokio::spawn(readiness::publish(events, obstacle, Arc::clone(&publisher), restarts));
    let keeping = CancellationToken::new();
    let keeper = tokio::spawn(keeper.run(keeping.clone(), at_end(settings, directory)));
    attend_to_keys(keys.as_ref(), directory, expiry_api, &publisher);
    tokio::spawn(code_pages::forget_each_start(publisher.watch()));
    Ok(Daemon {
        publisher,
        keeper,
        keeping,
        accepting,
        connections,
        calls,
        start_timeout: settings.start_timeout.0,
        drain_timeout: settings.drain_timeout,
        children,
        redactor,
        proxy: proxy_address,
        credentials: settings.socks_credentials.clone(),
        journal,
    })
}

fn launch(
    settings: &Settings,
    environment: &Environment,
    (directory, socket): (&StateDir, &Path),
    redactor: &Redactor,
) -> Result<Launch, ExitReason> {
    let search = environment.get("PATH").map(String::as_str);
    let program = locate::find_tailscaled(settings.tailscaled_path.as_deref(), search)?;
    learn_secrets(settings, redactor);
    let roots = roots(settings, environment, directory)?;
    let limit = settings.memory_limit.map(|limit| limit.0);
    let environment = environment::for_tailscaled(environment, directory.private(), &roots, limit, redactor);
    let mut launch = Launch::new(program, directory.state(), socket, environment, redactor.clone());
    if !settings.log_upload {
        launch = launch.without_log_upload();
    }
    Ok(launch.with_arguments(&settings.tailscaled_args.0))
}

fn roots(settings: &Settings, environment: &Environment, directory: &StateDir) -> Result<Vec<PathBuf>, ExitReason> {
    let (file, place) = (settings.ca_file.as_deref(), settings.platform_ca_dir.as_deref());
    ca_roots::directories(directory, file, place, environment).map_err(|error| {
        let file = file.map_or_else(String::new, |file| format!("ca_file {}: ", file.display()));
        ExitReason::Configuration(format!("{file}the roots to trust cannot be put together: {error}"))
    })
}

/// Before tailscaled's first line, so that none can hold one of them.
fn learn_secrets(settings: &Settings, redactor: &Redactor) {
    if let Some(AuthSource::Key(source) | AuthSource::Client { secret: source, .. }) = &settings.auth
        && let Ok(key) = source.read()
    {
        redactor.learn(&key);
    }
    if let Some(credentials) = &settings.socks_credentials {
        redactor.learn(&credentials.password);
    }
}

fn dialer(settings: &Settings, dialer: Dialer) -> Dialer {
    if settings.node.exit_node.is_some() { dialer.only_by_exit_node() } else { dialer }
}

/// Starts what keeps the joined node as the settings want it. Returns what stands in the way of a required exit node.
fn attend_to_node(
    settings: &Settings,
    api: &LocalApi,
    chosen: &ChosenExitNode,
    publisher: &Publisher,
) -> watch::Receiver<Obstacle> {
    let node = &settings.node;
    if let Some(path) = &node.serve_config {
        if node.shields_up {
            tracing::warn!("shields_up blocks all that comes in, and with it what serve_config serves");
        }
        tokio::spawn(ServeFile::new(path.clone(), api.clone()).keep_serving(publisher.watch()));
    }
    let nothing = watch::Sender::new(None).subscribe();
    let Some(wanted) = node.exit_node.clone() else { return nothing };
    let exit_node = ExitNodeWatch::new(api.clone(), wanted, chosen.clone());
    let obstacle = exit_node.obstacle();
    tokio::spawn(exit_node.follow(publisher.watch()));
    if node.exit_node_required { obstacle } else { nothing }
}

fn keys(
    settings: &Settings,
    platform: &dyn Platform,
    environment: &Environment,
    redactor: &Redactor,
) -> Option<AuthKeys> {
    let context = KeyContext {
        environment,
        ca_file: settings.ca_file.as_deref(),
        ca_directory: settings.platform_ca_dir.as_deref(),
        api_url: &settings.api_url.0,
        tailnet: &settings.tailnet,
        control_url: settings.control_url.as_ref().map(|url| url.0.as_str()),
        tags: settings.node.tags.iter().map(|tag| tag.0.clone()).collect(),
        imds: platform.has_instance_metadata(),
        redactor: redactor.clone(),
    };
    settings.auth.clone().map(|source| AuthKeys::new(source, context))
}

/// Fetches the first key while tailscaled starts, unless the node is known already; warns before one expires.
fn attend_to_keys(keys: Option<&AuthKeys>, directory: &StateDir, api: LocalApi, publisher: &Publisher) {
    if let Some(keys) = keys.filter(|_| !is_known(directory.state())) {
        keys.begin();
    }
    tokio::spawn(expiry::watch_expiry(keys.map(AuthKeys::expiry), publisher.watch(), move || {
        let api = api.clone();
        async move { expiry::expiry_of(&api.status(false).await.ok()?.node?.key_expiry?) }
    }));
}

fn login(
    settings: &Settings,
    identity: &Identity,
    exit_node: ChosenExitNode,
    (keys, redactor): (Option<AuthKeys>, &Redactor),
) -> LoginOptions {
    let node = &settings.node;
    let preferences = Preferences {
        control_url: settings.control_url.as_ref().map_or_else(String::new, |url| url.0.clone()),
        hostname: hostname(settings, identity),
        tags: node.tags.iter().map(|tag| tag.0.clone()).collect(),
        accept_routes: node.accept_routes,
        accept_dns: node.accept_dns,
        shields_up: node.shields_up,
        advertise_routes: node.advertise_routes.iter().map(|route| route.0.to_string()).collect(),
        exit_node,
    };
    LoginOptions::new(preferences, keys, redactor.clone())
}

fn control(settings: &Settings, environment: &Environment) -> ControlProbe {
    let url = settings.control_url.as_ref().map_or("", |url| url.0.as_str());
    ControlProbe::new(url, |name| environment.contains_key(name))
}

fn hostname(settings: &Settings, identity: &Identity) -> String {
    let wanted = settings.hostname.as_ref().map(|name| name.0.clone());
    wanted.or_else(|| identity.hostname.clone()).unwrap_or_else(own_hostname)
}

/// The container's host name as one DNS label; empty, where it cannot be one, leaves the name to tailscaled.
fn own_hostname() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy();
    Hostname::near(name.split('.').next().unwrap_or_default()).map_or_else(String::new, |label| label.0)
}

fn at_end(settings: &Settings, directory: &StateDir) -> AtEnd {
    match settings.logout {
        Logout::Always => AtEnd::LogOut,
        Logout::Auto if directory.is_temporary() => AtEnd::LogOut,
        Logout::Auto | Logout::Never => AtEnd::KeepNode,
    }
}
