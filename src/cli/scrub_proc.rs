//! Masks secrets in this process's `/proc/PID/environ` and `/proc/PID/cmdline`.
//!
//! Both are the memory that the process was started with, and show what stands there for as long as it runs.

use std::io;
use std::ops::Range;

use crate::config::table::KEYS;
use crate::environment::Environment;
use crate::process::inherited::bears_secret;
use crate::secret::redactor::Redactor;

/// Prefix of variables that the AWS SDK reads later, by itself.
const READ_LATER: &str = "AWS_";

/// Overwrites the secrets among `arguments` and in `environment`, which were copied before. To be called before
/// anything else is started: nobody may be reading them.
pub fn scrub(arguments: &[String], environment: &Environment) {
    let secrets = secrets(arguments, environment);
    if secrets.is_empty() {
        return;
    }
    keep_copies(environment);
    // Where /proc is not mounted nobody can look either.
    let _ = overwrite(&secrets);
}

/// Sets the secret variables that are read later, so that their values stand in memory that is not overwritten. To be called before
/// anything else is started.
pub fn keep_copies(environment: &Environment) {
    for (name, value) in environment.iter().filter(|(name, _)| name.starts_with(READ_LATER)) {
        if bears_secret(name, value, &Redactor::default()) {
            keep_a_copy(name, value);
        }
    }
}

/// Lists the values of settings and variables that are secrets; a value that only names a secret's file is none.
fn secrets(arguments: &[String], environment: &Environment) -> Vec<String> {
    let redactor = Redactor::default();
    let inherited = environment.iter().filter(|(name, value)| bears_secret(name, value, &redactor));
    let mut found: Vec<String> = inherited.map(|(_, value)| value.clone()).collect();
    for key in KEYS.iter().filter(|key| key.secret) {
        let flag = format!("--{}", key.flag());
        for (index, argument) in arguments.iter().enumerate() {
            match argument.strip_prefix(&flag) {
                Some("") => found.extend(arguments.get(index + 1).cloned()),
                Some(value) => found.extend(value.strip_prefix('=').map(str::to_owned)),
                None => {}
            }
        }
    }
    found.retain(|text| !text.is_empty() && !text.starts_with("file:"));
    found
}

/// Sets the variable again, so that its value stands in memory that is not overwritten.
#[allow(unsafe_code)]
fn keep_a_copy(name: &str, value: &str) {
    // SAFETY: the process has one thread until the event loop is made, long after this.
    unsafe { std::env::set_var(name, value) };
}

/// Masks `secrets` in the memory of arguments and environment. Not by /proc/self/mem: where its program may not be read, as in the
/// image, a process may not open that.
#[allow(unsafe_code)]
fn overwrite(secrets: &[String]) -> io::Result<()> {
    let extent = extent()?;
    // SAFETY: the kernel has put arguments and environment there, on the stack, readable and writable, and no reference of this
    // program's leads there: what it keeps are copies. It has one thread. Terminating zeros stay.
    let memory = unsafe {
        let start = std::ptr::with_exposed_provenance_mut::<u8>(extent.start);
        std::slice::from_raw_parts_mut(start, extent.len())
    };
    for secret in secrets {
        mask(memory, secret.as_bytes());
    }
    Ok(())
}

/// Masks whole arguments, and whole values after `=`, so that a short secret does not mangle other words.
fn mask(memory: &mut [u8], secret: &[u8]) {
    for at in 0..=memory.len().saturating_sub(secret.len()) {
        let Some(end) = at.checked_add(secret.len()).filter(|end| *end <= memory.len()) else { return };
        let begins = at == 0 || matches!(memory[at - 1], 0 | b'=');
        let ends = matches!(memory.get(end), None | Some(0));
        if begins && ends && &memory[at..end] == secret {
            memory[at..end].fill(b'*');
        }
    }
}

/// Finds the addresses between which arguments and environment lie: fields 48 to 51 of proc_pid_stat(5).
fn extent() -> io::Result<Range<usize>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    // The name, which comes second, may hold anything but ends with the last parenthesis.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |number: usize| after_name.split_whitespace().nth(number - 3)?.parse::<usize>().ok();
    let extent = field(48).zip(field(51)).map(|(start, end)| start..end);
    extent.filter(|extent| extent.start != 0 && !extent.is_empty()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::environment;

    #[test]
    fn values_of_secret_settings_are_found_and_places_are_not() {
        let environment = environment(&[
            ("TETHERD_AUTH_KEY", "key-1"),
            ("TS_AUTHKEY", "file:/run/key"),
            ("AWS_SECRET_ACCESS_KEY", "key-2"),
            ("HOME", "/root"),
        ]);
        let arguments = ["tetherd", "--auth-key", "key-3", "--socks-password=key-4", "--hostname", "app"];
        let found = secrets(&arguments.map(str::to_owned), &environment);
        assert_eq!(found, ["key-2", "key-1", "key-3", "key-4"]);
    }

    #[test]
    fn whole_arguments_and_values_are_masked_and_parts_of_words_are_not() {
        for (memory, secret, masked) in [
            ("tetherd\0--auth-key=key\0A=key\0B=b\0", "key", "tetherd\0--auth-key=***\0A=***\0B=b\0"),
            ("key\0monkey\0keys\0=key", "key", "***\0monkey\0keys\0=***"),
            ("k", "key", "k"),
            ("", "key", ""),
        ] {
            let mut bytes = memory.as_bytes().to_vec();
            mask(&mut bytes, secret.as_bytes());
            assert_eq!(String::from_utf8_lossy(&bytes), masked);
        }
    }
}
