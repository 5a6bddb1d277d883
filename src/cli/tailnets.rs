//! Several tailnets in one file: which one a command is about, or all of them.

use std::ffi::OsString;
use std::time::Duration;

use crate::cli::args::Command;
use crate::cli::configure::{Configured, implied, read};
use crate::config::error::ConfigError;
use crate::config::sections::supervisor::SupervisorSettings;
use crate::config::tailnet_clashes::{clashes, listeners};
use crate::config::tailnets::{ChosenTailnet, TailnetName};
use crate::config::types::address::Listen;
use crate::config::{ReadTop, Sources};
use crate::daemon::context::OtherListeners;
use crate::environment::Environment;
use crate::exit_reason::ExitReason;
use crate::memory::budget::MemoryBudget;
use crate::platform;
use crate::platform::interface::Platform;
use crate::process::inherited::bears_secret;
use crate::secret::redactor::Redactor;
use crate::supervisor::SupervisorPlan;
use crate::supervisor::handover::Handover;

/// What a command is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The settings that the sources have chosen.
    One,
    /// All tailnets of the file.
    All,
}

/// Chooses the tailnet that `command` is about. A tailnet alone needs no name.
///
/// # Errors
/// A wrong usage, where a name is missing or there is no such tailnet.
pub fn choose(sources: &mut Sources<'_>, command: &Command, is_supervised: bool) -> Result<Scope, ExitReason> {
    let names = sources.tailnets().to_vec();
    let all = || names.iter().map(TailnetName::as_str).collect::<Vec<_>>().join(", ");
    let name = match (sources.named_tailnet(), names.as_slice()) {
        // The tables themselves are at fault, which the settings tell.
        (_, []) => return Ok(Scope::One),
        (Some(named), _) => names.iter().find(|name| name.as_str() == named).ok_or_else(|| {
            ExitReason::Usage(format!(
                "there is no tailnet of this name in the file of settings: --tailnet names one of {}",
                all()
            ))
        })?,
        (None, [only]) => only,
        (None, _) => {
            return match command {
                Command::Run | Command::Check { .. } => Ok(Scope::All),
                Command::Exec(_) | Command::Env(_) => Err(ExitReason::Usage(format!(
                    "the file of settings has several tailnets, and this command is for one: add --tailnet, with one of {}",
                    all()
                ))),
                _ => Ok(Scope::One),
            };
        }
    };
    sources.choose(Some(ChosenTailnet { name: name.clone(), is_supervised }));
    Ok(Scope::One)
}

/// The settings of all tailnets.
pub struct AllConfigured {
    pub platform: &'static dyn Platform,
    pub supervisor: SupervisorSettings,
    /// What `check` shows of the supervisor, and what was found at the top.
    pub top: ReadTop,
    pub tailnets: Vec<(TailnetName, Configured)>,
    /// All faults, each once.
    pub faults: Vec<ConfigError>,
}

/// Reads the settings of all tailnets, as their daemons will. `memory` is the limit that they have together.
pub fn read_all(sources: &mut Sources<'_>, environment: &Environment, memory: Option<&MemoryBudget>) -> AllConfigured {
    let names = sources.tailnets().to_vec();
    sources.choose(None);
    let runtime = sources.runtime(&platform::names());
    let platform = runtime.name.and_then(platform::named).unwrap_or_else(|| platform::detect(environment));
    let (supervisor, top) = sources.supervisor(runtime, &implied(platform, environment, None));
    let share = memory.and_then(MemoryBudget::share);
    let tailnets: Vec<(TailnetName, Configured)> = names
        .into_iter()
        .map(|name| {
            sources.choose(Some(ChosenTailnet { name: name.clone(), is_supervised: true }));
            let configured = read(sources, environment, share);
            (name, configured)
        })
        .collect();
    sources.choose(None);
    let configs: Vec<_> = tailnets.iter().map(|(name, configured)| (name.clone(), &configured.config)).collect();
    let mut found = top.faults.clone();
    found.extend(
        configs.iter().filter_map(|(_, config)| config.settings.as_ref().err()).flat_map(|faults| faults.0.clone()),
    );
    found.extend(clashes(&supervisor.health_listen, &configs));
    if platform.name() == "lambda" {
        let origin = sources.parts().0.map_or("", |file| file.origin.as_str());
        let problem =
            "has several tailnets, which are not for Lambda, where each environment is one node: leave one of them";
        found.push(ConfigError::new("tailnet", origin, problem));
    }
    let mut faults: Vec<ConfigError> = Vec::new();
    // What stands at the top is at fault for each tailnet.
    found.into_iter().for_each(|fault| {
        if !faults.contains(&fault) {
            faults.push(fault)
        }
    });
    AllConfigured { platform, supervisor, top, tailnets, faults }
}

impl AllConfigured {
    /// Returns the faults as the reason of an end; `Ok` where there are none.
    pub fn checked(&self) -> Result<(), ExitReason> {
        if self.faults.is_empty() {
            return Ok(());
        }
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        Err(ExitReason::Configuration(format!("invalid configuration: {}", faults.join("; "))))
    }

    /// Puts together what the supervisor starts. `inherited` are the variables as this process was given them.
    pub fn plan(&self, sources: &Sources<'_>, inherited: Vec<(OsString, OsString)>) -> SupervisorPlan {
        let (secret, variables): (Vec<_>, Vec<_>) =
            inherited.into_iter().partition(|(name, value)| is_secret(name, value));
        let text = |text: &OsString| text.to_string_lossy().into_owned();
        let temporary = variables.iter().find(|(name, _)| name == "TMPDIR").map(|(_, value)| text(value));
        let (file, flags) = sources.parts();
        let handover = Handover {
            supervisor: std::process::id().cast_signed(),
            tailnets: self.tailnets.len() as u64,
            file: file.map(|file| (file.origin.clone(), file.text.clone().unwrap_or_default())).unwrap_or_default(),
            flags: flags.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            variables: secret.iter().map(|(name, value)| (text(name), text(value))).collect(),
            kept: Vec::new(),
            others: OtherListeners::default(),
        };
        let daemons = self.tailnets.iter().map(|(name, configured)| {
            let read_once = configured.config.read_once.iter();
            let kept = read_once.map(|(name, secret)| ((*name).to_owned(), secret.expose().to_owned())).collect();
            (name.clone(), Handover { kept, others: self.others(name), ..handover.clone() })
        });
        SupervisorPlan {
            health_listen: self.supervisor.health_listen.clone(),
            daemons: daemons.collect(),
            variables,
            longest_stop: self.longest_stop(),
            temporary,
        }
    }

    /// Returns where others than the daemon of this tailnet listen. What gets its port from the kernel is not known.
    fn others(&self, name: &TailnetName) -> OtherListeners {
        let mut others = OtherListeners { tcp: self.supervisor.health_listen.clone(), udp: Vec::new() };
        let settings = self.tailnets.iter().filter(|(other, _)| other != name);
        for (_, listen) in settings.filter_map(|(_, other)| other.config.settings.as_ref().ok()).flat_map(listeners) {
            match listen {
                Listen::Tcp(address) => others.tcp.push(address),
                Listen::Udp(address) => others.udp.push(address),
                Listen::Unix(_) => {}
            }
        }
        others.tcp.retain(|address| address.port() != 0);
        others.udp.retain(|address| address.port() != 0);
        others
    }

    /// Longest time that the daemons may take to stop: to drain, and what the platform gives for the rest.
    fn longest_stop(&self) -> Duration {
        let settings = self.tailnets.iter().filter_map(|(_, configured)| configured.config.settings.as_ref().ok());
        settings.map(|settings| settings.drain_timeout).max().unwrap_or_default() + self.platform.stop_grace()
    }
}

/// Whether a variable is handed over in another way than by the environment.
fn is_secret(name: &OsString, value: &OsString) -> bool {
    let name = name.to_string_lossy();
    bears_secret(&name, &value.to_string_lossy(), &Redactor::default())
}

#[cfg(test)]
#[path = "tailnets_tests.rs"]
mod tests;
