//! Tests of programs that people use, with the very lines of docs/clients.md.
//!
//! Each runs against a server on a second node of a real tailnet. Targets are named by tailnet names and addresses
//! alone, which lead nowhere past the proxy.

mod by_variables;
mod curl;
mod dig;
mod documented;
mod dotnet;
mod go;
mod grpc;
mod java;
mod kafka;
mod metrics;
mod mongodb;
mod mysql;
mod names;
mod node;
mod psql;
mod python;
mod redis;
mod reqwest;
mod scene;
mod ssh;
