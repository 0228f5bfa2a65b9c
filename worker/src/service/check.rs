//! Which groups a worker can draw, and which trajectories it can rank, at all. Pure.

use std::collections::BTreeSet;

use jury_grm::domain::limits;
use jury_proto::convert::{RankRequest, SampleGroup, WorkerRole};
use jury_proto::{ErrorCode, JuryError};

use crate::backend::BackendInfo;

/// Longest salt, in bytes: a worker stores it with every prompt.
const MAX_SALT_BYTES: usize = 128;

/// Maximum trajectories per call: all samples of a request, spare ones included.
const MAX_TRAJECTORIES: usize = 2 * limits::MAX_K as usize;

/// Rejects a group that no worker could draw. Coordinators check requests first; this keeps a faulty one from harming
/// the model's thread.
///
/// # Errors
/// `InvalidArgument`, with the field and its limit.
pub(super) fn shape(group: &SampleGroup) -> Result<(), JuryError> {
    let indices: BTreeSet<u32> = group.samples.iter().map(|spec| spec.index).collect();
    let max_samples = limits::MAX_K as usize;
    require(group.samples.len() <= max_samples, "start.samples", || {
        format!("at most {max_samples}, has {}", group.samples.len())
    })?;
    require(indices.len() == group.samples.len(), "start.samples.index", || {
        "must differ between the samples of a group".to_owned()
    })?;
    require(group.order().len() <= limits::MAX_RESPONSES, "start.samples.order", || {
        format!("at most {} responses, has {}", limits::MAX_RESPONSES, group.order().len())
    })?;
    require(!group.messages.is_empty(), "start.messages", || {
        "is empty; give at least 1 message".to_owned()
    })?;
    group
        .settings
        .validate_sampling()
        .map_err(|error| JuryError::invalid(format!("start.{}", error.field), error.problem))?;
    salt("start.cache_salt", group.cache_salt.as_deref())
}

/// Rejects a group that is meant for another model, numerics class or method.
///
/// # Errors
/// `WrongModel`, naming what differs.
pub(super) fn serves(info: &BackendInfo, group: &SampleGroup) -> Result<(), JuryError> {
    if info.role != WorkerRole::Grm {
        let message =
            "this worker ranks trajectories and draws no samples; only one with the role grm does";
        return Err(JuryError::new(ErrorCode::WrongModel, message));
    }
    // Compares the reader's own version, not what the coordinator says: samples that were read by different rules must
    // not take part in the same vote.
    if !info.adapters.iter().any(|model| model.model_digest == group.model_digest) {
        same("model digest", &group.model_digest, &info.model_digest)?;
    }
    let expectations = [
        ("numerics class", &group.numerics, info.numerics.as_str()),
        ("method version", &group.method_version, info.method_version.as_str()),
    ];
    for (what, asked, served) in expectations {
        same(what, asked, served)?;
    }
    if group.hidden_states && !info.capabilities.hidden_states {
        let message = "this worker cannot tell hidden states";
        return Err(JuryError::new(ErrorCode::WrongModel, message));
    }
    Ok(())
}

/// Rejects trajectories that this worker cannot rank, or that are meant for another Meta RM.
///
/// # Errors
/// `InvalidArgument`, with the field and its limit, or `WrongModel`, naming what differs.
pub(super) fn ranks(info: &BackendInfo, request: &RankRequest) -> Result<(), JuryError> {
    let n_trajectories = request.trajectories.len();
    require(n_trajectories <= MAX_TRAJECTORIES, "trajectories", || {
        format!("at most {MAX_TRAJECTORIES}, has {n_trajectories}")
    })?;
    require(!request.messages.is_empty(), "messages", || {
        "is empty; give at least 1 message".to_owned()
    })?;
    salt("cache_salt", request.cache_salt.as_deref())?;
    if info.role != WorkerRole::Meta {
        let message = "this worker draws samples; only one with the role meta ranks them";
        return Err(JuryError::new(ErrorCode::WrongModel, message));
    }
    same("model digest", &request.model_digest, &info.model_digest)?;
    same("numerics class", &request.numerics, &info.numerics)
}

fn salt(field: &'static str, salt: Option<&str>) -> Result<(), JuryError> {
    let bytes = salt.map_or(0, str::len);
    require(bytes <= MAX_SALT_BYTES, field, || {
        format!("at most {MAX_SALT_BYTES} bytes, has {bytes}")
    })
}

fn same(what: &str, asked: &str, served: &str) -> Result<(), JuryError> {
    if asked == served {
        return Ok(());
    }
    let message = format!("this worker has {what} {served}, the call asks for {asked}");
    Err(JuryError::new(ErrorCode::WrongModel, message))
}

fn require(
    holds: bool,
    field: &'static str,
    problem: impl FnOnce() -> String,
) -> Result<(), JuryError> {
    if holds { Ok(()) } else { Err(JuryError::invalid(field, problem())) }
}

#[cfg(test)]
mod tests {
    use jury_proto::convert::AdaptedModel;

    use super::*;
    use crate::backend::Backend;
    use crate::backend::scripted::{ScriptedBackend, example_group};

    fn refused(change: impl FnOnce(&mut SampleGroup)) -> Option<String> {
        let mut group = example_group(2);
        change(&mut group);
        shape(&group).unwrap_err().field
    }

    #[test]
    fn an_example_group_may_be_drawn() {
        let info = ScriptedBackend::new().info();
        assert_eq!(shape(&example_group(4)), Ok(()));
        assert_eq!(serves(&info, &example_group(4)), Ok(()));
    }

    #[test]
    fn a_group_of_an_adapter_is_asked_for_by_its_digest() {
        let adapter = AdaptedModel { name: "strict".into(), model_digest: "ad".repeat(32) };
        let info = ScriptedBackend::new().with_info(|info| info.adapters = vec![adapter]).info();
        let group = |digest: &str| SampleGroup { model_digest: digest.into(), ..example_group(1) };
        assert_eq!(serves(&info, &group(&"ad".repeat(32))), Ok(()));
        assert_eq!(serves(&info, &example_group(1)), Ok(()));
        assert_eq!(serves(&info, &group("other")).unwrap_err().code, ErrorCode::WrongModel);
    }

    #[test]
    fn every_refusal_names_its_field() {
        let field = |name: &str| Some(format!("start.{name}"));
        assert_eq!(refused(|g| g.samples[1].index = 0), field("samples.index"));
        assert_eq!(refused(|g| g.messages.clear()), field("messages"));
        assert_eq!(refused(|g| g.settings.temperature = f64::NAN), field("settings.temperature"));
        assert_eq!(refused(|g| g.settings.top_p = f64::NAN), field("settings.top_p"));
        let none = field("settings.max_critique_tokens");
        assert_eq!(refused(|g| g.settings.max_critique_tokens = 0), none);
        assert_eq!(refused(|g| g.settings.scale.max = i32::MAX), field("settings.scale"));
        assert_eq!(refused(|g| g.settings.scale.min = i32::MIN), field("settings.scale"));
        let mass = field("settings.min_readout_mass");
        assert_eq!(refused(|g| g.settings.min_readout_mass = 2.0), mass);
        assert_eq!(refused(|g| g.cache_salt = Some("s".repeat(129))), field("cache_salt"));
    }

    #[test]
    fn a_worker_that_reads_by_another_method_draws_for_no_coordinator_of_ours() {
        let info = ScriptedBackend::new().with_info(|info| info.method_version = "older".into());
        let error = serves(&info.info(), &example_group(1)).unwrap_err();
        assert_eq!(error.code, ErrorCode::WrongModel);
        assert!(error.message.contains("older"), "{error}");
    }

    #[test]
    fn another_model_numerics_or_method_is_refused_by_name() {
        let info = ScriptedBackend::new().info();
        type Change = fn(&mut SampleGroup);
        let changes: [(&str, Change); 3] = [
            ("model digest", |group| group.model_digest = "other".into()),
            ("numerics class", |group| group.numerics = "other".into()),
            ("method version", |group| group.method_version = "other".into()),
        ];
        for (what, change) in changes {
            let mut group = example_group(1);
            change(&mut group);
            let error = serves(&info, &group).unwrap_err();
            assert_eq!(error.code, ErrorCode::WrongModel);
            assert!(error.message.contains(what), "{error}");
        }
    }
}
