//! Facts and findings, for a person.

use std::fmt::Write as _;

use jury_terminal::page::columns;

use super::cuda::Cuda;
use super::facts::{Answer, CachedModel, Facts};
use super::findings::Findings;
use super::huge_pages::HugePages;
use super::llama_cpp::describe;

/// The whole page.
pub fn page(facts: &Facts, findings: &Findings) -> String {
    let host = &facts.host;
    let limits = &facts.limits;
    let build = if facts.debug_build { "debug" } else { "release" };
    let models = match facts.cache.models.is_empty() {
        true => "none".to_owned(),
        false => facts.cache.models.iter().map(model).collect::<Vec<_>>().join(", "),
    };
    let huge_pages = facts.huge_pages.map_or("unknown here", HugePages::describe);
    let mut rows = vec![
        ("jury", format!("{}, a {build} build", facts.version)),
        ("cpu", host.cpu.clone()),
        ("kernels", format!("{} (of {})", host.kernels, host.available_kernels.join(", "))),
        ("threads", host.threads.to_string()),
        (
            "memory",
            format!(
                "{} available, of which {} are used for keys and values by default",
                gigabytes(host.available_memory_bytes),
                gigabytes(host.default_kv_budget_bytes)
            ),
        ),
    ];
    rows.extend(cards(&facts.cuda));
    if !facts.gpu_features.is_empty() {
        rows.push((
            "other GPUs",
            format!("compiled with support for {}", facts.gpu_features.join(", ")),
        ));
    }
    rows.extend([
        ("model cache", facts.cache.folder.display().to_string()),
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
    ]);
    let rows: Vec<_> = rows.into_iter().map(|(name, value)| [name.to_owned(), value]).collect();
    let mut text = columns(&rows);
    for warning in &findings.warnings {
        let _ = writeln!(text, "warning: {warning}");
    }
    for broken in &findings.broken {
        let _ = writeln!(text, "broken: {broken}");
    }
    text
}

/// The GPUs, their performance, and the libraries that they need.
fn cards(cuda: &Cuda) -> Vec<(&'static str, String)> {
    if !cuda.has_driver() {
        let (Answer::Works(why) | Answer::Fails(why)) = &cuda.driver;
        return vec![("NVIDIA GPUs", format!("none: {why}"))];
    }
    let products = cuda.products.as_ref().map_or_else(|| "not checked".to_owned(), answer);
    let mut rows = vec![("cuda driver", answer(&cuda.driver)), ("cublasLt", products)];
    for card in &cuda.cards {
        let told = format!(
            "{}, {}, compute capability {}, {} multiprocessors, driver for CUDA {}",
            card.name,
            gigabytes(card.memory_bytes),
            card.capability,
            card.multiprocessors,
            card.driver_cuda
        );
        rows.push(("GPU", format!("{}: {told}", card.device)));
        if let Some(limits) = &card.limits {
            let size = limits.product_size;
            let told = format!(
                "{} free, copies {:.0} GB/s, products {:.1} Tflop/s (bf16, {size} x {size} x {size})",
                gigabytes(limits.free_bytes),
                limits.copy_gbps,
                limits.product_tflops
            );
            rows.push(("", told));
        }
    }
    let taken = cuda.taken().map_or_else(
        || "the CPU".to_owned(),
        |card| format!("{} for models that it supports and that fit, else the CPU", card.device),
    );
    rows.push(("--device auto", taken));
    rows
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
    use crate::doctor::findings::tests::{sound, with_a_card};

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
        memory          16.0 GB available, of which 4.0 GB are used for keys and values by default
        NVIDIA GPUs     none: the CUDA driver is not found
        model cache     /cache
        models          a (98 MB)
        python          Python 3.11.2
        pip             pip 23.0
        llama.cpp       1.2 in /tools/llama-cpp/bin
        huge pages      enabled on request (the engine requests them)
        etcd            fails: http://127.0.0.1:1 did not answer
        8-bit products  1420 Gop/s on 8 threads (an instruction)
        float products  321 Gflop/s
        memory reads    29.0 GB/s
        warning: this is a debug build: the engine is optimised, but for measurements use `cargo build --release`
        broken: etcd: http://127.0.0.1:1 did not answer
        ");
    }

    #[test]
    fn cards_are_told_with_what_they_can_do() {
        let mut facts = sound();
        facts.cuda = with_a_card();
        let page = page(&facts, &Findings::of(&facts));
        let told: Vec<&str> =
            page.lines().skip_while(|line| !line.starts_with("cuda")).take(5).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        cuda driver     /lib/libcuda.so.1
        cublasLt        /lib/libcublasLt.so.13
        GPU             cuda:0: NVIDIA H100 80GB HBM3, 85.5 GB, compute capability 9.0, 132 multiprocessors, driver for CUDA 13.0
                        84.9 GB free, copies 3010 GB/s, products 749.5 Tflop/s (bf16, 8192 x 8192 x 8192)
        --device auto   cuda:0 for models that it supports and that fit, else the CPU
        ");
    }
}
