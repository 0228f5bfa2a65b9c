//! Merged files give the adapter's results, and other programs can read them.

use std::collections::BTreeMap;
use std::path::Path;

use jury_engine::merge::{FloatType, MergeError, Merged, merge};
use jury_engine::{Adapter, Engine, LowRank, RowOrder};

use crate::distance::log_softmax;
use crate::families::fixture;
use crate::low_rank::{FAMILIES, adapter, apart, bits, interleaved, noise, parts, prompt};
use crate::support::{config, load_file, model_path, user};

fn merged(
    base: &Path,
    adapter: &Adapter,
    out: &Path,
    to: Option<FloatType>,
) -> Result<Merged, MergeError> {
    let mut last = 0;
    merge(base, adapter, out, to, &mut |done, all| {
        assert!(done < all && done >= last);
        last = done;
    })
}

#[test]
fn a_merged_folder_computes_what_the_adapter_computes_in_every_family() {
    let folder = tempfile::tempdir().unwrap();
    for family in FAMILIES {
        let (base, out) = (fixture(family), folder.path().join(family));
        let parts = parts(&base, 5, 4, 0.02);
        let adapter = adapter(&parts);
        let merged = merged(&base, &adapter, &out, Some(FloatType::F32)).unwrap();
        assert_eq!(merged.changed, parts.len());
        assert_eq!(std::fs::metadata(&merged.weights).unwrap().len(), merged.bytes);
        let (apart, effect) = apart(&base, &adapter, &out, &prompt(7, 30));
        assert!(apart < 0.02 * effect, "{family}: {apart}, {effect}");
        let beside = |folder: &Path| std::fs::read(folder.join("tokenizer.json")).unwrap();
        assert!(beside(&base) == beside(&out));
    }
}

#[test]
fn a_folder_keeps_its_type_or_gets_another_and_tensors_that_nobody_changed_keep_their_bytes() {
    let (folder, base) = (tempfile::tempdir().unwrap(), fixture("qwen2"));
    let mut parts = parts(&base, 2, 4, 0.02);
    parts.retain(|name, _| name.ends_with("0.self_attn.v_proj"));
    let adapter = adapter(&parts);
    let bytes = |out: &Path, name: &str| {
        let file = std::fs::read(out.join("model.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        let tensor = tensors.tensor(name).unwrap();
        (tensor.dtype(), tensor.data().to_vec())
    };
    let same = folder.path().join("same");
    merged(&base, &adapter, &same, None).unwrap();
    let changed = "model.layers.0.self_attn.v_proj.weight";
    for name in ["model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight"] {
        assert_eq!(bytes(&base, name), bytes(&same, name));
    }
    assert_eq!(bytes(&base, changed).0, bytes(&same, changed).0);
    assert_ne!(bytes(&base, changed).1, bytes(&same, changed).1);
    let half = folder.path().join("half");
    merged(&base, &adapter, &half, Some(FloatType::Bf16)).unwrap();
    assert_eq!(bytes(&half, changed).0, safetensors::tensor::Dtype::BF16);
    assert!(load_file(&half, &config(1)).model().file_type == "BF16");
}

/// An adapter of the test model, in Hugging Face's order.
fn of_smollm2() -> Adapter {
    let kinds = [
        ("self_attn.q_proj", 576, 576),
        ("self_attn.k_proj", 576, 192),
        ("self_attn.o_proj", 576, 576),
        ("mlp.up_proj", 576, 1536),
        ("mlp.down_proj", 1536, 576),
    ];
    let mut parts = BTreeMap::new();
    for layer in 0..30u64 {
        for (salt, (module, inputs, outputs)) in (layer * 10..).zip(kinds) {
            let (a, b) = (noise(4 * inputs, salt, 0.2), noise(4 * outputs, salt + 5, 0.4));
            let part = LowRank { rank: 4, inputs, outputs, scale: 0.5, a, b };
            parts.insert(format!("model.layers.{layer}.{module}"), part);
        }
    }
    Adapter::new(RowOrder::HuggingFace, parts).unwrap()
}

#[test]
fn a_merged_gguf_file_computes_what_the_adapter_computes() {
    let folder = tempfile::tempdir().unwrap();
    let (base, out) = (model_path(), folder.path().join("merged.gguf"));
    let adapter = of_smollm2();
    let merged = merged(&base, &adapter, &out, None).unwrap();
    assert_eq!(merged.changed, 150);
    let engine = Engine::load(&base, &config(1)).unwrap();
    let prompt = engine.encode(&user("Name three colours of the rainbow.")).unwrap();
    let (apart, effect) = apart(&base, &adapter, &out, &prompt);
    println!("merged in Q8_0: apart by {apart:.4}, effect of the adapter {effect:.3}");
    // Four-bit weights are requantised to eight bits.
    assert!(apart < 0.25 * effect, "{apart}, {effect}");
    // Tokenizer and template were copied.
    let whole = load_file(&out, &config(1));
    assert_eq!(whole.encode(&user("Hello")).unwrap(), engine.encode(&user("Hello")).unwrap());
    assert_eq!(whole.model().name, engine.model().name);
}

/// Writes a GGUF adapter as llama.cpp's converter does.
fn write_gguf(path: &Path, architecture: &str, alpha: f32, parts: &BTreeMap<String, LowRank>) {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let entries = [
        ("general.type", 8u32, text("adapter")),
        ("general.architecture", 8, text(architecture)),
        ("adapter.type", 8, text("lora")),
        ("adapter.lora.alpha", 6, alpha.to_le_bytes().to_vec()),
    ];
    let mut head = b"GGUF".to_vec();
    head.extend(3u32.to_le_bytes());
    head.extend((2 * parts.len() as u64).to_le_bytes());
    head.extend((entries.len() as u64).to_le_bytes());
    for (key, kind, value) in entries {
        head.extend([text(key), kind.to_le_bytes().to_vec(), value].concat());
    }
    let mut data: Vec<u8> = Vec::new();
    for (name, part) in parts {
        let LowRank { rank, inputs, outputs, .. } = *part;
        for (side, sizes, numbers) in
            [("lora_a", [inputs, rank], &part.a), ("lora_b", [rank, outputs], &part.b)]
        {
            head.extend(text(&format!("{name}.weight.{side}")));
            head.extend(2u32.to_le_bytes());
            sizes.iter().for_each(|&size| head.extend((size as u64).to_le_bytes()));
            head.extend(
                [0u32.to_le_bytes().to_vec(), (data.len() as u64).to_le_bytes().to_vec()].concat(),
            );
            data.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
            data.resize(data.len().next_multiple_of(32), 0);
        }
    }
    head.resize(head.len().next_multiple_of(32), 0);
    std::fs::write(path, [head, data].concat()).unwrap();
}

/// The same adapter under GGUF's names and in its order.
fn as_gguf(adapter: &Adapter) -> BTreeMap<String, LowRank> {
    let turned = |(name, part): (&str, &LowRank)| {
        let part = match name.ends_with("attn_q") || name.ends_with("attn_k") {
            true => interleaved(part, 64),
            false => part.clone(),
        };
        (name.to_owned(), part)
    };
    adapter.parts().map(turned).collect()
}

#[test]
fn a_gguf_adapter_is_read_as_llama_cpp_takes_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let peft = of_smollm2();
    // Rank 4 and scale 0.5.
    write_gguf(&file("adapter.gguf"), "llama", 2.0, &as_gguf(&peft));
    assert!(Adapter::is_at(&file("adapter.gguf")) && !Adapter::is_at(&model_path()));
    let gguf = Adapter::read(&file("adapter.gguf")).unwrap();
    assert_eq!((gguf.order(), gguf.architecture()), (RowOrder::Gguf, Some("llama")));
    let mut engine = load_file(&model_path(), &config(2));
    let prompt = engine.encode(&user("Name three colours.")).unwrap();
    let [one, other] = [&peft, &gguf].map(|adapter| {
        let id = engine.load_adapter(adapter).unwrap();
        bits(&engine.logits_after_adapted(&prompt, id).unwrap())
    });
    assert_eq!(one, other);
    write_gguf(&file("qwen.gguf"), "qwen2", 2.0, &as_gguf(&peft));
    let other = Adapter::read(&file("qwen.gguf")).unwrap();
    let why = engine.load_adapter(&other).unwrap_err().to_string();
    assert!(why.contains("family qwen2, this one is llama"), "{why}");
    let model = Adapter::read(&model_path()).unwrap_err().to_string();
    assert!(model.contains("general.type") && model.contains("adapter"), "{model}");
    let bytes = std::fs::read(file("adapter.gguf")).unwrap();
    std::fs::write(file("cut.gguf"), &bytes[..bytes.len() / 2]).unwrap();
    let cut = Adapter::read(&file("cut.gguf")).unwrap_err().to_string();
    assert!(cut.contains("truncated"), "{cut}");
}

#[test]
fn what_cannot_be_merged_is_refused_with_the_way_out_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (base, out) = (fixture("llama"), folder.path().join("out"));
    let adapter = adapter(&parts(&base, 2, 1, 0.1));
    let refused = |base: &Path, adapter: &Adapter, out: &Path, to| {
        merged(base, adapter, out, to).unwrap_err().to_string()
    };
    let gguf = refused(&base, &adapter, &folder.path().join("out.gguf"), None);
    assert!(gguf.contains("convert_hf_to_gguf"), "{gguf}");
    let smollm2 = of_smollm2();
    let no_tokenizer = refused(&model_path(), &smollm2, &out, None);
    assert!(no_tokenizer.contains("no Hugging Face tokenizer"), "{no_tokenizer}");
    let typed = refused(&model_path(), &smollm2, &out.join("x.gguf"), Some(FloatType::F32));
    assert!(typed.contains("Q8_0"), "{typed}");
    let other = refused(&base, &smollm2, &out, None);
    assert!(
        other.contains("blk.") && other.contains("no such matrix")
            || other.contains("made for another"),
        "{other}"
    );
    assert!(!out.exists());
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("mine"), "all that I have").unwrap();
    let full = refused(&base, &adapter, &out, None);
    assert!(full.contains("not empty"), "{full}");
    let file = folder.path().join("mine.gguf");
    std::fs::write(&file, "all that I have").unwrap();
    let there = refused(&model_path(), &smollm2, &file, None);
    assert!(there.contains("is there already"), "{there}");
    assert_eq!(std::fs::read(&file).unwrap(), b"all that I have");
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_an_error_and_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("merged.gguf");
    // Everything written to /dev/full fails as on a full disk.
    std::os::unix::fs::symlink("/dev/full", folder.path().join("merged.gguf.partial")).unwrap();
    let error = merged(&model_path(), &of_smollm2(), &out, None).unwrap_err();
    assert!(matches!(error, MergeError::Write { .. }), "{error}");
    assert!(!out.exists());
}

/// llama.cpp's server for a model; it is stopped when this is dropped.
struct Server {
    child: std::process::Child,
    address: String,
}

impl Server {
    fn start(arguments: &[&str]) -> Server {
        let program = std::env::var("JURY_LLAMA_SERVER").expect("`make merge-tests` names it");
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let child = std::process::Command::new(program)
            .args(arguments)
            .args(["--host", "127.0.0.1", "--port", &free.port().to_string(), "-c", "256"])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Server { child, address: free.to_string() };
        while !server.ask("GET /health", "").contains("\"ok\"") {
            assert!(server.child.try_wait().unwrap().is_none(), "llama-server refused the file");
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
        server
    }

    /// The body of the response; empty while the server is not listening.
    fn ask(&self, what: &str, body: &str) -> String {
        use std::io::{Read, Write};
        let Ok(mut stream) = std::net::TcpStream::connect(&self.address) else {
            return String::new();
        };
        let (length, mut answer) = (body.len(), Vec::new());
        let head = "Connection: close\r\nContent-Type: application/json";
        let request = format!(
            "{what} HTTP/1.1\r\nHost: x\r\n{head}\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        // Connections may break while it starts; whatever arrived before is the response.
        if stream.write_all(request.as_bytes()).is_ok() {
            drop(stream.read_to_end(&mut answer));
        }
        let answer = String::from_utf8_lossy(&answer);
        answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default()
    }

    /// The most probable next tokens, with their log probabilities.
    fn most_probable(&self, prompt: &[u32]) -> Vec<(usize, f64)> {
        let request = serde_json::json!({"prompt": prompt, "n_predict": 1, "n_probs": 5,
            "temperature": 0.0, "cache_prompt": false});
        let answer = self.ask("POST /completion", &request.to_string());
        let answer: serde_json::Value = serde_json::from_str(&answer).expect(&answer);
        let listed = answer["completion_probabilities"][0]["top_logprobs"].as_array();
        let token = |token: &serde_json::Value| {
            (token["id"].as_u64().unwrap() as usize, token["logprob"].as_f64().unwrap())
        };
        listed.expect("probabilities were asked for").iter().map(token).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
#[ignore = "needs llama.cpp: make merge-tests"]
fn llama_cpp_draws_from_a_merged_file_and_with_an_adapter_as_we_do() {
    let folder = tempfile::tempdir().unwrap();
    let (base, out) = (model_path(), folder.path().join("merged.gguf"));
    let lora = folder.path().join("adapter.gguf");
    let adapter = of_smollm2();
    merged(&base, &adapter, &out, None).unwrap();
    write_gguf(&lora, "llama", 2.0, &as_gguf(&adapter));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let (base, out, lora) = (text(&base), text(&out), text(&lora));
    let mut engine = load_file(Path::new(&base), &config(2));
    let id = engine.load_adapter(&adapter).unwrap();
    let prompt = engine.encode(&user("Name three colours of the rainbow.")).unwrap();
    let beside = log_softmax(&engine.logits_after_adapted(&prompt, id).unwrap());
    let own = log_softmax(&engine.logits_after(&prompt).unwrap());
    let whole = load_file(Path::new(&out), &config(2)).logits_after(&prompt).unwrap();
    let whole = log_softmax(&whole);
    // Both round activations to 8 bits, each in its own way: their distance on the bare model is the yardstick.
    let mut most = 1.0;
    for (what, ours, arguments) in [
        ("without", &own, vec!["-m", &base]),
        ("merged", &whole, vec!["-m", &out]),
        ("beside", &beside, vec!["-m", &base, "--lora", &lora]),
    ] {
        let mut farthest = 0.0_f64;
        for (token, theirs) in Server::start(&arguments).most_probable(&prompt) {
            let [found, without] = [ours[token], own[token]];
            println!(
                "{what}: token {token}: {theirs:.3}, ours {found:.3}, without adapter {without:.3}"
            );
            farthest = farthest.max((theirs - found).abs());
        }
        assert!(farthest < most, "{what}: {farthest:.3} apart, at most {most:.3}");
        if what == "without" {
            most = farthest.max(0.5);
        }
    }
}
