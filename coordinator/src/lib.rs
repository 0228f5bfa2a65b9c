//! Admission, plan, dispatch, fleet, vote and verdict.
