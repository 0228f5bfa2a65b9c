//! The instructions for a superblock and some rows, assembled from text by macros, together with those of
//! `../instructions.rs` for rows and quads of inputs.
//!
//! ```text
//! superblock!
//!   first_part! second_part!    of two parts whose sums are packed together
//!     begin_part!               sums start with the rounding term
//!     part!                     a group or half of one
//!     keep_part! join_parts!    shifted sums times scales are added to integers
//! ```

/// All instructions for the first of two parts of a superblock: its sums are shifted to the right and held in
/// registers.
#[rustfmt::skip]
macro_rules! first_part {
    ($rows:tt, $codes:tt) => {
        concat!(
            rows!($rows, begin_part, 8),
            part!($rows, $codes),
            rows!($rows, keep_part)
        )
    };
}

/// The same for the second one: its sums are shifted to the left and packed with those of the first, and both are
/// multiplied by their scales.
#[rustfmt::skip]
macro_rules! second_part {
    ($rows:tt, $codes:tt) => {
        concat!(
            rows!($rows, begin_part, 12),
            part!($rows, $codes),
            "vmovdqu64 zmm24, zmmword ptr [{scales}]\n",
            "vmovdqu64 zmm25, zmmword ptr [{scales} + 64]\n",
            rows!($rows, join_parts)
        )
    };
}

#[rustfmt::skip]
macro_rules! part {
    ($rows:tt, half) => { concat!(ask_ahead!(), half!($rows, first)) };
    ($rows:tt, $codes:tt) => { concat!(ask_ahead!(), group!($rows, $codes), ask_ahead!()) };
}

/// Prefetches a line into the second-level cache: 16 lines per superblock.
#[rustfmt::skip]
macro_rules! ask_ahead {
    () => { "prefetcht1 byte ptr [{prefetch}]\nadd {prefetch}, {line}\n" };
}

/// Starts sums with the values at `$at`.
#[rustfmt::skip]
macro_rules! begin_part {
    (($codes:tt, $group:tt, ($first:tt, $last:tt), $floats:tt, $row:tt), $at:tt) => {
        concat!(
            "vpbroadcastd ", $first, ", dword ptr ", $group, " + ", $at, "]\n",
            "vmovdqa64 ", $last, ", ", $first, "\n"
        )
    };
}

/// The registers that hold a row's sums of a first part until the second one's are ready.
#[rustfmt::skip]
macro_rules! kept {
    (0, first) => { "zmm8" };
    (0, last) => { "zmm9" };
    (1, first) => { "zmm10" };
    (1, last) => { "zmm11" };
    (2, first) => { "zmm20" };
    (2, last) => { "zmm21" };
    (3, first) => { "zmm22" };
    (3, last) => { "zmm23" };
}

#[rustfmt::skip]
macro_rules! keep_part {
    (($codes:tt, $group:tt, ($first:tt, $last:tt), $floats:tt, $row:tt)) => {
        concat!(
            "vpbroadcastd zmm27, dword ptr ", $group, "]\n",
            "vpsravd ", kept!($row, first), ", ", $first, ", zmm27\n",
            "vpsravd ", kept!($row, last), ", ", $last, ", zmm27\n"
        )
    };
}

#[rustfmt::skip]
macro_rules! join_parts {
    (($codes:tt, $group:tt, ($first:tt, $last:tt), ($first_to:tt, $last_to:tt), $row:tt)) => {
        concat!(
            "vpbroadcastd zmm27, dword ptr ", $group, " + 4]\n",
            "vpsllvd ", $first, ", ", $first, ", zmm27\n",
            "vpblendmw ", $first, "{{k1}}, ", $first, ", ", kept!($row, first), "\n",
            "vpdpwssd ", $first_to, ", ", $first, ", zmm24\n",
            "vpsllvd ", $last, ", ", $last, ", zmm27\n",
            "vpblendmw ", $last, "{{k1}}, ", $last, ", ", kept!($row, last), "\n",
            "vpdpwssd ", $last_to, ", ", $last, ", zmm25\n"
        )
    };
}

/// All instructions for a superblock: both parts of each pair, pair after pair.
#[rustfmt::skip]
macro_rules! superblock {
    ($rows:tt, $codes:tt) => {
        concat!(
            "2:\n",
            first_part!($rows, $codes),
            next_part!(),
            second_part!($rows, $codes),
            next_part!(),
            "add {group}, 16\n",
            "add {scales}, 128\n",
            "dec {pairs}\n",
            "jnz 2b\n"
        )
    };
}

#[rustfmt::skip]
macro_rules! next_part {
    () => {
        concat!(
            "add {weights}, {part_bytes}\n",
            "add {next}, {part_bytes}\n",
            "add {codes}, {part_inputs}\n"
        )
    };
}
