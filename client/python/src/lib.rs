//! The native part of the Python package `jury`: requests and verdicts cross as JSON, everything else is Python's.
//!
//! ```text
//! process   one runtime and one delivery thread in each process, made by the first call
//! link      one coordinator: its channel, made by the first call of each process
//! call      one call, waited for or delivered       batch   many requests over one stream
//! way       from a task to Python                   step    how far items are, on that way
//! reward    the rule of reinforcement learning
//! outcome   what crosses: JSON, or the parts of an error
//! ```
//!
//! **Fork.** A child has none of its parent's threads, and shares its sockets. So whatever belongs to a runtime carries
//! the id of its process; in another process it is forgotten, never dropped, and made anew. Locks are taken only while
//! attached to the interpreter: a fork is made by an attached thread, so none of them is held in a child. The one of
//! `step` is taken by the runtime, so a child leaves it alone.
//!
//! **Threads of the runtime never attach.** Results that asyncio waits for go through the delivery thread, so that a
//! busy interpreter holds up no connection.

mod batch;
mod call;
mod link;
mod outcome;
mod process;
mod reward;
mod step;
mod way;

/// The module `jury._jury`.
#[pyo3::pymodule]
mod _jury {
    #[pymodule_export]
    use super::batch::Batch;
    #[pymodule_export]
    use super::call::Call;
    #[pymodule_export]
    use super::link::Link;
    #[pymodule_export]
    use super::outcome::{Request, parse};
    #[pymodule_export]
    use super::process::stop;
    #[pymodule_export]
    use super::reward::outcome_reward;
}
