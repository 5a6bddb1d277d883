//! Tests what `tetherd check` makes of values as files and shells write them.
//!
//! Every kind of setting, with everything that may surround its value or take its place.

use std::io::Write;
use std::process::Output;

use tempfile::NamedTempFile;

use crate::scene::command;

/// Variables: name and value.
type Variables = &'static [(&'static str, &'static str)];

/// A setting of each kind, a right value, and variables without which it is none.
const KINDS: &[(&str, &str, Variables)] = &[
    ("AUTH_KEY", "tskey-auth-a-b", &[]),
    ("AUTH_SECRET", "arn:aws:secretsmanager:eu-west-1:1:secret:ts", &[]),
    ("OAUTH_CLIENT_ID", "k123", &[("TETHERD_OAUTH_CLIENT_SECRET", "tskey-client-a-b"), ("TETHERD_TAGS", "tag:a")]),
    ("CONTROL_URL", "https://h.example:443", &[]),
    ("HOSTNAME", "web", &[]),
    ("TAGS", "tag:web,tag:db", &[]),
    ("ACCEPT_ROUTES", "true", &[]),
    ("ADVERTISE_ROUTES", "10.0.0.0/8,fd00::/8", &[]),
    ("EXIT_NODE", "gw.tail.test", &[]),
    ("SOCKS_LISTEN", "127.0.0.1:1055,[::1]:1055", &[]),
    ("FORWARDS", "127.0.0.1:5432=db:5432", &[]),
    ("DIRECT", "deny", &[]),
    ("ALLOW", "db:5432,*.corp", &[]),
    ("PREWARM", "db:5432", &[]),
    ("CONNECT_TIMEOUT", "15s", &[]),
    ("START_TIMEOUT", "off", &[]),
    ("MAX_CONNECTIONS", "100", &[]),
    ("HEALTH_LISTEN", "127.0.0.1:9002", &[]),
    ("TAILSCALED_ARGS", "--verbose=1", &[]),
    ("TAILSCALED_SOCKET", "/tmp/t.sock", &[]),
    ("STATE_DIR", "/var/lib/tetherd", &[]),
    ("MEMORY_LIMIT", "100MiB", &[]),
    ("RUNTIME", "plain", &[]),
    ("LOG_LEVEL", "debug", &[]),
    ("CA_FILE", "/etc/ssl/certs/ca-certificates.crt", &[]),
];

fn check(name: &str, value: &str, beside: &[(&str, &str)]) -> Output {
    let mut check = command(&["check"]);
    check.env(name, value).envs(beside.iter().copied()).output().expect("runs")
}

/// What `check` says of a value on stderr, with its exit code before it.
fn said(output: &Output) -> String {
    format!("{:?} {}", output.status.code(), String::from_utf8_lossy(&output.stderr))
}

/// Reports all differences at once.
fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_surrounds_a_value_unseen_is_taken_away() {
    let mut wrong = Vec::new();
    for (name, value, beside) in KINDS {
        for around in
            ["{} ", " {}", "{}\r", "{}\r\n", "{}\n", "\t{}", "\u{a0}{}\u{a0}", "\u{feff}{}", "{}\u{200b}", "\u{2060}{}"]
        {
            let output = check(&format!("TETHERD_{name}"), &around.replace("{}", value), beside);
            if output.status.code() != Some(0) || !output.stderr.is_empty() {
                wrong.push(format!("{name} {around:?}: {}", said(&output)));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn what_a_shell_would_take_away_is_named() {
    let mut wrong = Vec::new();
    for (name, value, beside) in KINDS {
        for (around, told) in [
            ("\"{}\"", "quotes around it"),
            ("'{}'", "quotes around it"),
            ("\u{201c}{}\u{201d}", "quotes around it"),
            ("{} # mine", "remark behind it"),
            ("{}\t#mine", "remark behind it"),
            ("${TETHERD}", "a variable that nothing has replaced"),
            ("$(TETHERD)", "a variable that nothing has replaced"),
            ("$TETHERD", "a variable that nothing has replaced"),
            ("$${TETHERD}", "doubled dollar"),
            ("{}\\n", "backslash"),
            ("{}\u{200b}{}", "U+200B"),
        ] {
            let output = check(&format!("TETHERD_{name}"), &around.replace("{}", value), beside);
            let text = said(&output);
            let key = name.to_lowercase();
            let names_it = text.contains(&format!("{key} (from TETHERD_{name})"));
            // The two words name what is wrong in a way of their own.
            let told_so = text.contains(told) || *name == "RUNTIME" || *name == "TAILSCALED_ARGS";
            if output.status.code() != Some(78) || !names_it || !told_so || text.contains("tskey-") {
                wrong.push(format!("{name} {around:?}: {text}"));
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn an_empty_variable_counts_as_one_that_is_not_set_and_hides_nothing() {
    let mut wrong = Vec::new();
    for (name, value, beside) in KINDS {
        for empty in ["", " ", "\t", "\r", "\u{a0}", "\u{feff}"] {
            let output = check(&format!("TETHERD_{name}"), empty, &[]);
            if output.status.code() != Some(0) || String::from_utf8_lossy(&output.stdout).contains("TETHERD_") {
                wrong.push(format!("{name} {empty:?}: {}", said(&output)));
            }
        }
        let mut file = NamedTempFile::new().expect("a file");
        write!(file, "\u{feff}{} = \"{value}\"\r\n", name.to_lowercase()).expect("written");
        let path = file.path().to_str().expect("UTF-8");
        let lower = [&[("TETHERD_CONFIG", path)], *beside].concat();
        let output = check(&format!("TETHERD_{name}"), "", &lower);
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.code() != Some(0) || shown.matches(&format!("(file {path})")).count() != 1 {
            wrong.push(format!("{name} in a file: {} {shown}", said(&output)));
        }
    }
    let image = check("TETHERD_HOSTNAME", "", &[("TS_HOSTNAME", "web")]);
    assert!(String::from_utf8_lossy(&image.stdout).contains("= web  (TS_HOSTNAME)"), "{image:?}");
    assert_none(&wrong);
}

#[test]
fn a_file_of_a_key_is_read_as_editors_write_it_and_what_is_no_key_is_named() {
    let mut wrong = Vec::new();
    let beside = [("TETHERD_OAUTH_CLIENT_ID", "k"), ("TETHERD_TAGS", "tag:a")];
    for (name, beside) in
        [("AUTH_KEY_FILE", &[][..]), ("OAUTH_CLIENT_SECRET_FILE", &beside), ("ID_TOKEN_FILE", &beside)]
    {
        for (text, told) in [
            ("tskey-a-b", ""),
            ("tskey-a-b\n", ""),
            ("tskey-a-b\r\n", ""),
            ("\u{feff}tskey-a-b\r\n\r\n", ""),
            ("\u{a0}tskey-a-b\u{200b} ", ""),
            ("\"tskey-a-b\"\n", "quotes around it"),
            ("tskey-a-b # mine\n", "remark behind it"),
            ("# mine\ntskey-a-b\n", "remark"),
            ("tskey-a-b\ntskey-c-d\n", "several lines"),
            ("TS_AUTHKEY=tskey-a-b\n", "a name and = before it"),
            ("export TS_AUTHKEY=tskey-a-b\n", "white space"),
            ("${TS_AUTHKEY}\n", "a variable that nothing has replaced"),
            ("\r\n", "is empty"),
        ] {
            let mut file = NamedTempFile::new().expect("a file");
            file.write_all(text.as_bytes()).expect("written");
            let output = check(&format!("TETHERD_{name}"), file.path().to_str().expect("UTF-8"), beside);
            let (said, code) = (said(&output), if told.is_empty() { 0 } else { 78 });
            if output.status.code() != Some(code) || !said.contains(told) || said.contains("tskey-a") {
                wrong.push(format!("{name} {text:?}: {said}"));
            }
        }
    }
    assert_none(&wrong);
}

/// PowerShell writes UTF-16 by `>`.
#[test]
fn a_file_in_another_encoding_is_named() {
    let mut file = NamedTempFile::new().expect("a file");
    let text: Vec<u8> = "\u{feff}tskey-a-b\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    file.write_all(&text).expect("written");
    let said = said(&check("TETHERD_AUTH_KEY_FILE", file.path().to_str().expect("UTF-8"), &[]));
    assert!(said.starts_with("Some(78)") && said.contains("UTF-16") && said.contains("UTF-8"), "{said}");
}

/// Clients may have the same file of variables, and the same slip.
#[test]
fn a_password_with_quotes_is_taken_and_warned_of() {
    for (password, told) in
        [("\"twelve chars\"", "quotes around it"), ("pa$$word-pa55word", "doubled dollar"), ("twelve #chars", "remark")]
    {
        let output = check("TETHERD_SOCKS_PASSWORD", password, &[("TETHERD_SOCKS_USER", "app")]);
        let said = said(&output);
        assert!(
            said.starts_with("Some(0)") && said.contains("warning: socks_password") && said.contains(told),
            "{said}"
        );
        assert!(!said.contains(password), "{said}");
    }
}

#[test]
fn a_port_has_one_spelling_everywhere() {
    let mut wrong = Vec::new();
    for port in ["+80", "080", "00080", "8 0", "0x50", "65536", "-1"] {
        for (name, value) in [
            ("SOCKS_LISTEN", "127.0.0.1:{}"),
            ("HEALTH_LISTEN", "127.0.0.1:{}"),
            ("FORWARDS", "127.0.0.1:{}=db:1"),
            ("FORWARDS", "127.0.0.1:1=db:{}"),
            ("PREWARM", "db:{}"),
            ("ALLOW", "db:{}"),
            ("DENY", "10.0.0.0/8:1-{}"),
            ("CONTROL_URL", "https://h.example:{}"),
            ("API_URL", "https://h.example:{}"),
            ("TAILSCALED_ARGS", "--port={}"),
        ] {
            let output = check(&format!("TETHERD_{name}"), &value.replace("{}", port), &[]);
            if output.status.code() != Some(78) {
                wrong.push(format!("{name} {value} {port}: {}", said(&output)));
            }
        }
    }
    assert_none(&wrong);
}
