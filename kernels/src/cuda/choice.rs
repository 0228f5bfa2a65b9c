//! Chooses cuBLASLt's algorithm for a product, so that a row's bits do not depend on the rows beside it.
//!
//! Every algorithm adds a row's products in its own order; those that do not split the inner dimension often use the
//! same one. For every number of rows, this takes the library's first proposal that gives the bits of the *reference*,
//! which is its proposal for the usual number of rows. The choice depends on card and library alone, never on timing:
//! two workers with the same card and library choose alike. (Thinking Machines, "Defeating Nondeterminism in LLM
//! Inference", 2025, describes the problem.)

/// Numbers of rows of generated tokens for which an algorithm is chosen; the last is also used for more.
const SAMPLE_ROWS: [usize; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];
/// The same for rows of prompts.
const PROMPT_ROWS: [usize; 6] = [64, 256, 512, 1024, 2048, 4096];
/// Index into [`SAMPLE_ROWS`] of the number of rows for the reference: 64 rows.
const SAMPLE_REFERENCE: usize = 6;
/// Index into [`PROMPT_ROWS`]: 1024 rows.
const PROMPT_REFERENCE: usize = 3;

/// What rows are computed for. Rows of one role share their algorithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Tokens of prompts, hundreds at once.
    Prompt,
    /// Generated tokens, one per sample.
    Sample,
}

/// Number of rows used in trials.
pub(super) const PROBES: usize = 24;

/// The algorithm chosen for each number of rows.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice<A> {
    /// Numbers of rows, ascending; the last is also used for more.
    pub(super) steps: Vec<usize>,
    /// One for each step.
    pub(super) algorithms: Vec<A>,
    /// Whether all give a row the same bits.
    pub(super) is_invariant: bool,
}

/// The input of a choice: proposals, and the bits of their results.
pub(super) trait Proposals {
    type Algorithm: Clone;
    type Error;

    /// The library's proposals for `rows` rows, best first; at least one.
    fn proposals(&mut self, rows: usize) -> Result<Vec<Self::Algorithm>, Self::Error>;

    /// The result of an algorithm for each of the [`PROBES`], computed as one of `rows` rows: a fingerprint of its
    /// bits. `None` if it cannot compute that many rows.
    fn bits(
        &mut self,
        algorithm: &Self::Algorithm,
        rows: usize,
    ) -> Result<Option<Vec<u64>>, Self::Error>;
}

// === impl Role ===

impl Role {
    /// Numbers of rows for which an algorithm is chosen, ascending.
    pub fn rows(self) -> &'static [usize] {
        match self {
            Role::Prompt => &PROMPT_ROWS,
            Role::Sample => &SAMPLE_ROWS,
        }
    }

    fn reference(self) -> usize {
        match self {
            Role::Prompt => PROMPT_REFERENCE,
            Role::Sample => SAMPLE_REFERENCE,
        }
    }

    /// The numbers of rows to choose algorithms for, with room for `most`.
    fn steps(self, most: usize) -> Vec<usize> {
        let fitting: Vec<usize> =
            self.rows().iter().copied().filter(|&rows| rows <= most).collect();
        if fitting.is_empty() { vec![most] } else { fitting }
    }
}

// === impl Choice ===

impl<A> Choice<A> {
    /// The algorithm for a number of rows: that of the first step that is large enough, or the last.
    pub(super) fn of(&self, rows: usize) -> &A {
        let step = self.steps.iter().position(|&step| step >= rows);
        &self.algorithms[step.unwrap_or(self.steps.len() - 1)]
    }
}

/// Which probes are computed together among `rows` rows, and in which of them: spread as evenly as possible.
pub(super) fn passes(rows: usize) -> impl Iterator<Item = Vec<(usize, usize)>> {
    let together = rows.clamp(1, PROBES);
    let place = move |probe: usize| (probe, probe % together * rows / together);
    (0..PROBES)
        .step_by(together)
        .map(move |first| (first..PROBES.min(first + together)).map(place).collect())
}

/// Chooses the algorithms of a role, with room for `most` rows.
pub(super) fn choose<P: Proposals>(
    role: Role,
    most: usize,
    from: &mut P,
) -> Result<Choice<P::Algorithm>, P::Error> {
    let steps = role.steps(most);
    let most = steps[steps.len() - 1];
    let mut reference = None;
    // Independent of the room, so that engines with smaller buffers use the same reference.
    for candidate in from.proposals(role.rows()[role.reference()])? {
        if let Some(bits) = from.bits(&candidate, most)? {
            reference = Some((candidate, bits));
            break;
        }
    }
    let Some((reference, expected)) = reference else {
        // No algorithm can compute all numbers of rows: each number gets its own.
        let first = |rows: &usize| from.proposals(*rows).map(|mut found| found.swap_remove(0));
        let algorithms = steps.iter().map(first).collect::<Result<_, _>>()?;
        return Ok(Choice { steps, algorithms, is_invariant: false });
    };
    let mut algorithms = Vec::new();
    let (mut is_invariant, mut former) = (true, 0);
    for &rows in &steps {
        let mut found = None;
        let candidates = from.proposals(rows)?;
        for candidate in candidates.iter().chain([&reference]) {
            if gives(from, candidate, [former + 1, rows], &expected)? {
                found = Some(candidate.clone());
                break;
            }
        }
        former = rows;
        is_invariant &= found.is_some();
        let first = || candidates.first().unwrap_or(&reference).clone();
        algorithms.push(found.unwrap_or_else(first));
    }
    Ok(Choice { steps, algorithms, is_invariant })
}

/// Whether an algorithm gives these bits for the smallest and the largest number of rows that it would be used for.
fn gives<P: Proposals>(
    from: &mut P,
    algorithm: &P::Algorithm,
    [fewest, most]: [usize; 2],
    expected: &[u64],
) -> Result<bool, P::Error> {
    for rows in std::iter::once(most).chain((fewest < most).then_some(fewest)) {
        if from.bits(algorithm, rows)?.is_none_or(|bits| bits != expected) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Algorithms are (order of addition, greatest number of rows).
    struct Library {
        offered: fn(usize) -> Vec<(u64, usize)>,
    }

    impl Proposals for Library {
        type Algorithm = (u64, usize);
        type Error = ();

        fn proposals(&mut self, rows: usize) -> Result<Vec<(u64, usize)>, ()> {
            Ok((self.offered)(rows))
        }

        fn bits(
            &mut self,
            &(order, most): &(u64, usize),
            rows: usize,
        ) -> Result<Option<Vec<u64>>, ()> {
            Ok((rows <= most)
                .then(|| (0..PROBES as u64).map(|probe| order * 100 + probe).collect()))
        }
    }

    fn choice(role: Role, offered: fn(usize) -> Vec<(u64, usize)>) -> Choice<(u64, usize)> {
        choose(role, 5000, &mut Library { offered }).unwrap()
    }

    #[test]
    fn the_first_proposal_with_the_reference_s_bits_is_taken() {
        // The best algorithm for few rows adds in another order.
        let found = choice(Role::Sample, |rows| match rows {
            1..=4 => vec![(7, 4), (1, 8), (1, 9)],
            _ => vec![(1, 9000), (7, 9000)],
        });
        assert!(found.is_invariant);
        assert_eq!(found.algorithms[..3], [(1, 8), (1, 8), (1, 8)]);
        assert!(found.algorithms.iter().all(|&(order, _)| order == 1));
    }

    #[test]
    fn an_algorithm_that_adds_otherwise_for_fewer_rows_is_not_taken() {
        struct Fickle;
        impl Proposals for Fickle {
            type Algorithm = u64;
            type Error = ();

            fn proposals(&mut self, _: usize) -> Result<Vec<u64>, ()> {
                Ok(vec![1, 2])
            }

            // The first one splits its sums for up to 3 rows.
            fn bits(&mut self, &algorithm: &u64, rows: usize) -> Result<Option<Vec<u64>>, ()> {
                let splits = algorithm == 1 && rows == 3;
                Ok(Some(vec![u64::from(splits); PROBES]))
            }
        }
        let found = choose(Role::Sample, 9000, &mut Fickle).unwrap();
        assert!(found.is_invariant);
        // Steps of 1, 2, 4, ..: 3 rows belong to the third.
        assert_eq!(found.algorithms[..4], [1, 1, 2, 1]);
    }

    #[test]
    fn engines_with_smaller_buffers_choose_alike() {
        let offered = |rows: usize| vec![(rows as u64 / 100, 9000)];
        for most in [7, 100, 9000] {
            let found = choose(Role::Prompt, most, &mut Library { offered }).unwrap();
            assert!(found.algorithms.iter().all(|&(order, _)| order == 10), "{most}");
        }
    }

    #[test]
    fn the_reference_is_taken_where_no_proposal_has_its_bits() {
        let found = choice(Role::Prompt, |rows| vec![(rows as u64, 9000)]);
        assert!(found.is_invariant);
        assert_eq!(found.algorithms, [(1024, 9000); 6]);
    }

    #[test]
    fn a_library_that_has_no_such_algorithms_is_told_apart() {
        let found = choice(Role::Sample, |rows| vec![(rows as u64, rows)]);
        assert!(!found.is_invariant);
        assert_eq!(found.algorithms[8], (256, 256));
    }

    #[test]
    fn every_probe_is_computed_once_at_a_row_of_its_own() {
        for rows in [1, 2, 7, 24, 64, 4096] {
            let mut probes = Vec::new();
            for pass in passes(rows) {
                let places: Vec<usize> = pass.iter().map(|&(_, row)| row).collect();
                assert!(places.is_sorted_by(|one, next| one < next), "{rows}: {places:?}");
                assert!(places.iter().all(|&row| row < rows));
                probes.extend(pass.iter().map(|&(probe, _)| probe));
            }
            assert_eq!(probes, (0..PROBES).collect::<Vec<usize>>());
        }
    }

    #[test]
    fn every_number_of_rows_has_its_step() {
        for (role, most) in
            [(Role::Prompt, 9000), (Role::Prompt, 700), (Role::Sample, 9000), (Role::Sample, 3)]
        {
            let steps = role.steps(most);
            let choice =
                Choice { algorithms: steps.clone(), steps: steps.clone(), is_invariant: true };
            let last = *steps.last().unwrap();
            assert!(last <= most);
            for rows in 1..5000 {
                let step = *choice.of(rows);
                assert!(step >= rows || step == last);
                assert!(steps.iter().all(|&other| other >= step || other < rows));
            }
        }
        assert_eq!(Role::Prompt.steps(20), [20]);
    }
}
