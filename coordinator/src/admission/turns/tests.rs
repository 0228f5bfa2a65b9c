use proptest::prelude::*;

use super::*;

fn name(tenant: usize) -> Arc<str> {
    format!("t{tenant}").into()
}

fn size(tokens: u64) -> Size {
    Size { samples: 1, tokens }
}

/// Tenants that always have a request waiting, each with its weight and the sizes of its requests, repeated over and
/// over.
struct Backlogged {
    turns: Turns,
    tenants: Vec<(u32, Vec<u64>)>,
    n_pushed: Vec<usize>,
    next_ticket: u64,
}

impl Backlogged {
    fn new(tenants: Vec<(u32, Vec<u64>)>) -> Self {
        let n_pushed = vec![0; tenants.len()];
        let mut all = Self { turns: Turns::default(), tenants, n_pushed, next_ticket: 0 };
        for tenant in 0..all.tenants.len() {
            all.push(tenant);
            all.push(tenant);
        }
        all
    }

    fn push(&mut self, tenant: usize) {
        let (weight, sizes) = &self.tenants[tenant];
        let tokens = sizes[self.n_pushed[tenant] % sizes.len()];
        self.n_pushed[tenant] += 1;
        self.turns.push(&name(tenant), *weight, Ticket(self.next_ticket), size(tokens));
        self.next_ticket += 1;
    }

    /// The tenant whose request went, and the request's tokens; another request takes its place.
    fn step(&mut self) -> (usize, u64) {
        let (tenant, _, size) = self.turns.pop().unwrap();
        let tenant: usize = tenant[1..].parse().unwrap();
        self.push(tenant);
        (tenant, size.tokens)
    }
}

fn tenants() -> impl Strategy<Value = Vec<(u32, Vec<u64>)>> {
    let sizes = prop::collection::vec(1u64..200_000, 1..6);
    prop::collection::vec((1u32..20, sizes), 2..6)
}

proptest! {
    #[test]
    fn tokens_of_tenants_with_a_backlog_follow_their_weights(tenants in tenants()) {
        let largest = |tenant: &(u32, Vec<u64>)| *tenant.1.iter().max().unwrap() as f64;
        let slack = tenants.iter().map(|t| largest(t) / f64::from(t.0)).fold(0.0, f64::max);
        let bound = 2.0 * (QUANTUM as f64 + slack);
        let mut backlogged = Backlogged::new(tenants.clone());
        let mut served = vec![0.0; tenants.len()];
        for _ in 0..500 {
            let (tenant, tokens) = backlogged.step();
            served[tenant] += tokens as f64 / f64::from(tenants[tenant].0);
            let most = served.iter().copied().fold(0.0, f64::max);
            let least = served.iter().copied().fold(f64::INFINITY, f64::min);
            prop_assert!(most - least <= bound, "{served:?} differ by more than {bound}");
        }
    }

    #[test]
    fn nobody_starves(tenants in tenants(), newcomer in 1u64..200_000, before in 0usize..50) {
        let mut backlogged = Backlogged::new(tenants.clone());
        for _ in 0..before {
            backlogged.step();
        }
        let weights: i64 = tenants.iter().map(|tenant| i64::from(tenant.0)).sum();
        let largest = tenants.iter().flat_map(|tenant| &tenant.1).max().unwrap();
        let rounds = newcomer as i64 / QUANTUM + 2;
        let most_before = rounds * QUANTUM * weights + (tenants.len() as i64) * (*largest as i64 + QUANTUM * 20);
        let ticket = Ticket(u64::MAX);
        backlogged.turns.push(&"new".into(), 1, ticket, size(newcomer));
        let mut tokens_before = 0;
        while backlogged.turns.n_waiting_of("new") > 0 {
            let (tenant, _, size) = backlogged.turns.pop().unwrap();
            if &*tenant == "new" {
                break;
            }
            tokens_before += size.tokens as i64;
            backlogged.push(tenant[1..].parse().unwrap());
            prop_assert!(tokens_before <= most_before, "{tokens_before} of others came before it");
        }
    }

    #[test]
    fn a_tenant_is_served_in_the_order_in_which_it_came_and_everybody_exactly_once(
        asks in prop::collection::vec((0usize..4, 1u64..100_000, any::<bool>()), 1..80),
    ) {
        let mut turns = Turns::default();
        let mut left = Vec::new();
        for (ticket, &(tenant, tokens, leaves)) in asks.iter().enumerate() {
            turns.push(&name(tenant), 1 + tenant as u32, Ticket(ticket as u64), size(tokens));
            if leaves {
                left.push((tenant, ticket as u64));
            }
        }
        for &(tenant, ticket) in &left {
            turns.upcoming();
            turns.leave(&name(tenant), Ticket(ticket));
        }
        let mut served: Vec<(usize, u64)> = Vec::new();
        while let Some(next) = turns.upcoming() {
            let (tenant, ticket, size) = turns.pop().unwrap();
            prop_assert_eq!(size, next);
            served.push((tenant[1..].parse().unwrap(), ticket.0));
        }
        prop_assert_eq!(turns.n_waiting(), 0);
        for tenant in 0..4 {
            let of_tenant = |all: &[(usize, u64)]| -> Vec<u64> {
                all.iter().filter(|one| one.0 == tenant).map(|one| one.1).collect()
            };
            let came: Vec<u64> = asks
                .iter()
                .enumerate()
                .filter(|(_, ask)| ask.0 == tenant && !ask.2)
                .map(|(ticket, _)| ticket as u64)
                .collect();
            prop_assert_eq!(of_tenant(&served), came);
        }
    }
}

#[test]
fn what_an_estimate_was_wrong_by_is_put_right_in_later_turns() {
    // Both are estimated alike, but one spends four times as much.
    let mut backlogged = Backlogged::new(vec![(1, vec![1000]), (1, vec![1000])]);
    let mut spent = [0, 0];
    for _ in 0..1000 {
        let (tenant, estimated) = backlogged.step();
        let really = if tenant == 0 { 4 * estimated } else { estimated };
        spent[tenant] += really;
        backlogged.turns.settle(&name(tenant), estimated, really);
    }
    let share = spent[0] as f64 / (spent[0] + spent[1]) as f64;
    assert!((0.48..0.52).contains(&share), "{spent:?}");
}

#[test]
fn nobody_saves_up_credit_while_away() {
    let mut turns = Turns::default();
    turns.push(&name(0), 1000, Ticket(0), size(1));
    turns.pop().unwrap();
    for ticket in 1..=4 {
        turns.push(&name(1), 1, Ticket(2 * ticket), size(3000));
        turns.push(&name(0), 1, Ticket(2 * ticket + 1), size(3000));
    }
    let order: Vec<Arc<str>> = std::iter::from_fn(|| Some(turns.pop()?.0)).collect();
    assert_eq!(&*order[0], "t1", "who came back is last in the ring");
    let in_first_half = order[..4].iter().filter(|tenant| &***tenant == "t0").count();
    assert!((1..=3).contains(&in_first_half), "{order:?}");
}

#[test]
fn a_request_waits_behind_its_own_tenant_and_the_share_of_others() {
    let mut turns = Turns::default();
    let size = |samples| Size { samples, tokens: 1 };
    turns.push(&name(0), 1, Ticket(0), size(10_000));
    assert_eq!(
        turns.samples_ahead("t1", 1, 8),
        8,
        "the flood of another has one turn for each of ours"
    );
    assert_eq!(turns.samples_ahead("t1", 4, 8), 2);
    assert_eq!(turns.samples_ahead("t0", 1, 8), 10_000, "its own flood comes first");
    turns.push(&name(1), 1, Ticket(1), size(100));
    assert_eq!(turns.samples_ahead("t1", 1, 8), 100 + 108);
}
