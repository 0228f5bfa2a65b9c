//! Adapters give the results of merged weights, do not affect other rows, and can be loaded and unloaded.

use std::collections::BTreeMap;

use jury_engine::{
    Adapter, AdapterError, AdapterId, DeviceKind, Engine, EngineConfig, Group, LowRank, RowOrder,
    SampleSpec, SubmitError,
};

use crate::families::fixture;
use crate::low_rank::{
    FAMILIES, MODULES, adapter, apart, bits, distance, interleaved, merged, noise, parts, prompt,
    tensors,
};
use crate::support::{config, drive, load, load_file, outputs, sample, user};

#[test]
fn an_adapter_computes_what_merged_weights_compute_in_every_family() {
    for family in FAMILIES {
        let folder = fixture(family);
        let parts = parts(&folder, 6, 1, 0.02);
        let merged = merged(&folder, &parts);
        let config = EngineConfig { prefill_chunk: Some(7), ..config(2) };
        let (mut adapted, mut whole) =
            (load_file(&folder, &config), load_file(merged.path(), &config));
        let id = adapted.load_adapter(&adapter(&parts)).unwrap();
        let (mut apart, mut effect) = (0.0f64, f64::MAX);
        for length in [1, 5, 40] {
            let prompt = prompt(3, length);
            let found = adapted.logits_after_adapted(&prompt, id).unwrap();
            let expected = whole.logits_after(&prompt).unwrap();
            let base = adapted.logits_after(&prompt).unwrap();
            apart = apart.max(distance(&found, &expected));
            effect = effect.min(distance(&base, &expected));
        }
        println!("{family}: apart by {apart:.5}, effect of the adapter {effect:.3}");
        // Keys and values are stored in 8 bits: a different rounding changes a result by a step.
        assert!(apart < 0.02 * effect, "{family}: apart by {apart}, the adapter moves by {effect}");
    }
}

#[test]
fn single_modules_compute_what_merged_weights_compute() {
    let folder = fixture("qwen3");
    let all = parts(&folder, 3, 9, 0.05);
    for module in MODULES {
        let mut parts = all.clone();
        parts.retain(|name, _| name.ends_with(module) && name.contains(".1."));
        let merged = merged(&folder, &parts);
        let (apart, effect) = apart(&folder, &adapter(&parts), merged.path(), &prompt(4, 20));
        assert!(apart < 0.05 * effect, "{module}: {apart}, {effect}");
    }
}

#[test]
fn with_b_of_zeros_the_bits_are_the_models_own() {
    for family in FAMILIES {
        let folder = fixture(family);
        let mut parts = parts(&folder, 4, 2, 0.1);
        parts.values_mut().for_each(|part| part.b.fill(0.0));
        let mut engine = load_file(&folder, &config(2));
        let id = engine.load_adapter(&adapter(&parts)).unwrap();
        let prompt = prompt(5, 70);
        let base = engine.logits_after(&prompt).unwrap();
        assert_eq!(
            bits(&engine.logits_after_adapted(&prompt, id).unwrap()),
            bits(&base),
            "{family}"
        );
    }
}

/// A sample's text, and the bits of its last state.
type Print = (String, Vec<u32>);

fn prints(engine: &mut Engine, groups: &[(Option<AdapterId>, Group)]) -> Vec<Vec<Print>> {
    let submitted: Vec<_> = groups
        .iter()
        .map(|(adapter, group)| {
            let samples = group.samples.iter().map(again).collect();
            let group = Group { prompt: group.prompt.clone(), samples, cache_salt: None };
            match adapter {
                None => engine.submit(group),
                Some(id) => engine.submit_adapted(group, *id),
            }
            .unwrap()
        })
        .collect();
    let outputs = outputs(drive(engine));
    let print = |id, sample| {
        let output = &outputs[&(id, sample)];
        (output.text.clone(), bits(output.last_hidden.as_ref().unwrap()))
    };
    submitted
        .into_iter()
        .zip(groups)
        .map(|(id, (_, group))| (0..group.samples.len()).map(|at| print(id, at)).collect())
        .collect()
}

fn again(spec: &SampleSpec) -> SampleSpec {
    let mut copy = sample(spec.sampling.seed, spec.sampling.temperature, spec.max_tokens);
    copy.last_hidden = true;
    copy
}

#[test]
fn samples_of_mixed_adapters_have_the_bits_of_lonely_ones() {
    for family in FAMILIES {
        let folder = fixture(family);
        // All prompts have the same beginning: with the wrong adapter's cache they would differ.
        let group = |at: u64| {
            let prompt = [prompt(6, 66), prompt(at, 1 + 3 * at as usize)].concat();
            Group {
                prompt,
                samples: (0..3).map(|seed| sample(seed + 10 * at, 0.8, 9)).collect(),
                cache_salt: None,
            }
        };
        let adapters = [(6, 1), (17, 2), (40, 3)]
            .map(|(rank, salt)| adapter(&parts(&folder, rank, salt, 0.03)));
        let mut alone = Vec::new();
        for at in 0..8u64 {
            let mut engine = load_file(&folder, &config(1));
            let ids = adapters.each_ref().map(|adapter| engine.load_adapter(adapter).unwrap());
            let id = ids.get(at as usize % 4).copied();
            alone.extend(prints(&mut engine, &[(id, group(at))]));
        }
        for (threads, chunk, most) in [(1, 512, 32), (2, 5, 3), (3, 64, 7), (2, 1_000, 32)] {
            let config = EngineConfig {
                prefill_chunk: Some(chunk),
                max_sequences: Some(most),
                ..config(threads)
            };
            let mut engine = load_file(&folder, &config);
            let ids = adapters.each_ref().map(|adapter| engine.load_adapter(adapter).unwrap());
            let groups: Vec<_> =
                (0..8u64).map(|at| (ids.get(at as usize % 4).copied(), group(at))).collect();
            assert!(prints(&mut engine, &groups) == alone, "{family}, chunks of {chunk}");
            // And from the cache.
            assert!(prints(&mut engine, &groups) == alone, "{family}, cached, chunks of {chunk}");
        }
        assert_ne!(alone[0][0].1, alone[3][0].1);
    }
}

#[test]
fn a_swapped_adapter_computes_as_in_a_fresh_engine_and_its_groups_keep_it_to_their_end() {
    let folder = fixture("qwen2");
    let [first, second] = [1, 2].map(|salt| adapter(&parts(&folder, 8, salt, 0.03)));
    let prompt = prompt(8, 80);
    let group =
        || Group { prompt: prompt.clone(), samples: vec![sample(1, 0.8, 12)], cache_salt: None };
    let fresh = |adapter: &Adapter| {
        let mut engine = load_file(&folder, &config(2));
        let id = engine.load_adapter(adapter).unwrap();
        prints(&mut engine, &[(Some(id), group())])
    };
    let mut engine = load_file(&folder, &config(2));
    let base = prints(&mut engine, &[(None, group())]);
    let before = engine.load_adapter(&first).unwrap();
    let mut spec = sample(1, 0.8, 12);
    spec.last_hidden = true;
    let under_way = Group { prompt: prompt.clone(), samples: vec![spec], cache_salt: None };
    let under_way = engine.submit_adapted(under_way, before).unwrap();
    let mut events = Vec::new();
    (0..4).for_each(|_| engine.step(&mut events));
    engine.unload_adapter(before).unwrap();
    let after = engine.load_adapter(&second).unwrap();
    assert_ne!(before, after);
    events.extend(drive(&mut engine));
    let output = &outputs(events)[&(under_way, 0)];
    let print = (output.text.clone(), bits(output.last_hidden.as_ref().unwrap()));
    assert_eq!(print, fresh(&first)[0][0]);
    assert_eq!(prints(&mut engine, &[(Some(after), group())]), fresh(&second));
    assert_eq!(prints(&mut engine, &[(None, group())]), base);
    let gone = engine.submit_adapted(group(), before);
    assert!(matches!(gone, Err(SubmitError::Adapter(AdapterError::NotLoaded { .. }))), "{gone:?}");
    assert!(engine.unload_adapter(before).is_err());
}

#[test]
fn what_an_unloaded_adapter_cached_is_free_again() {
    let folder = fixture("qwen2");
    let mut engine = load_file(&folder, &config(1));
    let tokens = prompt(2, 65);
    for salt in 1..4 {
        let id = engine.load_adapter(&adapter(&parts(&folder, 2, salt, 0.03))).unwrap();
        let before = engine.counters().cached_tokens;
        engine.logits_after_adapted(&tokens, id).unwrap();
        assert_eq!(engine.counters().cached_tokens, before, "another adapter's prompt");
        engine.logits_after_adapted(&tokens, id).unwrap();
        assert_eq!(engine.counters().cached_tokens, before + 64, "its own");
        engine.unload_adapter(id).unwrap();
    }
}

#[test]
fn rows_of_llamas_queries_and_keys_are_turned_to_the_models_order() {
    let sizes = [
        ("self_attn.q_proj", 576, 576),
        ("self_attn.k_proj", 576, 192),
        ("mlp.up_proj", 576, 1536),
    ];
    let named = |order: RowOrder| {
        let parts = sizes.iter().zip(1..).map(|(&(module, inputs, outputs), salt)| {
            let part = LowRank {
                rank: 4,
                inputs,
                outputs,
                scale: 0.5,
                a: noise(4 * inputs, salt, 1.0),
                b: noise(outputs * 4, salt + 9, 0.05),
            };
            let turned = order == RowOrder::Gguf && module.starts_with("self_attn");
            let part = if turned { interleaved(&part, 64) } else { part };
            (format!("model.layers.3.{module}"), part)
        });
        Adapter::new(order, parts).unwrap()
    };
    // A GGUF file of the llama family.
    let mut engine = load(&config(2));
    let prompt = engine.encode(&user("Name three colours.")).unwrap();
    let [own, turned] = [RowOrder::Gguf, RowOrder::HuggingFace].map(|order| {
        let id = engine.load_adapter(&named(order)).unwrap();
        engine.logits_after_adapted(&prompt, id).unwrap()
    });
    assert_eq!(bits(&own), bits(&turned));
    assert_ne!(bits(&own), bits(&engine.logits_after(&prompt).unwrap()));
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let mut engine = load_file(&fixture("llama"), &config(1));
    let part = |inputs: usize, outputs: usize| LowRank {
        rank: 2,
        inputs,
        outputs,
        scale: 1.0,
        a: vec![0.5; 2 * inputs],
        b: vec![0.5; 2 * outputs],
    };
    let mut refused = |name: &str, part: LowRank| {
        let adapter = Adapter::new(RowOrder::HuggingFace, [(name.to_owned(), part)]).unwrap();
        engine.load_adapter(&adapter).unwrap_err().to_string()
    };
    let wide = refused("model.layers.1.self_attn.q_proj", part(96, 64));
    assert!(wide.contains("blk.1.attn_q.lora_A is 2 x 96, but this model needs 2 x 64"), "{wide}");
    let tall = refused("model.layers.1.mlp.down_proj", part(96, 65));
    assert!(
        tall.contains("blk.1.ffn_down.lora_B is 65 x 2, but this model needs 64 x 2"),
        "{tall}"
    );
    let deep = refused("blk.7.attn_q", part(64, 64));
    assert!(deep.contains("blk.7.attn_q") && deep.contains("2 layers"), "{deep}");
    let norm = refused("blk.0.attn_norm", part(64, 64));
    assert!(norm.contains("attn_norm") && norm.contains("q_proj, k_proj"), "{norm}");
    let table =
        Adapter::new(RowOrder::Gguf, [("token_embd".to_owned(), part(64, 64))]).unwrap_err();
    assert!(table.to_string().contains("token_embd is no projection"), "{table}");
    let mut latent = load_file(&fixture("deepseek_v2"), &config(1));
    let keys = Adapter::new(RowOrder::Gguf, [("blk.0.attn_kv_b".to_owned(), part(32, 128))]);
    let why = latent.load_adapter(&keys.unwrap()).unwrap_err().to_string();
    assert!(why.contains("blk.0.attn_kv_b") && why.contains("latent attention"), "{why}");
    let experts = Adapter::new(RowOrder::Gguf, [("blk.1.ffn_up".to_owned(), part(64, 32))]);
    let why = latent.load_adapter(&experts.unwrap()).unwrap_err().to_string();
    assert!(why.contains("experts"), "{why}");
    let candle = EngineConfig { device: DeviceKind::CandleCpu, ..config(1) };
    let up = Adapter::new(RowOrder::Gguf, [("blk.0.ffn_up".to_owned(), part(64, 96))]).unwrap();
    let why = load_file(&fixture("llama"), &candle).load_adapter(&up).unwrap_err().to_string();
    assert!(why.contains("candle-cpu") && why.contains("merge"), "{why}");
    assert!(engine.load_adapter(&up).is_ok());
}

#[test]
fn latent_attention_takes_adapters_of_its_output_and_of_dense_layers() {
    let folder = fixture("deepseek_v2");
    let mut parts = BTreeMap::new();
    for (name, tensor) in tensors(&folder) {
        let Some(module) = name.strip_suffix(".weight") else { continue };
        let dense = module.starts_with("model.layers.0.mlp.") && !module.contains("expert");
        if module.ends_with("o_proj") || dense && module.ends_with("_proj") {
            let [outputs, inputs] = tensor.shape[..] else { panic!("{name}") };
            let salt = name.len() as u64;
            let (a, b) = (noise(2 * inputs, salt, 1.0), noise(2 * outputs, salt + 1, 0.05));
            parts.insert(module.to_owned(), LowRank { rank: 2, inputs, outputs, scale: 1.0, a, b });
        }
    }
    assert_eq!(parts.len(), 5, "{:?}", parts.keys());
    let merged = merged(&folder, &parts);
    let (apart, effect) = apart(&folder, &adapter(&parts), merged.path(), &prompt(4, 20));
    assert!(apart < 0.02 * effect, "{apart}, {effect}");
}
