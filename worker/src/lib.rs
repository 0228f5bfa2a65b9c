//! Serves samples over a backend.
