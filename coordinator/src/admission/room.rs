//! Room for the texts of waiting requests.

use std::collections::HashMap;
use std::sync::Arc;

use jury_grm::domain::limits;
use parking_lot::Mutex;

use super::share::Share;

/// The most memory that a request takes beside its text: ids, settings, and its task. Without it, any number of tiny
/// requests could wait.
pub const BYTES_A_REQUEST: usize = 4 << 10;

/// A limited number of bytes, and how many of them each tenant has taken. Clones share it.
#[derive(Debug, Clone)]
pub struct Room {
    limit: usize,
    taken: Arc<Mutex<Taken>>,
}

/// Room that is taken; dropping it returns it.
#[derive(Debug)]
pub struct Held {
    n_bytes: usize,
    tenant: Arc<str>,
    taken: Arc<Mutex<Taken>>,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom {
    /// Bytes taken: by the tenant, or by all.
    pub n_taken: usize,
    /// Limit in bytes.
    pub limit: usize,
    /// Whether the tenant's own part is full, rather than the whole.
    pub of_tenant: bool,
}

#[derive(Debug, Default)]
struct Taken {
    n_bytes: usize,
    by_tenant: HashMap<Arc<str>, usize>,
}

// === impl Room ===

impl Room {
    /// Room for `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, taken: Arc::default() }
    }

    /// Takes room for a request with `n_bytes` of text. A tenant's part is always large enough for one item of the
    /// largest size.
    ///
    /// # Errors
    /// [`NoRoom`] if there is not enough.
    pub fn take(&self, share: &Share, n_bytes: usize) -> Result<Held, NoRoom> {
        let n_bytes = n_bytes.saturating_add(BYTES_A_REQUEST);
        let of_tenant = share.of(self.limit).max(limits::MAX_ITEM_BYTES + BYTES_A_REQUEST);
        let mut taken = self.taken.lock();
        let by_tenant = taken.by_tenant.get(&share.tenant).copied().unwrap_or(0);
        if !share.is_all() && by_tenant.saturating_add(n_bytes) > of_tenant {
            return Err(NoRoom { n_taken: by_tenant, limit: of_tenant, of_tenant: true });
        }
        if taken.n_bytes.saturating_add(n_bytes) > self.limit {
            return Err(NoRoom { n_taken: taken.n_bytes, limit: self.limit, of_tenant: false });
        }
        taken.n_bytes += n_bytes;
        *taken.by_tenant.entry(Arc::clone(&share.tenant)).or_default() += n_bytes;
        let tenant = Arc::clone(&share.tenant);
        Ok(Held { n_bytes, tenant, taken: Arc::clone(&self.taken) })
    }

    /// Bytes taken now.
    #[cfg(test)]
    pub(super) fn n_taken(&self) -> usize {
        self.taken.lock().n_bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        taken.n_bytes -= self.n_bytes;
        if let Some(by_tenant) = taken.by_tenant.get_mut(&self.tenant) {
            *by_tenant -= self.n_bytes;
            if *by_tenant == 0 {
                taken.by_tenant.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_cannot_take_the_room_of_others_and_gives_back_what_it_took() {
        let room = Room::new(10 * limits::MAX_ITEM_BYTES);
        let half = |tenant: &str| Share { tenant: tenant.into(), weight: 1, queue_share: 0.5 };
        let item = limits::MAX_ITEM_BYTES - BYTES_A_REQUEST;
        let held: Vec<Held> = (0..5).map(|_| room.take(&half("a"), item).unwrap()).collect();
        let refused = room.take(&half("a"), item).unwrap_err();
        assert!(refused.of_tenant, "{refused:?}");
        let other = room.take(&half("b"), item).unwrap();
        drop((held, other));
        assert_eq!((room.n_taken(), room.taken.lock().by_tenant.len()), (0, 0));
    }

    #[test]
    fn a_small_part_still_holds_one_item_of_the_largest_size() {
        let room = Room::new(10 * limits::MAX_ITEM_BYTES);
        let tiny = Share { queue_share: 0.001, ..Share::default() };
        let held = room.take(&tiny, limits::MAX_ITEM_BYTES).unwrap();
        assert!(room.take(&tiny, 1).is_err());
        drop(held);
    }
}
