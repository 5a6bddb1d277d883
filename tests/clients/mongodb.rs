//! Tests mongosh, and MongoDB's driver for Node.js.
//!
//! MongoDB's own server is in none of the registries: FerretDB on the second node stands in its place.

use std::process::Command;

use crate::documented;
use crate::scene::{Scene, assert_printed, client, report};

fn ferretdb(scene: &Scene) -> Command {
    let data = scene.path("ferretdb");
    std::fs::create_dir(&data).expect("a directory");
    let mut server = Command::new(client("bin/mongodb"));
    server.arg(data);
    server
}

#[test]
fn mongosh_and_the_driver_over_socks5_and_through_a_forward() {
    let mut scene = Scene::node("db");
    let server = ferretdb(&scene);
    scene.serve(server, 27017);
    let (name, value) = documented::setting("mongosh-setting");
    let scene = scene.set(&name, &value).ready();
    let fill = "mongosh --quiet 'mongodb://db/shop?proxyHost=127.0.0.1&proxyPort=1055' --eval \
                'db.orders.insertOne({ line: fs.readFileSync(\"report.csv\", \"utf8\") }); db.orders.findOne().line'";
    assert_printed("a megabyte there and back", &scene.run_text("filling", "sh", fill), &[report()]);
    let by_variables = format!("eval \"$(tetherd env)\"\n{}", documented::block("mongosh").1);
    let runs = [scene.run("mongosh"), scene.run("mongosh-forward"), scene.run("mongodb")];
    for counted in runs.into_iter().chain([scene.run_text("beside the variables", "sh", &by_variables)]) {
        assert_eq!(counted.trim(), "1");
    }
}
