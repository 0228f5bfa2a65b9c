//! How Jury's parts find and talk to each other: transport and directory.
