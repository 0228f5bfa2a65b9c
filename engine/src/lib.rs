//! Language models whose k samples of one prompt share its prefill.
