//! Trains what Jury judges with. Today: [`meta`], a head that ranks samples.

pub mod meta;
