//! The jury.v1 contracts, their conversions to domain types, and error codes.
