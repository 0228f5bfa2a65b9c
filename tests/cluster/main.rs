//! Real processes, a real etcd and a real model: what verdicts are worth when parts of the cluster die.
//!
//! Every test has its own sandbox: an etcd on free ports, workers and a coordinator, all of which end with it. Nothing
//! here sleeps: a test waits for a line of a process's event log.

#[path = "../../fabric/tests/grpc/authority.rs"]
mod authority;
mod etcd;
mod evaluate;
#[path = "../../fabric/tests/kubernetes/fake_api.rs"]
mod fake_api;
mod https;
mod process;
#[path = "../../worker/tests/upstream/programs.rs"]
mod programs;
mod ranking;
mod sandbox;
mod scalar;
mod tiny;

mod adapters;
mod bad_input;
mod batch;
mod bench;
mod card;
mod environment;
mod faults;
mod heads;
mod kubernetes;
mod leaving;
mod listeners;
mod logs;
mod one_process;
mod secure;
mod tenants;
mod traces;
mod training;
mod unusual;
mod upstream;
