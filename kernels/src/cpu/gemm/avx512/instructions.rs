//! The instructions for one group of inputs and some rows, assembled from text by macros.
//!
//! A row is `(codes, group, sums, totals, row)`: the addresses of its codes and of its `Group` (or `Parts`), without
//! closing bracket so that an offset can follow; its registers of integer sums and of floats (or of a superblock's
//! integers), for the first and the last 16 outputs each; and its index.
//!
//! ```text
//! instructions!
//!   begin_group! begin_zero!                  sums start with minus the offset's contribution
//!   group! half! nibbles!                     quads of inputs: load!, multiply! for every row
//!   add_sums! by_variant! by_product!         sums times scales are added to floats
//!   add_min!
//! ```

/// `$what` of each of the first rows, in order.
#[rustfmt::skip]
macro_rules! rows {
    (1, $what:ident $(, $with:tt)*) => {
        $what!(("[{codes}", "[{group}", ("zmm0", "zmm1"), ("zmm12", "zmm13"), 0) $(, $with)*)
    };
    (2, $what:ident $(, $with:tt)*) => { concat!(rows!(1, $what $(, $with)*), $what!(
        ("[{codes} + {codes_stride}", "[{group} + {group_stride}", ("zmm2", "zmm3"), ("zmm14", "zmm15"), 1) $(, $with)*
    ))};
    (3, $what:ident $(, $with:tt)*) => { concat!(rows!(2, $what $(, $with)*), $what!(
        ("[{codes} + 2 * {codes_stride}", "[{group} + 2 * {group_stride}", ("zmm4", "zmm5"), ("zmm16", "zmm17"), 2) $(, $with)*
    ))};
    (4, $what:ident $(, $with:tt)*) => { concat!(rows!(3, $what $(, $with)*), $what!(
        ("[{codes} + {three_codes}", "[{group} + {three_groups}", ("zmm6", "zmm7"), ("zmm18", "zmm19"), 3) $(, $with)*
    ))};
    (5, $what:ident $(, $with:tt)*) => { concat!(rows!(4, $what $(, $with)*), $what!(
        ("[{codes} + 4 * {codes_stride}", "[{group} + 4 * {group_stride}", ("zmm8", "zmm9"), ("zmm20", "zmm21"), 4) $(, $with)*
    ))};
    (6, $what:ident $(, $with:tt)*) => { concat!(rows!(5, $what $(, $with)*), $what!(
        ("[{codes} + {five_codes}", "[{group} + {five_groups}", ("zmm10", "zmm11"), ("zmm22", "zmm23"), 5) $(, $with)*
    ))};
}

/// Starts sums with what the offset subtracts from the codes of a whole group.
#[rustfmt::skip]
macro_rules! begin_group {
    (($codes:tt, $group:tt, $sums:tt, $floats:tt, $row:tt)) => {
        concat!(
            "mov {temporary:e}, dword ptr ", $group, " + 8]\n",
            "add {temporary:e}, dword ptr ", $group, " + 12]\n",
            begin!($sums)
        )
    };
}

#[rustfmt::skip]
macro_rules! begin {
    (($first:tt, $last:tt)) => {
        concat!(
            "imul {temporary:e}, {last:e}\n",
            "vpbroadcastd ", $first, ", {temporary:e}\n",
            "vmovdqa64 ", $last, ", ", $first, "\n"
        )
    };
}

/// For types without an offset.
#[rustfmt::skip]
macro_rules! begin_zero {
    (($codes:tt, $group:tt, ($first:tt, $last:tt), $floats:tt, $row:tt)) => {
        concat!(
            "vpxord ", $first, ", ", $first, ", ", $first, "\n",
            "vpxord ", $last, ", ", $last, ", ", $last, "\n"
        )
    };
}

/// Half of a group's inputs, as bytes.
#[rustfmt::skip]
macro_rules! half {
    ($rows:tt, first) => { half!($rows, 0, 1, 2, 3, 0) };
    ($rows:tt, second) => { half!($rows, 4, 5, 6, 7, 4) };
    // Lines of weights, and the first one's quad of codes.
    ($rows:tt, $a:tt, $b:tt, $c:tt, $d:tt, $quad:tt) => {
        concat!(
            load!($a), rows!($rows, multiply, ("zmm24", "zmm25"), $quad, 0),
            load!($b), rows!($rows, multiply, ("zmm24", "zmm25"), $quad, 1),
            load!($c), rows!($rows, multiply, ("zmm24", "zmm25"), $quad, 2),
            load!($d), rows!($rows, multiply, ("zmm24", "zmm25"), $quad, 3)
        )
    };
}

/// A group's inputs.
#[rustfmt::skip]
macro_rules! group {
    ($rows:tt, bytes) => { concat!(half!($rows, first), half!($rows, second)) };
    ($rows:tt, nibbles) => {
        concat!(nibbles!($rows, 0), nibbles!($rows, 1), nibbles!($rows, 2), nibbles!($rows, 3))
    };
}

/// A line of nibbles: a quad of inputs in their lower bits, and one of the second half in the upper bits. Loaded once,
/// because loads of 64-byte registers occupy both load ports for a cycle.
#[rustfmt::skip]
macro_rules! nibbles {
    ($rows:tt, $line:tt) => {
        concat!(
            load!($line),
            "vpsrlw zmm28, zmm24, 4\n",
            "vpsrlw zmm29, zmm25, 4\n",
            "vpandd zmm24, zmm24, zmm30\n",
            "vpandd zmm25, zmm25, zmm30\n",
            rows!($rows, multiply, ("zmm24", "zmm25"), 0, $line),
            "vpandd zmm28, zmm28, zmm30\n",
            "vpandd zmm29, zmm29, zmm30\n",
            rows!($rows, multiply, ("zmm28", "zmm29"), 4, $line)
        )
    };
}

/// Loads a line of weights, and prefetches the same line of the next group into the first-level cache, since the first
/// tile would otherwise wait for it.
#[rustfmt::skip]
macro_rules! load {
    ($line:tt) => {
        concat!(
            "vmovdqu64 zmm24, zmmword ptr [{weights} + 128 * ", $line, "]\n",
            "vmovdqu64 zmm25, zmmword ptr [{weights} + 128 * ", $line, " + 64]\n",
            "prefetcht0 byte ptr [{next} + 128 * ", $line, "]\n",
            "prefetcht0 byte ptr [{next} + 128 * ", $line, " + 64]\n"
        )
    };
}

#[rustfmt::skip]
macro_rules! multiply {
    (($codes:tt, $group:tt, ($first:tt, $last:tt), $floats:tt, $row:tt), ($weights:tt, $more:tt), $quad:tt, $next:tt) => {
        concat!(
            "vpbroadcastd zmm26, dword ptr ", $codes, " + 4 * ", $quad, " + 4 * ", $next, "]\n",
            "vpdpbusd ", $first, ", ", $weights, ", zmm26\n",
            "vpdpbusd ", $last, ", ", $more, ", zmm26\n"
        )
    };
}

/// Adds a row's sums to its floats. The scale's mantissa selects the variant of the weights' scales, and its exponent
/// is the power of two.
#[rustfmt::skip]
macro_rules! by_variant {
    (($codes:tt, $group:tt, ($first:tt, $last:tt), ($first_to:tt, $last_to:tt), $row:tt)) => {
        concat!(
            "mov {temporary:e}, dword ptr ", $group, "]\n",
            "shr {temporary:e}, {below_mantissa}\n",
            "and {temporary:e}, {last_mantissa}\n",
            "shl {temporary:e}, 7\n",
            "vgetexpps zmm27, dword ptr ", $group, "]{{1to16}}\n",
            "vmovups zmm28, zmmword ptr [{scales} + {temporary}]\n",
            "vscalefps zmm28, zmm28, zmm27\n",
            add_products!($first, $first_to),
            "vmovups zmm28, zmmword ptr [{scales} + {temporary} + 64]\n",
            "vscalefps zmm28, zmm28, zmm27\n",
            add_products!($last, $last_to)
        )
    };
}

/// The same by multiplying both scales; those of the weights are loaded.
#[rustfmt::skip]
macro_rules! by_product {
    (($codes:tt, $group:tt, ($first:tt, $last:tt), ($first_to:tt, $last_to:tt), $row:tt)) => {
        concat!(
            "vbroadcastss zmm27, dword ptr ", $group, "]\n",
            "vmulps zmm28, zmm27, zmm24\n",
            add_products!($first, $first_to),
            "vmulps zmm28, zmm27, zmm25\n",
            add_products!($last, $last_to)
        )
    };
}

/// Adds the sums of all rows to their floats.
#[rustfmt::skip]
macro_rules! add_sums {
    ($rows:tt, by_variant) => { rows!($rows, by_variant) };
    ($rows:tt, by_product) => {
        concat!(
            "vmovups zmm24, zmmword ptr [{scales}]\n",
            "vmovups zmm25, zmmword ptr [{scales} + 64]\n",
            rows!($rows, by_product)
        )
    };
}

#[rustfmt::skip]
macro_rules! add_products {
    ($sum:tt, $to:tt) => {
        concat!("vcvtdq2ps zmm29, ", $sum, "\n", "vfmadd231ps ", $to, ", zmm29, zmm28\n")
    };
}

#[rustfmt::skip]
macro_rules! add_min {
    (($codes:tt, $group:tt, $sums:tt, ($first_to:tt, $last_to:tt), $row:tt)) => {
        concat!(
            "vbroadcastss zmm27, dword ptr ", $group, " + 4]\n",
            "vfmadd231ps ", $first_to, ", zmm24, zmm27\n",
            "vfmadd231ps ", $last_to, ", zmm25, zmm27\n"
        )
    };
}

/// All instructions for a group.
#[rustfmt::skip]
macro_rules! instructions {
    ($rows:tt, $codes:tt, $scale:ident, plain) => {
        concat!(
            rows!($rows, begin_group),
            group!($rows, $codes),
            add_sums!($rows, $scale)
        )
    };
    ($rows:tt, $codes:tt, $scale:ident, with_mins) => {
        concat!(
            rows!($rows, begin_zero),
            group!($rows, $codes),
            add_sums!($rows, $scale),
            "vmovups zmm24, zmmword ptr [{last}]\n",
            "vmovups zmm25, zmmword ptr [{last} + 64]\n",
            rows!($rows, add_min)
        )
    };
}
