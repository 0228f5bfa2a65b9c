//! Facts and findings, for a person.

use std::fmt::Write as _;

use jury_terminal::page::columns;

use super::facts::{Answer, CachedModel, Facts};
use super::findings::Findings;
use super::huge_pages::HugePages;
use super::llama_cpp::describe;

/// The whole page.
pub fn page(facts: &Facts, findings: &Findings) -> String {
    let host = &facts.host;
    let limits = &facts.limits;
    let build = if facts.debug_build { "debug" } else { "release" };
    let gpu = match facts.gpu_features.is_empty() {
        true => "not compiled in".to_owned(),
        false => facts.gpu_features.join(", "),
    };
    let models = match facts.cache.models.is_empty() {
        true => "none".to_owned(),
        false => facts.cache.models.iter().map(model).collect::<Vec<_>>().join(", "),
    };
    let huge_pages = facts.huge_pages.map_or("unknown here", HugePages::describe);
    let rows = [
        ("jury", format!("{}, a {build} build", facts.version)),
        ("cpu", host.cpu.clone()),
        ("kernels", format!("{} (of {})", host.kernels, host.available_kernels.join(", "))),
        ("threads", host.threads.to_string()),
        (
            "memory",
            format!(
                "{} available, {} of it for keys and values by default",
                gigabytes(host.available_memory_bytes),
                gigabytes(host.default_kv_budget_bytes)
            ),
        ),
        ("gpu", gpu),
        ("models in", facts.cache.folder.display().to_string()),
        ("models", models),
        ("python", answer(&facts.python)),
        ("pip", answer(&facts.pip)),
        ("llama.cpp", describe(&facts.llama_cpp)),
        ("huge pages", huge_pages.to_owned()),
        ("etcd", facts.etcd.as_ref().map_or_else(|| "not configured".to_owned(), answer)),
        (
            "8-bit products",
            format!(
                "{:.0} Gop/s on {} threads ({})",
                limits.integer_gops, limits.threads, limits.integer_instruction
            ),
        ),
        ("float products", format!("{:.0} Gflop/s", limits.float_gflops)),
        ("memory reads", format!("{:.1} GB/s", limits.memory_gbps)),
    ];
    let mut text = columns(&rows.map(|(name, value)| [name.to_owned(), value]));
    for warning in &findings.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    for broken in &findings.broken {
        let _ = writeln!(text, "broken: {broken}");
    }
    text
}

fn model(model: &CachedModel) -> String {
    let name = model.name.unwrap_or(&model.file);
    format!("{name} ({:.0} MB)", model.bytes as f64 / 1e6)
}

fn answer(answer: &Answer) -> String {
    match answer {
        Answer::Works(text) => text.clone(),
        Answer::Fails(why) => format!("fails: {why}"),
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.1} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::findings::tests::sound;

    #[test]
    fn the_page_reads_like_this() {
        let mut facts = sound();
        facts.etcd = Some(Answer::Fails("http://127.0.0.1:1 did not answer".to_owned()));
        facts.debug_build = true;
        let findings = Findings::of(&facts);
        insta::assert_snapshot!(page(&facts, &findings), @r"
        jury            0.1.0, a debug build
        cpu             A CPU
        kernels         avx512vnni (of portable, avx2, avx512vnni)
        threads         8
        memory          16.0 GB available, 4.0 GB of it for keys and values by default
        gpu             not compiled in
        models in       /cache
        models          a (98 MB)
        python          Python 3.11.2
        pip             pip 23.0
        llama.cpp       1.2 in /tools/llama-cpp/bin
        huge pages      given on request, which the engine makes
        etcd            fails: http://127.0.0.1:1 did not answer
        8-bit products  1420 Gop/s on 8 threads (an instruction)
        float products  321 Gflop/s
        memory reads    29.0 GB/s
        warning: a debug build: the engine is optimised in it, but for measurements use `cargo build --release`
        broken: etcd: http://127.0.0.1:1 did not answer
        ");
    }
}
