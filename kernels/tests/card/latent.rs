//! Latent attention on an emulated card: the launches that an engine makes, from projected rows to attended ones.

use jury_kernels::cuda::{
    AttentionSizes, Bf16, Buffer, Card, CudaError, Heads, Kernels, LATENT_SIZES, LatentAttention,
    LatentHeads, LatentRotation, Parts, Rows, Task,
};

use crate::{card, matrices};

const HEADS: usize = 5;
const NOPE: usize = 32;
/// Tokens that two rows share, in their slots; each row has one token of its own after them.
const SHARED: usize = 21;
const ROWS: usize = 2;
const SLOTS: usize = SHARED + ROWS;
const EPSILON: f32 = 1e-6;
const SCALE: f32 = 0.2;

/// Numbers between -1 and 1.
fn numbers(seed: usize, count: usize) -> Vec<Bf16> {
    matrices::numbers(seed, count).into_iter().map(Bf16::from_f32).collect()
}

/// A layer's attention: rows of one token each, which see the shared tokens and themselves.
struct Layer {
    heads: LatentHeads,
    /// Rows of (projected queries, latent vector, rotated part).
    product: Vec<Bf16>,
    /// The plain parts of queries, which another kernel computes, in their places; the rest is 0.
    plain: Vec<Bf16>,
    keys: Vec<Bf16>,
    norm: Vec<f32>,
    turns: Vec<f32>,
}

// === impl Layer ===

impl Layer {
    fn new((rank, rope): (usize, usize)) -> Layer {
        let heads = LatentHeads { heads: HEADS, rank, rope, nope: NOPE };
        let mut plain = numbers(2, ROWS * heads.queries());
        for query in plain.chunks_exact_mut(heads.key_size()) {
            query[rank..].fill(Bf16::ZERO);
        }
        let floats = |numbers: Vec<Bf16>| numbers.into_iter().map(Bf16::to_f32).collect();
        Layer {
            heads,
            product: numbers(1, ROWS * (heads.projected() + heads.key_size())),
            plain,
            keys: numbers(3, SLOTS * heads.key_size()),
            norm: floats(numbers(4, rank)),
            turns: floats(numbers(5, (SHARED + 1) * rope)),
        }
    }

    fn run(&self, card: &Card) -> Result<(Vec<Bf16>, Vec<Bf16>), CudaError> {
        let LatentHeads { rank, rope, .. } = self.heads;
        let kernels = Kernels::load(card, AttentionSizes::Latent { rank, rope })?;
        let stride = self.heads.projected() + self.heads.key_size();
        let product = Buffer::of(card, &self.product, "product")?;
        let queries = Buffer::of(card, &self.plain, "queries")?;
        let keys = Buffer::of(card, &self.keys, "keys")?;
        let (norm, turns) =
            (Buffer::of(card, &self.norm, "norm")?, Buffer::of(card, &self.turns, "turns")?);
        let positions = Buffer::of(card, &[SHARED as u32; ROWS], "positions")?;
        let own_slots: Vec<u32> = (SHARED..SLOTS).map(|slot| slot as u32).collect();
        let stored = Buffer::of(card, &own_slots, "slots of rows")?;
        let rotation = LatentRotation {
            norm: norm.view(),
            turns: turns.view(),
            neighbours: true,
            epsilon: EPSILON,
        };
        let part = |from: usize| Rows { view: product.slice(from..product.len()), stride };
        kernels.latent_store(
            self.heads,
            &rotation,
            positions.view(),
            stored.view(),
            [part(0), part(self.heads.projected())],
            [queries.view(), keys.view()],
        )?;

        // The slots of the shared tokens, then of each row's own.
        let slots: Vec<u32> = (0..SLOTS).map(|slot| slot as u32).collect();
        let slots = Buffer::of(card, &slots, "slots")?;
        let shared = Task {
            first_row: 0,
            rows: ROWS as u32,
            first_query: 0,
            slots_at: 0,
            first_token: 0,
            begin: 0,
            end: SHARED as u32,
            partial: 0,
        };
        let token = SHARED as u32;
        let own = [0, 1].map(|row| Task {
            first_row: row,
            rows: 1,
            slots_at: token + row,
            first_token: token,
            begin: token,
            end: token + 1,
            partial: ROWS as u32 + row,
            ..shared
        });
        let tasks = Buffer::of(card, &[shared, own[0], own[1]], "tasks")?;
        let count = Buffer::of(card, &[tasks.len() as u32], "count")?;
        let heads: Heads = self.heads.attended();
        let out: Buffer<Bf16> = Buffer::zeroed(card, ROWS * heads.queries(), "attended rows")?;
        let sums = Buffer::zeroed(card, 2 * ROWS * heads.queries(), "sums")?;
        let stats = Buffer::zeroed(card, 2 * ROWS * HEADS * 2, "stats")?;
        let attention = LatentAttention {
            queries: queries.view(),
            keys: keys.view(),
            slots: slots.view(),
            positions: positions.view(),
            scale: SCALE,
        };
        let in_parts = [sums.view(), stats.view()];
        kernels.attend_latent(
            self.heads,
            tasks.view(),
            count.view(),
            &attention,
            out.view(),
            in_parts,
        )?;
        let parts = [0, 1].map(|row| Parts {
            shared: row,
            shared_count: 1,
            own: ROWS as u32 + row,
            own_count: 1,
            ..Parts::default()
        });
        let parts = Buffer::of(card, &parts, "parts")?;
        kernels.merge_parts(heads, in_parts, parts.view(), out.view())?;
        let (mut attended, mut stored) =
            (vec![Bf16::ZERO; out.len()], vec![Bf16::ZERO; keys.len()]);
        out.read(0, &mut attended)?;
        keys.read(0, &mut stored)?;
        Ok((attended, stored))
    }

    /// A rotated part at the position of all rows.
    fn turned(&self, part: &[Bf16]) -> Vec<f64> {
        let turns = self.turns[SHARED * self.heads.rope..].chunks_exact(2);
        let turn = |(pair, turn): (&[Bf16], &[f32])| {
            let [x, y] = [pair[0], pair[1]].map(Bf16::to_f64);
            let [cosine, sine] = [turn[0], turn[1]].map(f64::from);
            [x * cosine - y * sine, x * sine + y * cosine]
        };
        part.chunks_exact(2).zip(turns).flat_map(turn).collect()
    }

    /// Expected results in f64: the rows' keys, and the attention outputs of each row's heads.
    fn expected(&self) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let LatentHeads { rank, rope, nope, .. } = self.heads;
        let (key_size, projected) = (self.heads.key_size(), self.heads.projected());
        let (mut keys, mut attended) = (Vec::new(), Vec::new());
        for (row, product) in self.product.chunks_exact(projected + key_size).enumerate() {
            let (queries, down) = product.split_at(projected);
            let (latent, turned) = down.split_at(rank);
            let squares: f64 = latent.iter().map(|number| number.to_f64().powi(2)).sum();
            let factor = 1.0 / (squares / rank as f64 + f64::from(EPSILON)).sqrt();
            let normed = latent.iter().zip(&self.norm);
            let mut key: Vec<f64> = normed
                .map(|(number, &weight)| number.to_f64() * factor * f64::from(weight))
                .collect();
            key.extend(self.turned(turned));
            let mut seen: Vec<Vec<f64>> = self.keys[..SHARED * key_size]
                .chunks_exact(key_size)
                .map(|key| key.iter().map(|number| number.to_f64()).collect())
                .collect();
            seen.push(key.clone());
            keys.push(key);
            for (head, query) in queries.chunks_exact(nope + rope).enumerate() {
                let plain = &self.plain[(row * HEADS + head) * key_size..][..rank];
                let mut query: Vec<f64> = self.turned(&query[nope..]);
                query.splice(0..0, plain.iter().map(|number| number.to_f64()));
                attended.push(attend(&query, &seen, rank));
            }
        }
        (keys, attended)
    }
}

fn attend(query: &[f64], keys: &[Vec<f64>], rank: usize) -> Vec<f64> {
    let score = |key: &Vec<f64>| -> f64 { query.iter().zip(key).map(|(q, k)| q * k).sum() };
    let weights: Vec<f64> = keys.iter().map(|key| (score(key) * f64::from(SCALE)).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let column = |at: usize| -> f64 {
        let products = weights.iter().zip(keys).map(|(weight, key)| weight * key[at]);
        products.sum::<f64>() / sum
    };
    (0..rank).map(column).collect()
}

fn assert_close(found: &[Bf16], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found.to_f64() - expected).abs();
        assert!(error < tolerance, "{what}: number {index} is {found} instead of {expected}");
    }
}

#[test]
fn rows_attend_to_shared_tokens_and_their_own() {
    let card = card();
    for sizes in LATENT_SIZES {
        let layer = Layer::new(sizes);
        let (attended, keys) = layer.run(&card).unwrap();
        let (expected_keys, expected) = layer.expected();
        let key_size = layer.heads.key_size();
        assert_eq!(keys[..SHARED * key_size], layer.keys[..SHARED * key_size], "others' keys");
        for (row, expected) in expected_keys.iter().enumerate() {
            let key = &keys[(SHARED + row) * key_size..][..key_size];
            // Numbers up to 2, rounded to 8 bits.
            assert_close(key, expected, 0.01, "key");
        }
        for (attended, expected) in attended.chunks_exact(layer.heads.rank).zip(&expected) {
            assert_close(attended, expected, 0.01, "attended");
        }
    }
}

#[test]
fn other_sizes_are_refused() {
    let card = card();
    for sizes in [AttentionSizes::Latent { rank: 256, rope: 64 }, AttentionSizes::Heads(48)] {
        let refused = Kernels::load(&card, sizes);
        assert!(matches!(refused, Err(CudaError::Unsupported(_))), "{sizes:?}");
    }
}
