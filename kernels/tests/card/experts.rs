//! A layer's experts, from the router's scores to the stream, with the sizes of DeepSeek-V2's test model.

use half::bf16;
use jury_kernels::cuda::{
    AttentionSizes, Buffer, Card, Kernels, Output, Plain, Role, Routing, SeatInputs, SeatTile,
    Seats, most_seat_tiles,
};

use crate::card;
use crate::matrices::{Stored, numbers, rounded};

const EXPERTS: usize = 8;
const USED: usize = 3;
const WIDTH: usize = 64;
const HIDDEN: usize = 32;
const ROUTING: Routing =
    Routing { experts: EXPERTS, used: USED, groups: None, normalise: false, scale: 1.0 };

struct Layer {
    card: Card,
    kernels: Kernels,
    gate_up: Stored,
    down: Stored,
}

impl Layer {
    fn new(is_eight: bool) -> Layer {
        let card = card();
        let kernels = Kernels::load(&card, AttentionSizes::Heads(32)).unwrap();
        let gate_up = Stored::new(&card, 1, [EXPERTS, 2 * HIDDEN, WIDTH], is_eight);
        let down = Stored::new(&card, 2, [EXPERTS, WIDTH, HIDDEN], is_eight);
        Layer { card, kernels, gate_up, down }
    }

    fn of<T: Plain>(&self, elements: &[T]) -> Buffer<T> {
        Buffer::of(&self.card, elements, "a test").unwrap()
    }

    /// What the layer adds to a stream of ones; also the rows' experts.
    fn run(&self, role: Role, x: &[f32], scores: &[f32]) -> (Vec<f32>, Vec<u32>) {
        let rows = scores.len() / EXPERTS;
        let count = rows * USED;
        let (x, scores) = (self.of(&rounded(x)), self.of(scores));
        let (routes, weights) = (self.of(&vec![u32::MAX; count]), self.of(&vec![0.0f32; count]));
        let (of_seats, of_routes) = (self.of(&vec![0u32; count]), self.of(&vec![0u32; count]));
        let tiles = self.of(&vec![SeatTile::default(); most_seat_tiles(count, EXPERTS)]);
        let tile_count = self.of(&[0u32]);
        let seats = Seats {
            rows,
            used: USED,
            rows_of_seats: of_seats.view(),
            seats_of_routes: of_routes.view(),
            tiles: tiles.view(),
            tile_count: tile_count.view(),
        };
        let inner = self.of(&vec![bf16::ZERO; count * 2 * HIDDEN]);
        let hidden = self.of(&vec![bf16::ZERO; count * HIDDEN]);
        let outputs = self.of(&vec![0.0f32; count * WIDTH]);
        let stream = self.of(&vec![1.0f32; rows * WIDTH]);
        let kernels = &self.kernels;
        kernels.route(ROUTING, rows, scores.view(), routes.view(), weights.view()).unwrap();
        kernels.assign_seats(EXPERTS, routes.view(), &seats).unwrap();
        let (from, to) = (SeatInputs::OfRows(x.view()), Output::Rounded(inner.view()));
        kernels.multiply_experts(role, self.gate_up.view(), &seats, from, to).unwrap();
        kernels.gate(count, HIDDEN, false, inner.view(), hidden.view()).unwrap();
        let (from, to) = (SeatInputs::OfSeats(hidden.view()), Output::Floats(outputs.view()));
        kernels.multiply_experts(role, self.down.view(), &seats, from, to).unwrap();
        kernels.add_routed(&seats, WIDTH, outputs.view(), weights.view(), stream.view()).unwrap();
        let (mut found, mut chosen) = (vec![0.0; rows * WIDTH], vec![0; count]);
        stream.read(0, &mut found).unwrap();
        routes.read(0, &mut chosen).unwrap();
        (found, chosen)
    }

    /// The expected result of one row, in f64, with the inner layer rounded as on the card.
    fn expected(&self, x: &[f32], scores: &[f32]) -> (Vec<f64>, Vec<u32>) {
        let sum: f64 = scores.iter().map(|&score| f64::from(score).exp()).sum();
        let mut best: Vec<usize> = (0..EXPERTS).collect();
        best.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let mut chosen = best[..USED].to_vec();
        chosen.sort_unstable();
        let x: Vec<f64> = x.iter().copied().map(f64::from).collect();
        let mut row = vec![1.0; WIDTH];
        let round = |number: f64| bf16::from_f64(number).to_f64();
        for &expert in &chosen {
            let inner: Vec<f64> = self.gate_up.times(expert, &x).into_iter().map(round).collect();
            let (gates, ups) = inner.split_at(HIDDEN);
            let gated = |(gate, up): (&f64, &f64)| round(gate / (1.0 + (-gate).exp()) * up);
            let hidden: Vec<f64> = gates.iter().zip(ups).map(gated).collect();
            let weight = f64::from(scores[expert]).exp() / sum;
            for (to, output) in row.iter_mut().zip(self.down.times(expert, &hidden)) {
                *to += weight * output;
            }
        }
        (row, chosen.into_iter().map(|expert| expert as u32).collect())
    }
}

#[test]
fn a_layer_adds_what_its_rows_experts_make_of_them() {
    let rows = 75;
    let x: Vec<f32> = numbers(3, rows * WIDTH).iter().map(|number| number / 4.0).collect();
    // Every row uses the first expert: more seats than fit in one tile.
    let mut scores = numbers(4, rows * EXPERTS);
    scores.iter_mut().step_by(EXPERTS).for_each(|score| *score = 2.0);
    // No row uses the last.
    scores.iter_mut().skip(EXPERTS - 1).step_by(EXPERTS).for_each(|score| *score = -2.0);
    for (is_eight, role) in
        [(false, Role::Sample), (false, Role::Prompt), (true, Role::Sample), (true, Role::Prompt)]
    {
        let layer = Layer::new(is_eight);
        let (found, chosen) = layer.run(role, &x, &scores);
        for row in 0..rows {
            let my_x = &x[row * WIDTH..(row + 1) * WIDTH];
            let my_scores = &scores[row * EXPERTS..(row + 1) * EXPERTS];
            let mine = &found[row * WIDTH..(row + 1) * WIDTH];
            let (expected, routes) = layer.expected(my_x, my_scores);
            assert_eq!(chosen[row * USED..(row + 1) * USED], routes, "row {row}");
            for (found, expected) in mine.iter().zip(&expected) {
                // The effect of rounding an inner value in the other direction.
                assert!((f64::from(*found) - expected).abs() < 0.02, "{found} for {expected}");
            }
            if row % 9 == 0 {
                let (alone, _) = layer.run(role, my_x, my_scores);
                assert_eq!(alone, mine, "row {row} as {role:?}");
            }
        }
        assert!(found.iter().any(|number| (number - 1.0).abs() > 0.2), "the layer does something");
    }
}

#[test]
fn no_rows_are_no_tiles() {
    let layer = Layer::new(false);
    assert_eq!(layer.run(Role::Prompt, &[], &[]), (vec![], vec![]));
}
