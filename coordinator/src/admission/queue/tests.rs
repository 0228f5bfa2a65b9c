use proptest::prelude::*;

use super::*;

fn size(samples: u32) -> Size {
    Size { samples, tokens: 100 * u64::from(samples) }
}

fn share(tenant: usize, queue_share: f64) -> Share {
    Share { tenant: format!("t{tenant}").into(), weight: 1 + tenant as u32, queue_share }
}

fn granted(offer: Offer) -> Grant {
    match offer {
        Offer::Granted(grant) => grant,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_request_larger_than_the_fleet_still_runs() {
    let mut queue = Queue::new(1);
    let _large = granted(queue.offer(&Share::default(), size(256)));
    assert!(matches!(queue.offer(&Share::default(), size(1)), Offer::Queued(_)));
}

#[test]
fn within_a_tenant_nobody_overtakes() {
    let (mut queue, only) = (Queue::new(9), Share::default());
    let first = granted(queue.offer(&only, size(60)));
    let Offer::Queued(large) = queue.offer(&only, size(60)) else { panic!("does not fit") };
    let Offer::Queued(small) = queue.offer(&only, size(1)) else { panic!("would overtake") };
    let now: Vec<_> = queue.release(first, None).into_iter().map(|grant| grant.ticket).collect();
    assert_eq!(now, [Some(large), Some(small)]);
}

#[test]
fn a_request_that_waited_for_room_and_leaves_lets_the_next_one_in() {
    let (mut queue, only) = (Queue::new(9), Share::default());
    let _first = granted(queue.offer(&only, size(40)));
    let Offer::Queued(large) = queue.offer(&only, size(60)) else { panic!("does not fit") };
    let Offer::Queued(small) = queue.offer(&only, size(8)) else { panic!("would overtake") };
    let now = queue.leave(&only.tenant, large);
    assert_eq!(now[0].ticket, Some(small));
}

#[test]
fn a_tenant_has_its_part_of_the_queue_and_no_more() {
    let mut queue = Queue::new(10);
    let _running = granted(queue.offer(&share(0, 1.0), size(64)));
    let (flood, other) = (share(1, 0.3), share(2, 0.01));
    for _ in 0..3 {
        assert!(matches!(queue.offer(&flood, size(1)), Offer::Queued(_)));
    }
    assert_eq!(queue.offer(&flood, size(1)), Offer::Full { waiting: 3, of_tenant: true });
    assert!(matches!(queue.offer(&other, size(1)), Offer::Queued(_)), "one place at the least");
    assert_eq!(queue.offer(&other, size(1)), Offer::Full { waiting: 1, of_tenant: true });
}

#[test]
fn a_flood_gives_way_to_another_tenant_at_the_next_turn() {
    let mut queue = Queue::new(1000);
    let (flood, other) = (share(0, 1.0), share(0, 1.0));
    let other = Share { tenant: "other".into(), ..other };
    let mut running = vec![granted(queue.offer(&flood, size(64)))];
    for _ in 0..500 {
        assert!(matches!(queue.offer(&flood, size(64)), Offer::Queued(_)));
    }
    let Offer::Queued(_) = queue.offer(&other, size(64)) else { panic!("there is room to wait") };
    let mut before_it = 0;
    while &*running[0].tenant != "other" {
        running = queue.release(running.remove(0), None);
        before_it += 1;
    }
    assert!(before_it <= 3, "{before_it} of a flood of 500 came first");
}

proptest! {
    #[test]
    fn whoever_is_offered_is_granted_once_within_the_capacity_and_nothing_idles(
        asks in prop::collection::vec((0usize..4, 1u32..40), 1..60),
        limit in 1usize..20,
        ends in prop::collection::vec(any::<prop::sample::Index>(), 60),
    ) {
        let mut queue = Queue::new(limit);
        let (mut running, mut waiting, mut n_ended, mut n_refused) = (Vec::new(), 0, 0, 0);
        for &(tenant, samples) in &asks {
            match queue.offer(&share(tenant, 1.0), size(samples)) {
                Offer::Granted(grant) => running.push(grant),
                Offer::Queued(_) => waiting += 1,
                Offer::Full { waiting, .. } => { prop_assert_eq!(waiting, limit); n_refused += 1; }
            }
            let samples: u32 = running.iter().map(|grant: &Grant| grant.size.samples).sum();
            prop_assert!(running.len() <= 1 || samples <= LEAST_CAPACITY);
            prop_assert!(queue.n_waiting() <= limit);
        }
        for end in ends {
            if running.is_empty() {
                break;
            }
            let ended = running.swap_remove(end.index(running.len()));
            n_ended += 1;
            let now = queue.release(ended, None);
            waiting -= now.len();
            running.extend(now);
            // Work conserving: while requests wait, some request is running and the next one does not fit.
            prop_assert!(queue.n_waiting() == 0 || !running.is_empty());
            let fits = queue.turns.upcoming().is_some_and(|next| queue.fits(next));
            prop_assert!(!fits);
            let samples: u32 = running.iter().map(|grant| grant.size.samples).sum();
            prop_assert!(running.len() <= 1 || samples <= LEAST_CAPACITY);
        }
        prop_assert_eq!((queue.n_running(), queue.n_waiting()), (0, 0));
        prop_assert_eq!((waiting, n_ended + n_refused), (0, asks.len()));
        prop_assert_eq!(queue.running_by_tenant().count(), 0);
    }
}
