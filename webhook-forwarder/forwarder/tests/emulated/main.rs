//! Tests of the forwarder as a function in AWS's runtime interface emulator.
//!
//! It is invoked as API Gateway and SQS invoke it.

mod aws;
mod byte_for_byte;
mod failures;
mod function;
mod gateway;
mod odd_answers;
mod odd_events;
mod queued;
mod response_modes;
mod signed;
mod target;
