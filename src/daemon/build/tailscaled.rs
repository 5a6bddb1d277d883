//! Builds how tailscaled is started and kept, and the ways to speak with it.

use std::path::PathBuf;

use tokio::sync::mpsc;

use crate::config::sections::auth::{AuthSource, IdentityToken};
use crate::config::settings::Settings;
use crate::config::types::enums::LogoutSetting;
use crate::daemon::confine::{confines, written_by_tailscaled};
use crate::daemon::context::BuildInputs;
use crate::daemon::running::KeeperTask;
use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::process::confinement::SECCOMP;
use crate::secret::SecretSource;
use crate::secret::redactor::Redactor;
use crate::tailscaled::calls::Calls;
use crate::tailscaled::events::KeeperEvent;
use crate::tailscaled::keeper::{Keeper, KeeperParts, NodeAtShutdown};
use crate::tailscaled::local_api::LocalApi;
use crate::tailscaled::local_api::socket::LocalApiSocket;
use crate::tailscaled::own_node::OwnNodeCache;
use crate::tailscaled::path::control_probe::ControlProbe;
use crate::tailscaled::path::health::PathHealth;
use crate::tailscaled::path::rebind::Rebinder;
use crate::tailscaled::process::Launch;
use crate::tailscaled::process::locate;
use crate::tailscaled::process::socket_path::SocketPath;
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
    pub own_node: OwnNodeCache,
}

impl LocalTailscaled {
    /// Speaks with the tailscaled whose LocalAPI listens at `socket`, now or later.
    pub fn new(socket: &SocketPath) -> Self {
        let path = PathHealth::default();
        let socket = LocalApiSocket::new(socket.path(), socket.given());
        let api = LocalApi::new(socket.clone());
        let rebinder = Rebinder::new(api.clone(), path.clone());
        let own_node = OwnNodeCache::new(api.clone());
        Self { api, calls: Calls::new(socket), path, rebinder, own_node }
    }
}

/// Builds how tailscaled is started, so that peers do not reach `closed_ports` of loopback, of TCP and of UDP. Fails where its program is not found
/// or its CA certificates cannot be written.
pub fn launch(
    inputs: BuildInputs<'_>,
    redactor: &Redactor,
    closed_ports: &[Vec<u16>; 2],
) -> Result<Launch, ExitReason> {
    let (settings, environment, state_dir) = (inputs.settings, inputs.context.environment, inputs.state_dir);
    let search = environment.get("PATH").map(String::as_str);
    let program = locate::find_tailscaled(settings.tailscaled_path.as_deref(), search)?;
    learn_secrets(settings, redactor);
    let ca_directories = ca_directories(settings, environment, state_dir)?;
    let limit = settings.memory_limit.map(|limit| limit.0);
    let mut environment =
        environment::for_tailscaled(environment, state_dir.private(), &ca_directories, limit, redactor);
    environment::close_to_peers(&mut environment, closed_ports);
    let mut launch = Launch::new(program, state_dir.state(), inputs.socket.path(), environment, redactor.clone());
    if !settings.log_upload {
        launch = launch.without_log_upload();
    }
    if confines(settings, launch.program()) {
        let inherits_filter = inputs.confinement.contains(&SECCOMP);
        launch = launch.confined_to(written_by_tailscaled(inputs), inherits_filter, inputs.context.oom_score.clone());
    } else if settings.confine {
        tracing::info!(
            "neither tailscaled nor tetherd is confined: tailscaled is a script, or tailscaled_args has more arguments for it"
        );
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
        ExitReason::Configuration(format!("{file}the CA certificates cannot be put together: {error}"))
    })
}

/// Teaches `redactor` the secrets of the settings, before tailscaled's first line, so that no line can hold one of
/// them.
fn learn_secrets(settings: &Settings, redactor: &Redactor) {
    let source = match &settings.auth {
        Some(AuthSource::Key(source) | AuthSource::Client { secret: source, .. }) => Some(source),
        Some(AuthSource::Identity { token: IdentityToken::Given(source), .. }) => Some(source),
        Some(AuthSource::Identity { token: IdentityToken::For(_), .. } | AuthSource::Stored(_)) | None => None,
    };
    if let Some(Ok(secret)) = source.map(SecretSource::read) {
        redactor.learn(&secret);
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
    let LocalTailscaled { api, calls, path, rebinder, own_node } = tailscaled;
    let probe = control_probe(inputs.settings, inputs.context.environment);
    let state_dir = inputs.state_dir.state().to_owned();
    let node = login.hostname().to_owned();
    let start_gate = inputs.start_gate.clone();
    let parts = KeeperParts {
        launch,
        api,
        calls,
        login,
        path,
        rebinder,
        own_node,
        control_probe: probe,
        state_dir,
        start_gate,
    };
    let (keeper, events) = Keeper::new(parts);
    let (stop, stopped) = KeeperStop::new();
    let task = tokio::spawn(keeper.run(stopped, at_shutdown(inputs.settings, inputs.state_dir)));
    (KeeperTask { task, stop, node }, events)
}

/// Builds the probe that tells whether the control server can be reached.
fn control_probe(settings: &Settings, environment: &Environment) -> ControlProbe {
    let url = settings.control_url.as_ref().map_or("", |url| url.0.as_str());
    ControlProbe::new(url, environment)
}

/// Whether the node is logged out at the end: by default where nothing keeps its identity.
fn at_shutdown(settings: &Settings, state_dir: &StateDir) -> NodeAtShutdown {
    match settings.logout {
        LogoutSetting::Always => NodeAtShutdown::LogOut,
        LogoutSetting::Auto if state_dir.is_temporary() => NodeAtShutdown::LogOut,
        LogoutSetting::Auto | LogoutSetting::Never => NodeAtShutdown::KeepNode,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::configure;
    use crate::environment::environment;

    /// Tokens and passwords have no form of their own: what is not known is shown.
    #[test]
    fn every_secret_of_the_settings_is_known_before_tailscaled_starts() {
        const SECRET: &str = "0123456789-of-no-form";
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("secret");
        std::fs::write(&file, SECRET).expect("written");
        let path = file.to_str().expect("UTF-8");
        let (tags, id) = (("TETHERD_TAGS", "tag:web"), ("TS_CLIENT_ID", "T1/k"));
        for pairs in [
            &[("TS_AUTHKEY", SECRET)][..],
            &[("TETHERD_AUTH_KEY_FILE", path)],
            &[("TS_CLIENT_SECRET", SECRET), tags],
            &[("TETHERD_OAUTH_CLIENT_SECRET_FILE", path), tags],
            &[("TS_ID_TOKEN", SECRET), id, tags],
            &[("TETHERD_ID_TOKEN_FILE", path), id, tags],
            &[("TS_EXTRA_ARGS", "--id-token=0123456789-of-no-form --client-id=T1/k --advertise-tags=tag:web")],
            &[("TETHERD_SOCKS_PASSWORD", SECRET), ("TETHERD_SOCKS_USER", "app")],
        ] {
            let configured = configure::load(&environment(pairs), None, &Vec::new(), None);
            let redactor = Redactor::default();
            learn_secrets(configured.config.settings.as_ref().expect("are valid"), &redactor);
            assert_eq!(redactor.redact(&format!("a {SECRET} b")), "a *** b", "{pairs:?}");
        }
    }
}
