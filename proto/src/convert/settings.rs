//! Settings: absent fields take the default, so reading never fails; limits are checked by
//! `ScoreRequest::validate`.

use jury_grm::domain::{Scale, Settings};

use crate::v1;

impl From<Settings> for v1::Settings {
    fn from(settings: Settings) -> Self {
        Self {
            k: Some(settings.k),
            temperature: Some(settings.temperature),
            top_p: Some(settings.top_p),
            max_critique_tokens: Some(settings.max_critique_tokens),
            readout: v1::Readout::from(settings.readout).into(),
            min_readout_mass: Some(settings.min_readout_mass),
            scale: Some(v1::Scale { min: settings.scale.min, max: settings.scale.max }),
            max_panel: Some(settings.max_panel),
        }
    }
}

impl From<v1::Settings> for Settings {
    fn from(settings: v1::Settings) -> Self {
        let default = Self::default();
        Self {
            readout: settings.readout().into(),
            k: settings.k.unwrap_or(default.k),
            temperature: settings.temperature.unwrap_or(default.temperature),
            top_p: settings.top_p.unwrap_or(default.top_p),
            max_critique_tokens: settings
                .max_critique_tokens
                .unwrap_or(default.max_critique_tokens),
            min_readout_mass: settings.min_readout_mass.unwrap_or(default.min_readout_mass),
            scale: settings
                .scale
                .map_or(default.scale, |scale| Scale { min: scale.min, max: scale.max }),
            max_panel: settings.max_panel.unwrap_or(default.max_panel),
        }
    }
}
