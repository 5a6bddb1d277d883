//! Programs that people use, each against a server on a second node of a real tailnet, with the very lines that
//! docs/clients.md gives. Targets are named by tailnet names and addresses alone, which lead nowhere past the proxy.

mod curl;
mod dig;
mod documented;
mod go;
mod java;
mod metrics;
mod names;
mod node;
mod psql;
mod python;
mod scene;
mod ssh;
