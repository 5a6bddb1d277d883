//! Tests MySQL's clients against MariaDB on the second node.
//!
//! `mysql` through a forward, PyMySQL and mysql2 over SOCKS.

use std::process::Command;

use crate::documented;
use crate::scene::{Scene, assert_printed, report};

const USER: &str = "create database shop;
create table shop.orders (line longtext);
create user app@localhost identified by 'secret';
grant all on shop.* to app@localhost;
";

/// The server, which is asked for a password by every client.
fn mariadb(scene: &Scene) -> Command {
    let (data, first) = (scene.path("mysql"), scene.path("first.sql"));
    std::fs::write(&first, USER).expect("written");
    let mut made = Command::new("mariadb-install-db");
    made.args(["--no-defaults", "--user=root", "--skip-test-db", "--auth-root-authentication-method=normal"]);
    let made = made.arg(format!("--datadir={}", data.display())).output().expect("it is missing: run `make test`");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut server = Command::new("/usr/sbin/mariadbd");
    server.args(["--no-defaults", "--user=root", "--bind-address=127.0.0.1", "--port=3306"]);
    server.args(["--max-allowed-packet=16M", "--innodb-flush-log-at-trx-commit=0"]);
    server.arg(format!("--datadir={}", data.display())).arg(format!("--socket={}", scene.path("mysql.sock").display()));
    server.arg(format!("--init-file={}", first.display()));
    server
}

#[test]
fn mysql_through_a_forward_and_its_libraries_over_socks5() {
    let mut scene = Scene::node("db");
    let server = mariadb(&scene);
    scene.serve(server, 3306);
    let (name, value) = documented::setting("mysql-setting");
    let scene = scene.set(&name, &value).ready();
    let to = "mysql --host=127.0.0.1 --port=13306 --user=app --password=secret --local-infile shop";
    let fill = format!(
        "{to} --execute=\"load data local infile 'report.csv' into table orders fields terminated by '\\t'\"\n\
         {to} --skip-column-names --batch --execute='select line from orders'"
    );
    assert_printed("a megabyte there and back", &scene.run_text("filling", "sh", &fill), &[report()]);
    for block in ["mysql", "pymysql", "mysql2"] {
        let counted = scene.run(block);
        assert!(counted.lines().any(|line| line.trim() == "1"), "{block}: {counted}");
    }
}
