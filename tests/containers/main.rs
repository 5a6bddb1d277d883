//! Tests of the container image and of what is deployed with it.
//!
//! A real Docker engine, real headscale, each test in a network namespace of its own. `make image-layer` builds what is
//! tested here.

mod compose;
mod ecs;
mod ecs_templates;
mod gateway;
mod hosts;
mod image;
mod names;
mod podman;
mod running;
mod scene;
