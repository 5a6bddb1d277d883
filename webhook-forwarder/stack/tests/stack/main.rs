//! Tests of the stack as CloudFormation gets it.
//!
//! Its policies, its wiring, what the functions find in their environment, and what is uploaded.

mod deployed;
mod expanded;
mod policies;
mod wiring;
mod zips;
