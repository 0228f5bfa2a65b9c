//! A typed client of Jury's RewardService.
