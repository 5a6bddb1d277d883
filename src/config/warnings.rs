//! Warns of settings that are taken, and open a door.

use crate::config::settings::Settings;

/// Fewest characters of a password that nobody guesses.
const SAFE_LENGTH: usize = 12;

/// Returns what is to be said of `settings`: the setting, what may come of it, and the way out.
pub fn warnings(settings: &Settings) -> Vec<String> {
    if !settings.asks_for_password() {
        return Vec::new();
    }
    let mut warnings = Vec::new();
    let password = settings.socks_credentials.as_ref().map(|credentials| credentials.password.expose());
    if password.is_some_and(|password| password.chars().count() < SAFE_LENGTH) {
        warnings.push(format!(
            "socks_password has fewer than {SAFE_LENGTH} characters, which whoever can connect may guess: make a random one, as by \
             `head -c 18 /dev/urandom | base64`"
        ));
    }
    let in_clear = settings.socks_listen.iter().filter(|listen| !listen.is_private() && settings.socks_tls.is_none());
    for listen in in_clear {
        warnings.push(format!(
            "socks_listen {listen}: user and password cross the network in clear, where whoever is on the way can read them: \
             set socks_tls_cert and socks_tls_key, or listen on 127.0.0.1 or a unix socket"
        ));
    }
    warnings
}

/// Returns what is to be said where the variables of a program get no password though the proxy asks for one.
pub fn without_password_for_programs(settings: &Settings) -> Option<&'static str> {
    (settings.users.is_some() && settings.socks_credentials.is_none()).then_some(
        "the proxy variables hold no user and password: of those in the file of users tetherd knows hashes alone; \
         set socks_user and socks_password beside it for the programs that get the variables",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load;
    use crate::environment::environment;

    fn warned(listen: &str, password: Option<&str>) -> Vec<String> {
        let mut pairs = vec![("TETHERD_SOCKS_LISTEN", listen), ("TETHERD_ALLOW_OPEN_PROXY", "true")];
        if let Some(password) = password {
            pairs.extend([("TETHERD_SOCKS_USER", "app"), ("TETHERD_SOCKS_PASSWORD", password)]);
        }
        warnings(&load(&environment(&pairs), None, &vec![]).settings.expect("valid"))
    }

    #[test]
    fn short_passwords_and_passwords_in_clear_are_warned_of() {
        let (short, long) = (Some("elevenchars"), Some("twelve chars"));
        for (listen, password, is_short, in_clear) in [
            ("127.0.0.1:1055", None, false, 0),
            ("0.0.0.0:1055", None, false, 0),
            ("127.0.0.1:1055", short, true, 0),
            ("127.0.0.1:1055", Some("ääääääääääää"), false, 0),
            ("unix:/run/t.sock,[::1]:1055,[::ffff:127.0.0.1]:1", long, false, 0),
            ("[::]:1055", long, false, 1),
            ("127.0.0.1:1,10.0.0.1:2,[fd00::1]:3", short, true, 2),
        ] {
            let warned = warned(listen, password);
            let short = warned.iter().filter(|text| text.contains("fewer than 12 characters")).count();
            let clear = warned.iter().filter(|text| text.contains("in clear")).count();
            assert_eq!(
                (short, clear, warned.len()),
                (is_short.into(), in_clear, short + clear),
                "{listen}: {warned:?}"
            );
            assert!(password.is_none_or(|password| !format!("{warned:?}").contains(password)), "{warned:?}");
        }
    }
}
