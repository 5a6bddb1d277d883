//! Builds how tailscaled is started and kept, and the ways to speak with it.

use std::path::{Path, PathBuf};

use tokio::sync::mpsc;

use crate::config::sections::auth::AuthSource;
use crate::config::settings::Settings;
use crate::config::types::enums::Logout;
use crate::daemon::context::BuildInputs;
use crate::daemon::running::KeeperTask;
use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::secret::redactor::Redactor;
use crate::tailscaled::calls::Calls;
use crate::tailscaled::events::KeeperEvent;
use crate::tailscaled::keeper::{Keeper, KeeperParts, NodeAtShutdown};
use crate::tailscaled::local_api::LocalApi;
use crate::tailscaled::path::control_probe::ControlProbe;
use crate::tailscaled::path::health::PathHealth;
use crate::tailscaled::path::rebind::Rebinder;
use crate::tailscaled::process::Launch;
use crate::tailscaled::process::locate;
use crate::tailscaled::process::state_dir::StateDir;
use crate::tailscaled::process::{ca_bundle, environment};
use crate::tailscaled::session::preferences::LoginOptions;
use crate::tailscaled::stop::KeeperStop;

/// The ways to speak with this daemon's tailscaled, and what is known of the path through it. Clones share everything.
#[derive(Clone)]
pub struct LocalTailscaled {
    pub api: LocalApi,
    pub calls: Calls,
    pub path: PathHealth,
    pub rebinder: Rebinder,
}

impl LocalTailscaled {
    /// Speaks with the tailscaled whose LocalAPI listens at `socket`, now or later.
    pub fn new(socket: &Path) -> Self {
        let path = PathHealth::default();
        let api = LocalApi::new(socket.to_owned());
        let rebinder = Rebinder::new(api.clone(), path.clone());
        Self { api, calls: Calls::new(socket.to_owned()), path, rebinder }
    }
}

/// Builds how tailscaled is started. Fails where its program is not found or its CA certificates cannot be written.
pub fn launch(inputs: BuildInputs<'_>, redactor: &Redactor) -> Result<Launch, ExitReason> {
    let (settings, environment, state_dir) = (inputs.settings, inputs.context.environment, inputs.state_dir);
    let search = environment.get("PATH").map(String::as_str);
    let program = locate::find_tailscaled(settings.tailscaled_path.as_deref(), search)?;
    learn_secrets(settings, redactor);
    let ca_directories = ca_directories(settings, environment, state_dir)?;
    let limit = settings.memory_limit.map(|limit| limit.0);
    let environment = environment::for_tailscaled(environment, state_dir.private(), &ca_directories, limit, redactor);
    let mut launch = Launch::new(program, state_dir.state(), inputs.socket, environment, redactor.clone());
    if !settings.log_upload {
        launch = launch.without_log_upload();
    }
    Ok(launch.with_arguments(&settings.tailscaled_args.0))
}

/// Puts together the directories of CA certificates that tailscaled trusts.
fn ca_directories(
    settings: &Settings,
    environment: &Environment,
    state_dir: &StateDir,
) -> Result<Vec<PathBuf>, ExitReason> {
    let (file, more) = (settings.ca_file.as_deref(), settings.platform_ca_dir.as_deref());
    ca_bundle::directories(state_dir, file, more, environment).map_err(|error| {
        let file = file.map_or_else(String::new, |file| format!("ca_file {}: ", file.display()));
        ExitReason::Configuration(format!("{file}the roots to trust cannot be put together: {error}"))
    })
}

/// Teaches `redactor` the secrets of the settings, before tailscaled's first line, so that no line can hold one of them.
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

/// Starts the keeper of tailscaled. Returns its task and its events.
pub fn start_keeper(
    inputs: BuildInputs<'_>,
    launch: Launch,
    tailscaled: LocalTailscaled,
    login: LoginOptions,
) -> (KeeperTask, mpsc::UnboundedReceiver<KeeperEvent>) {
    let LocalTailscaled { api, calls, path, rebinder } = tailscaled;
    let probe = control_probe(inputs.settings, inputs.context.environment);
    let state_dir = inputs.state_dir.state().to_owned();
    let node = login.hostname().to_owned();
    let parts = KeeperParts { launch, api, calls, login, path, rebinder, control_probe: probe, state_dir };
    let (keeper, events) = Keeper::new(parts);
    let (stop, stopped) = KeeperStop::new();
    let task = tokio::spawn(keeper.run(stopped, at_shutdown(inputs.settings, inputs.state_dir)));
    (KeeperTask { task, stop, node }, events)
}

/// Builds the probe that tells whether the control server can be reached.
fn control_probe(settings: &Settings, environment: &Environment) -> ControlProbe {
    let url = settings.control_url.as_ref().map_or("", |url| url.0.as_str());
    ControlProbe::new(url, |name| environment.contains_key(name))
}

/// Whether the node is logged out at the end: by default where nothing keeps its identity.
fn at_shutdown(settings: &Settings, state_dir: &StateDir) -> NodeAtShutdown {
    match settings.logout {
        Logout::Always => NodeAtShutdown::LogOut,
        Logout::Auto if state_dir.is_temporary() => NodeAtShutdown::LogOut,
        Logout::Auto | Logout::Never => NodeAtShutdown::KeepNode,
    }
}
