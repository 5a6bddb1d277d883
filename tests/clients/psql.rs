//! Tests psql through a forward to PostgreSQL on the second node.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::documented;
use crate::scene::{Scene, assert_printed, report};

/// Where Debian keeps the server's programs, off the PATH: the newest version's.
fn server_program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let found = versions.map(|version| version.path().join("bin").join(name)).filter(|path| path.exists());
    found.max().expect("PostgreSQL's server is missing: run `make test`, or `apt-get install postgresql`")
}

/// PostgreSQL refuses to run as root. In a user namespace of its own root is `nobody`, and its files are its own.
fn unprivileged(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-user=65534", "--map-group=65534", "--"]).arg(server_program(program));
    command
}

fn server(scene: &Scene) -> Command {
    let data = scene.path("data");
    let made = unprivileged("initdb").args(["--username=app", "--auth=trust", "--no-sync", "-D"]).arg(&data).output();
    let made = made.expect("unshare is there");
    assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    let (certificate, key) = scene.tailnet.certificate();
    copy_private(&certificate, &data.join("server.crt"));
    copy_private(&key, &data.join("server.key"));
    let mut server = unprivileged("postgres");
    server.arg("-D").arg(&data).args(["-h", "127.0.0.1", "-p", "5432", "-k", "", "-c", "ssl=on", "-c", "fsync=off"]);
    server
}

fn copy_private(from: &Path, to: &Path) {
    fs::copy(from, to).expect("copied");
    fs::set_permissions(to, fs::Permissions::from_mode(0o600)).expect("private");
}

#[test]
fn psql_reaches_postgresql_through_a_forward() {
    let mut scene = Scene::node("db");
    let server = server(&scene);
    scene.serve(server, 5432);
    let (name, value) = documented::setting("forwards-setting");
    let scene = scene.set(&name, &value).ready();
    let to = "psql 'host=127.0.0.1 port=15432 user=app dbname=";
    let fill = format!(
        "{to}postgres' --quiet --command 'create database shop'\n\
         {to}shop' --quiet --command 'create table orders (line text)' --command '\\copy orders from report.csv'\n\
         {to}shop' --quiet --tuples-only --no-align --command 'select line from orders'"
    );
    assert_printed("a megabyte there and back", &scene.run_text("filling", "sh", &fill), &[report()]);
    let counted = scene.run("psql");
    assert!(counted.lines().any(|line| line.trim() == "1"), "{counted}");
    let encrypted = scene.run("psql-tls");
    assert!(encrypted.lines().any(|line| line.trim() == "t"), "{encrypted}");
}
