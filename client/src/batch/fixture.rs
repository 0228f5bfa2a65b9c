//! Verdicts for tests.

use jury_grm::domain::{
    Counts, Provenance, Reason, ReasonCode, Reproducible, RunReport, Settings, Status, StoppedBy,
    Usage, Verdict, Voting,
};

/// The verdict of one sample on item `id`, asked with seed 7.
pub fn verdict(id: &str) -> Verdict {
    Verdict {
        item_id: id.to_owned(),
        status: Status::Ok,
        rewards: vec![Some(8.0), Some(3.0)],
        reasons: vec![None, None],
        pick: Some(0),
        tied: Vec::new(),
        confidence: None,
        agreement: Some(1.0),
        stopped_by: StoppedBy::Complete,
        voters: vec![0],
        weights: Vec::new(),
        meta_unavailable: None,
        counts: Counts { asked: 1, valid: 1, voted: 1, ..Counts::default() },
        usage: Usage { prompt_tokens: 600, generated_tokens: 180 },
        provenance: Provenance {
            model: Some("smollm2-135m".to_owned()),
            model_digest: Some("0123456789abcdef".to_owned()),
            numerics: Some("cpu-1".to_owned()),
            method_digest: "m".to_owned(),
            meta_digest: None,
            meta_numerics: None,
            seed: 7,
            settings: Settings { k: 1, ..Settings::default() },
            voting: Voting::default().effective(1),
            min_samples: None,
            hinted: false,
            forced_panel: None,
            escaped_markers: 0,
            reproducible: Reproducible::Bitwise,
            item_digest: None,
            version: "0.1.0".to_owned(),
        },
        samples: None,
        run: RunReport::default(),
    }
}

/// A verdict on the same item without reward.
pub fn unscored(id: &str, code: ReasonCode) -> Verdict {
    let reason = Some(Reason { code, detail: "as it was".to_owned() });
    let (rewards, reasons) = (vec![None; 2], vec![reason; 2]);
    Verdict { status: Status::Unscored, rewards, reasons, pick: None, ..verdict(id) }
}
