//! Tests of the stack as CloudFormation gets it.
//!
//! Its policies, its wiring, what the functions find in their environment, and what is uploaded.

mod boundary;
mod deploy_role;
mod deployed;
mod encryption;
mod endpoint;
mod expanded;
mod policies;
mod queue;
mod wiring;
mod workflow;
mod zips;
