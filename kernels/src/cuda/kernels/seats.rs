//! Which rows go to which experts. A seat is a row of an expert: seats are sorted by expert, then by row, and a tile is
//! up to 64 seats of one expert.

#![allow(unsafe_code)]

use super::check;
use crate::cuda::memory::Plain;
use crate::cuda::{Bf16, View};

/// Maximum seats of a tile.
const TILE_SEATS: usize = 64;
/// Maximum experts of a layer.
pub const MOST_EXPERTS: usize = 256;
/// Maximum experts of a row.
pub const MOST_USED: usize = 16;
/// Maximum seats of a launch.
pub const MOST_SEATS: usize = 1 << 16;

/// How a router's scores become routes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Routing {
    /// Experts of the layer: up to 256.
    pub experts: usize,
    /// Experts of a row: up to 16.
    pub used: usize,
    /// Number of equal groups of experts, and how many of them a row's experts come from: those with the best single
    /// experts.
    pub groups: Option<(usize, usize)>,
    /// Whether a row's weights are divided by their sum.
    pub normalise: bool,
    /// Factor of the weights.
    pub scale: f32,
}

/// Up to 64 consecutive seats of one expert.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SeatTile {
    /// The expert.
    pub expert: u32,
    /// The first seat.
    pub first: u32,
    /// One past the last.
    pub end: u32,
}

/// The seats of a role's rows. Rows are numbered from the role's first one.
#[derive(Debug, Clone, Copy)]
pub struct Seats<'a> {
    /// Rows of the role.
    pub rows: usize,
    /// Experts of a row. There are rows x used seats, up to 65536.
    pub used: usize,
    /// The row of each seat.
    pub rows_of_seats: View<'a, u32>,
    /// Rows x used: the seat of each route.
    pub seats_of_routes: View<'a, u32>,
    /// Room for [`most_seat_tiles`].
    pub tiles: View<'a, SeatTile>,
    /// How many tiles there are: one number.
    pub tile_count: View<'a, u32>,
}

/// Inputs of the experts' products.
#[derive(Debug, Clone, Copy)]
pub enum SeatInputs<'a> {
    /// Rows x inputs: a seat uses its row's.
    OfRows(View<'a, Bf16>),
    /// Seats x inputs.
    OfSeats(View<'a, Bf16>),
}

// SAFETY: numbers without padding.
unsafe impl Plain for SeatTile {}

// === impl Routing ===

impl Routing {
    /// Checks that the numbers are consistent.
    pub(super) fn check(&self) {
        let Routing { experts, used, groups, .. } = *self;
        assert!(experts <= MOST_EXPERTS && used <= MOST_USED, "{used} of {experts} experts");
        let (groups, used_groups) = groups.unwrap_or((1, 1));
        assert!(
            groups > 0 && used_groups <= groups && experts.is_multiple_of(groups),
            "{used_groups} of {groups} groups of {experts} experts"
        );
        assert!(used <= experts / groups * used_groups, "{used} experts of {used_groups} groups");
    }
}

// === impl Seats ===

impl Seats<'_> {
    /// Number of seats, which is also that of routes.
    pub fn count(&self) -> usize {
        self.rows * self.used
    }

    /// Checks that the views are long enough for `experts` experts.
    pub(super) fn check(&self, experts: usize) {
        let count = self.count();
        assert!(count <= MOST_SEATS && experts <= MOST_EXPERTS, "{count} seats, {experts} experts");
        check("rows of seats", self.rows_of_seats.len(), count);
        check("seats of routes", self.seats_of_routes.len(), count);
        check("tiles", self.tiles.len(), most_seat_tiles(count, experts));
        check("the number of tiles", self.tile_count.len(), 1);
    }
}

/// Maximum tiles for `seats` seats of `experts` experts.
pub fn most_seat_tiles(seats: usize, experts: usize) -> usize {
    // An expert with n > 0 seats has (n - 1) / 64 + 1 tiles.
    let busy = experts.min(seats);
    (seats - busy) / TILE_SEATS + busy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_the_tiles_of_the_worst_distribution() {
        assert_eq!([0, 1, 6, 64, 200].map(|seats| most_seat_tiles(seats, 64)), [0, 1, 6, 64, 66]);
        let tiles = |counts: &[usize]| counts.iter().map(|n| n.div_ceil(TILE_SEATS)).sum::<usize>();
        for seats in 0..400 {
            for experts in 1..6 {
                // All experts but one have one seat more than whole tiles.
                for full in 0..4 {
                    let each = full * TILE_SEATS + 1;
                    let mut counts = vec![0; experts];
                    let mut left = seats;
                    for count in counts.iter_mut().skip(1) {
                        *count = each.min(left);
                        left -= *count;
                    }
                    counts[0] = left;
                    assert!(tiles(&counts) <= most_seat_tiles(seats, experts), "{counts:?}");
                }
            }
        }
    }
}
