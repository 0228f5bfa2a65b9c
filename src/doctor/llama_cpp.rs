//! llama.cpp, which only `jury bench` needs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

use jury_bench::{installed, version};

/// The programs that benchmarks compare with.
const PROGRAMS: [&str; 2] = ["llama-batched-bench", "llama-server"];

/// One of its programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LlamaCppProgram {
    pub name: &'static str,
    /// None if it cannot be run.
    pub found: Option<Place>,
}

/// Where a program is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The folder made by `scripts/llama-cpp`; `None`: the program is in PATH.
    pub folder: Option<PathBuf>,
    /// What it says about itself.
    pub version: String,
}

/// Looks where `jury bench` does: among what `scripts/llama-cpp` has installed into `tools`, then in PATH.
pub fn look(tools: Option<&Path>) -> Vec<LlamaCppProgram> {
    let find = |name| LlamaCppProgram { name, found: find(tools, name) };
    PROGRAMS.map(find).to_vec()
}

/// One line of the page.
pub fn describe(programs: &[LlamaCppProgram]) -> String {
    let missing: Vec<_> = programs.iter().filter(|program| program.found.is_none()).collect();
    if missing.len() == programs.len() {
        return "not installed; scripts/llama-cpp installs it (only `jury bench` needs it)"
            .to_owned();
    }
    let mut lines = Vec::new();
    for place in programs.iter().filter_map(|program| program.found.as_ref()) {
        let folder = place.folder.as_ref();
        let folder =
            folder.map_or_else(|| "PATH".to_owned(), |folder| folder.display().to_string());
        let line = format!("{} in {folder}", place.version);
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.extend(missing.iter().map(|program| format!("no {}", program.name)));
    lines.join(", ")
}

// === private ===

fn find(tools: Option<&Path>, name: &str) -> Option<Place> {
    let own = tools.and_then(|tools| installed(tools, name));
    let program = own.clone().unwrap_or_else(|| PathBuf::from(name));
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    output.status.success().then(|| Place {
        folder: own.and_then(|program| program.parent().map(Path::to_owned)),
        version: version(&String::from_utf8_lossy(&said)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(name: &'static str, folder: Option<&str>) -> LlamaCppProgram {
        let place = Place { folder: folder.map(PathBuf::from), version: "1.2".to_owned() };
        LlamaCppProgram { name, found: Some(place) }
    }

    fn missing(name: &'static str) -> LlamaCppProgram {
        LlamaCppProgram { name, found: None }
    }

    #[test]
    fn one_place_is_told_once_and_what_is_missing_by_name() {
        let both = [program("a", Some("/tools")), program("b", Some("/tools"))];
        assert_eq!(describe(&both), "1.2 in /tools");
        assert_eq!(describe(&[program("a", None), missing("b")]), "1.2 in PATH, no b");
        assert!(describe(&[missing("a"), missing("b")]).contains("scripts/llama-cpp installs it"));
    }

    #[test]
    fn a_program_that_does_not_run_is_not_found() {
        let tools = tempfile::tempdir().unwrap();
        let bin = tools.path().join("llama-cpp/bin");
        std::fs::create_dir_all(&bin).unwrap();
        std::fs::write(bin.join("llama-server"), "no program").unwrap();
        assert_eq!(find(Some(tools.path()), "llama-server"), None);
        assert_eq!(find(None, "no-such-program-at-all"), None);
    }
}
