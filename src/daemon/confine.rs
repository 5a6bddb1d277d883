//! Confines the daemon's own process, as far as what it starts is confined itself.
//!
//! A child inherits what confines its parent. tailscaled gets more of the same; the command of `exec` is to have what it would
//! have without tetherd, so beside it the daemon is not confined.

use std::path::{Path, PathBuf};

use crate::auth_keys::sources::credential_process::may_start_a_program;
use crate::config::settings::Settings;
use crate::config::types::address::Listen;
use crate::daemon::context::BuildInputs;
use crate::process::confinement::{Confinement, Writable, is_binary, keep_new_files_private, landlock_version};
use crate::tailscaled::process::locate;

/// Whether this tailscaled is confined, and the daemon beside it. A script may start anything, and arguments of the user's own
/// may want anything.
pub fn confines(settings: &Settings, tailscaled: &Path) -> bool {
    settings.confine && settings.tailscaled_args.0.is_empty() && is_binary(tailscaled)
}

/// Confines this process, of which only this thread and that of the log run yet. Returns what confines it, such as `landlock`;
/// nothing where tailscaled is not confined either, or a program of the user's is started for AWS credentials.
pub fn confine_process(inputs: BuildInputs<'_>) -> Vec<&'static str> {
    if !confines_what_is_found(inputs) {
        return Vec::new();
    }
    keep_new_files_private();
    let confinement = Confinement::new(&written_by_daemon(inputs));
    match confinement.try_clone() {
        Ok(of_the_log) => (inputs.context.on_log_thread)(Box::new(|| of_the_log.confine_thread())),
        Err(error) => tracing::warn!(%error, "the thread of the log is not confined"),
    }
    confinement.confine_process()
}

/// Has the daemon make files for its user alone, beside a command that inherits all else. Returns nothing that confines it.
pub fn confine_beside_command(inputs: BuildInputs<'_>) -> Vec<&'static str> {
    if confines_what_is_found(inputs) {
        keep_new_files_private();
    }
    Vec::new()
}

/// Whether what this process starts may be confined. A tailscaled that is not found ends the daemon later, with a reason.
fn confines_what_is_found(inputs: BuildInputs<'_>) -> bool {
    if may_start_a_program(inputs.settings.auth.as_ref(), inputs.context.environment) {
        tracing::info!("tetherd itself is not confined: the credential_process of an AWS profile may want anything");
        return false;
    }
    // Its first version lets no file be moved between directories, as tailscaled's socket is.
    if inputs.socket.given().is_some() && landlock_version() == 1 {
        tracing::info!(
            "tetherd itself is not confined: with this kernel's Landlock the LocalAPI could not be at tailscaled_socket"
        );
        return false;
    }
    let search = inputs.context.environment.get("PATH").map(String::as_str);
    let found = locate::find_tailscaled(inputs.settings.tailscaled_path.as_deref(), search);
    found.is_ok_and(|program| confines(inputs.settings, &program))
}

/// Lists what tailscaled writes: its state, its socket, its temporary files and its logs.
pub fn written_by_tailscaled(inputs: BuildInputs<'_>) -> Vec<Writable> {
    let logs = inputs.context.environment.get("TS_LOGS_DIR").map(PathBuf::from);
    let own = [inputs.state_dir.state(), inputs.state_dir.private()].map(Path::to_owned);
    own.into_iter().chain([directory_of(inputs.socket.path())]).chain(logs).map(Writable::Directory).collect()
}

/// Lists what the daemon writes: what tailscaled writes, its unix listeners, and the reason of its end.
fn written_by_daemon(inputs: BuildInputs<'_>) -> Vec<Writable> {
    let settings = inputs.settings;
    let forwards = settings.forwards.iter().map(|forward| &forward.listen);
    let sockets = settings.socks_listen.iter().chain(forwards).filter_map(|listen| match listen {
        Listen::Unix(path) => Some(Writable::Sockets(directory_of(path))),
        Listen::Tcp(_) | Listen::Udp(_) => None,
    });
    let reason = inputs.context.platform.termination_log().map(|path| Writable::File(path.to_owned()));
    // The private directory goes at the end.
    let private = Writable::EmptyDirectories(directory_of(inputs.state_dir.private()));
    // tailscaled's socket gets its wanted path from the directory beside it, which goes at the end.
    let wanted = inputs.socket.given().map(directory_of);
    let published =
        wanted.into_iter().flat_map(|place| [Writable::Sockets(place.clone()), Writable::EmptyDirectories(place)]);
    let own = written_by_tailscaled(inputs).into_iter().chain(published);
    own.chain(sockets).chain(reason).chain([private]).collect()
}

/// Returns the directory that `path` is in.
fn directory_of(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.parent().unwrap_or(&path).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::configure;
    use crate::daemon::context::DaemonContext;
    use crate::environment::environment;
    use crate::net::socket_file;
    use crate::process::oom_score::OomScore;
    use crate::tailscaled::process::socket_path::SocketPath;
    use crate::tailscaled::process::state_dir::StateDir;
    use std::fs;
    use std::os::unix::net::UnixListener;

    /// Something that the daemon could do to files.
    type Try = fn(&Path) -> std::io::Result<()>;

    const WRITES: Try = |path| fs::write(path, "text");
    const REMOVES: Try = |path| fs::remove_file(path);
    const LISTENS: Try = |path| UnixListener::bind(path).map(drop);
    const MAKES: Try = |path| fs::create_dir(path);
    const LEAVES: Try = |path| fs::remove_dir_all(path);
    const PUBLISHES: Try = |path| socket_file::publish(path, &directory_of(&directory_of(path)).join("t.sock"));
    const READS: Try = |path| fs::read(path).map(drop);

    #[test]
    fn the_daemon_writes_what_is_its_own_and_nothing_else() {
        let root = tempfile::tempdir().expect("a directory");
        let at = |path: &str| root.path().join(path);
        for directory in ["in", "forwards", "logs", "tmp", "socket", "foreign"] {
            fs::create_dir(at(directory)).expect("made");
        }
        for file in ["foreign/kept", "in/old.sock"] {
            fs::write(at(file), "kept").expect("written");
        }
        let text = |path: &str| at(path).to_str().expect("UTF-8").to_owned();
        let environment = environment(&[
            ("TETHERD_SOCKS_LISTEN", &format!("127.0.0.1:1055,unix:{}", text("in/proxy.sock"))),
            ("TETHERD_FORWARDS", &format!("unix:{}=db:1", text("forwards/db.sock"))),
            ("TS_LOGS_DIR", &text("logs")),
        ]);
        let configured = configure::load(&environment, None, &Vec::new(), None);
        let settings = configured.config.settings.as_ref().expect("are valid");
        let state_dir = StateDir::open(Some(&at("state")), Some(&text("tmp"))).expect("opens");
        let private = state_dir.private().to_owned();
        let context = DaemonContext {
            platform: configured.platform,
            environment: &environment,
            memory: None,
            oom_score: OomScore::default(),
            on_log_thread: |job| job(),
            tailnet: None,
            supervised: None,
        };
        let wanted = at("socket/t.sock");
        let path = SocketPath::new(Some(&wanted), &state_dir).expect("is free");
        let socket = path.path().to_owned();
        let start_gate = crate::sync::start_gate::StartGate::default();
        let inputs = BuildInputs {
            settings,
            context: &context,
            state_dir: &state_dir,
            socket: &path,
            start_gate: &start_gate,
            confinement: &[],
        };
        let confinement = Confinement::new(&written_by_daemon(inputs));
        let tries: [(Try, PathBuf, bool); 20] = [
            (WRITES, at("state/tailscaled.state"), true),
            (WRITES, private.join("file"), true),
            (MAKES, private.join("roots"), true),
            (WRITES, at("logs/log"), true),
            (LISTENS, socket.clone(), true),
            (PUBLISHES, socket.clone(), true),
            (REMOVES, socket.clone(), true),
            (REMOVES, wanted, true),
            (LEAVES, directory_of(&socket), true),
            (LISTENS, at("in/proxy.sock"), true),
            (REMOVES, at("in/proxy.sock"), true),
            (REMOVES, at("in/old.sock"), true),
            (LISTENS, at("forwards/db.sock"), true),
            (LEAVES, private, true),
            (READS, at("foreign/kept"), true),
            (WRITES, at("in/file"), false),
            (WRITES, at("foreign/kept"), false),
            (REMOVES, at("foreign/kept"), false),
            (LISTENS, at("foreign/t.sock"), false),
            (MAKES, at("tmp/other"), false),
        ];
        let tried = std::thread::spawn(move || {
            confinement.confine_thread();
            tries.map(|(act, path, works)| (act(&path).is_ok(), works, path))
        });
        for (worked, works, path) in tried.join().expect("is tried") {
            assert_eq!(worked, works, "{}", path.display());
        }
    }
}
