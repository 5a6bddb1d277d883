//! Arguments for tailscaled: what repeats tetherd's own, and what would end it.
//!
//! A flag that is given twice counts as it comes last: one of the user's would take the state from tetherd, or the socket.

use std::net::SocketAddr;
use std::path::Path;

use crate::config::tailscale::go_flags::{self, Word};
use crate::config::types::Value;
use crate::target::port::parse_port;

/// Name of the file that tailscaled keeps the state in, in the directory of `state_dir`.
const STATE_FILE: &str = "tailscaled.state";

/// What a flag of tailscaled is for.
#[derive(Clone, Copy)]
enum Purpose {
    /// Has the setting of this name.
    Setting(&'static str),
    /// Names the file of the state.
    State,
    /// Names the network device.
    Device,
    /// Names the UDP port, which tetherd chooses where it is 0.
    Port,
    /// Is passed on where its value is right: "expected …".
    Checked {
        fits: fn(&str) -> bool,
        expected: &'static str,
    },
    PassedOn,
    /// Says what is so anyway.
    Given,
    /// Is refused, with the reason.
    Refused(&'static str),
}

const ENDS: &str = "which ends tailscaled at once: leave it out";

/// Every flag of tailscaled 1.102: its name, whether it is a switch, its purpose.
const FLAGS: [(&str, bool, Purpose); 20] = [
    ("socks5-server", false, Purpose::Setting("socks_listen")),
    ("outbound-http-proxy-listen", false, Purpose::Setting("socks_listen")),
    ("socket", false, Purpose::Setting("tailscaled_socket")),
    ("statedir", false, Purpose::Setting("state_dir")),
    ("state", false, Purpose::State),
    ("tun", false, Purpose::Device),
    ("port", false, Purpose::Port),
    ("verbose", false, Purpose::Checked { fits: |text| text.parse::<i32>().is_ok(), expected: "a number" }),
    ("debug", false, Purpose::Checked { fits: is_address, expected: "an address such as 127.0.0.1:8080" }),
    ("no-logs-no-support", true, Purpose::Given),
    ("encrypt-state", true, Purpose::PassedOn),
    ("hardware-attestation", true, Purpose::PassedOn),
    ("bird-socket", false, Purpose::PassedOn),
    ("syspolicy-file", false, Purpose::PassedOn),
    ("syslog", true, Purpose::Refused("which takes its lines from the log: leave it out")),
    ("config", false, Purpose::Refused("whose file would replace the settings: write them as settings of tetherd")),
    ("cleanup", true, Purpose::Refused(ENDS)),
    ("version", true, Purpose::Refused(ENDS)),
    ("help", true, Purpose::Refused(ENDS)),
    ("h", true, Purpose::Refused(ENDS)),
];

fn is_address(text: &str) -> bool {
    text.is_empty() || SocketAddr::parse(text).is_some()
}

/// A setting that a flag gives.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingFlag {
    pub name: &'static str,
    pub key: &'static str,
    pub value: String,
}

/// What arguments come to.
#[derive(Debug, Default)]
pub struct DaemonArgs {
    /// Arguments to pass on.
    pub kept: Vec<String>,
    /// Flags that have a setting.
    pub settings: Vec<SettingFlag>,
    /// Whether the state is to be kept in memory alone.
    pub forgets: bool,
    /// What is wrong, to stand behind the name of what gave the arguments.
    pub faults: Vec<String>,
    /// Flags that tailscaled does not have, as far as is known.
    pub unknown: Vec<String>,
}

impl DaemonArgs {
    /// Reads `words`.
    pub fn read<'a>(words: impl Iterator<Item = &'a str>) -> Self {
        let mut read = Self::default();
        for word in go_flags::read(words, |name| find(name).is_some_and(|(_, is_switch, _)| *is_switch)) {
            let Word::Flag { name, value } = word else {
                read.faults.push("holds a word that belongs to no flag; write --flag=value".into());
                continue;
            };
            match find(name) {
                Some((name, is_switch, purpose)) => match value.or(is_switch.then_some("true")) {
                    Some(value) => read.take(name, value, *purpose),
                    None => read.faults.push(format!("has --{name} without a value; write --{name}=value")),
                },
                None => {
                    read.unknown.push(name.to_owned());
                    read.keep(name, value);
                }
            }
        }
        read
    }

    fn take(&mut self, name: &'static str, value: &str, purpose: Purpose) {
        match purpose {
            Purpose::Setting(_) if value.is_empty() => {}
            Purpose::Setting(key) => self.settings.push(SettingFlag { name, key, value: value.to_owned() }),
            Purpose::State => self.take_state(value),
            Purpose::Device if value == "userspace-networking" => {}
            Purpose::Device => {
                self.refuse(name, "which asks for kernel mode, and tetherd is userspace mode: leave it out")
            }
            Purpose::Port => match parse_port(value) {
                // Another port at each restart would be answered to after 5 s only.
                Some(0) => {}
                Some(_) => self.keep(name, Some(value)),
                None => self.refuse(name, "with a value that is no port, expected a number such as 41641"),
            },
            Purpose::Checked { fits, .. } if fits(value) => self.keep(name, Some(value)),
            Purpose::Checked { expected, .. } => {
                self.refuse(name, &format!("with a value that is unusable, expected {expected}"));
            }
            Purpose::PassedOn => self.keep(name, Some(value)),
            Purpose::Given => {}
            Purpose::Refused(why) => self.refuse(name, why),
        }
    }

    /// Takes the place of the state: a file of the name that tailscaled gives it in a directory, or none.
    fn take_state(&mut self, value: &str) {
        let path = Path::new(value);
        let directory = path.parent().and_then(Path::to_str).filter(|_| path.is_absolute());
        match directory.filter(|_| path.file_name().is_some_and(|name| name == STATE_FILE)) {
            _ if value.is_empty() => {}
            _ if value == "mem:" => self.forgets = true,
            Some(directory) => {
                self.settings.push(SettingFlag { name: "state", key: "state_dir", value: directory.to_owned() });
            }
            None => {
                self.refuse("state", "which has a setting here: use state_dir, a directory with tailscaled.state in it")
            }
        }
    }

    fn keep(&mut self, name: &str, value: Option<&str>) {
        self.kept.push(value.map_or_else(|| format!("--{name}"), |value| format!("--{name}={value}")));
    }

    fn refuse(&mut self, name: &str, why: &str) {
        self.faults.push(format!("has --{name}, {why}"));
    }
}

fn find(name: &str) -> Option<&'static (&'static str, bool, Purpose)> {
    FLAGS.iter().find(|(flag, ..)| *flag == name)
}
