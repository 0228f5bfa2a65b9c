//! What a tenant may use per minute, and what it has used: several buckets, charged all or none.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::bucket::Bucket;

/// Most that a tenant may use per minute; `None` means no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quotas {
    /// Requests judged.
    pub requests: Option<NonZeroU64>,
    /// Samples planned.
    pub samples: Option<NonZeroU64>,
    /// Tokens of prompts and critiques.
    pub tokens: Option<NonZeroU64>,
}

/// One of the quotas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quota {
    /// Requests per minute.
    Requests,
    /// Samples per minute.
    Samples,
    /// Tokens per minute.
    Tokens,
}

/// What a request takes from its tenant's quotas, besides counting as one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amount {
    /// Samples planned.
    pub samples: u64,
    /// Tokens: estimated before, counted afterwards.
    pub tokens: u64,
}

/// A tenant has exhausted a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverQuota {
    /// The quota that takes longest to have room again.
    pub quota: Quota,
    /// Its limit per minute.
    pub per_minute: u64,
    /// When the same request may pass, if the tenant uses nothing else in the meantime.
    pub retry_after: Duration,
}

/// A tenant's buckets. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Account(Arc<Mutex<Buckets>>);

/// The charge of one request: refunded if dropped before work has begun.
#[derive(Debug)]
pub struct Charge {
    account: Account,
    amount: Amount,
    has_begun: bool,
}

#[derive(Debug, Default)]
struct Buckets {
    requests: Option<Bucket>,
    samples: Option<Bucket>,
    tokens: Option<Bucket>,
}

// === impl Quota ===

impl Quota {
    /// Every quota.
    pub const ALL: [Self; 3] = [Self::Requests, Self::Samples, Self::Tokens];

    /// Its name in the tenants file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests_per_minute",
            Self::Samples => "samples_per_minute",
            Self::Tokens => "tokens_per_minute",
        }
    }
}

// === impl Account ===

impl Account {
    /// Changes the quotas; what was used stays used.
    pub fn set_quotas(&self, quotas: Quotas) {
        let now = Instant::now().into_std();
        let mut buckets = self.0.lock();
        let Buckets { requests, samples, tokens } = &mut *buckets;
        for (bucket, quota) in
            [(requests, quotas.requests), (samples, quotas.samples), (tokens, quotas.tokens)]
        {
            match (bucket.as_mut(), quota) {
                (Some(bucket), Some(quota)) => bucket.set(quota.get(), now),
                (None, Some(quota)) => *bucket = Some(Bucket::new(quota.get(), now)),
                (_, None) => *bucket = None,
            }
        }
    }

    /// Charges a request to every quota, or to none.
    ///
    /// # Errors
    /// [`OverQuota`] if one of them has too little left.
    pub fn take(&self, amount: Amount) -> Result<Charge, OverQuota> {
        let now = Instant::now().into_std();
        let mut buckets = self.0.lock();
        let mut refused: Option<OverQuota> = None;
        for (quota, bucket, n) in buckets.each(amount) {
            let retry_after = bucket.wait_for(n, now);
            if !retry_after.is_zero() && refused.is_none_or(|known| known.retry_after < retry_after)
            {
                let per_minute = bucket.per_minute();
                refused = Some(OverQuota { quota, per_minute, retry_after });
            }
        }
        if let Some(refused) = refused {
            return Err(refused);
        }
        for (_, bucket, n) in buckets.each(amount) {
            bucket.take(n, now);
        }
        Ok(Charge { account: self.clone(), amount, has_begun: false })
    }
}

// === impl Buckets ===

impl Buckets {
    fn each(&mut self, amount: Amount) -> impl Iterator<Item = (Quota, &mut Bucket, u64)> {
        let Self { requests, samples, tokens } = self;
        let all = [
            (Quota::Requests, requests, 1),
            (Quota::Samples, samples, amount.samples),
            (Quota::Tokens, tokens, amount.tokens),
        ];
        all.into_iter().filter_map(|(quota, bucket, n)| Some((quota, bucket.as_mut()?, n)))
    }
}

// === impl Charge ===

impl Charge {
    /// Work for the request begins: from now on it must be paid for.
    pub fn begin(&mut self) {
        self.has_begun = true;
    }

    /// The request took `tokens`: corrects the estimate.
    pub fn settle(self, tokens: u64) {
        let now = Instant::now().into_std();
        if let Some(bucket) = &mut self.account.0.lock().tokens {
            bucket.take(tokens, now);
            bucket.give_back(self.amount.tokens, now);
        }
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if self.has_begun {
            return;
        }
        let now = Instant::now().into_std();
        for (_, bucket, n) in self.account.0.lock().each(self.amount) {
            bucket.give_back(n, now);
        }
    }
}

// === impl OverQuota ===

impl fmt::Display for OverQuota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { quota, per_minute, retry_after } = self;
        let seconds = retry_after.as_secs_f64();
        write!(
            f,
            "{} is {per_minute}, and too little of it is left; the same request may go in {seconds:.3} s",
            quota.name()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(requests: u64, samples: u64, tokens: u64) -> Account {
        let account = Account::default();
        account.set_quotas(Quotas {
            requests: NonZeroU64::new(requests),
            samples: NonZeroU64::new(samples),
            tokens: NonZeroU64::new(tokens),
        });
        account
    }

    fn begun(charge: Result<Charge, OverQuota>) -> Charge {
        let mut charge = charge.unwrap();
        charge.begin();
        charge
    }

    const REQUEST: Amount = Amount { samples: 8, tokens: 1000 };

    #[tokio::test(start_paused = true)]
    async fn a_quota_that_is_used_up_says_which_and_when() {
        let account = account(100, 16, 0);
        let _first = begun(account.take(REQUEST));
        let _second = begun(account.take(REQUEST));
        let refused = account.take(REQUEST).unwrap_err();
        assert_eq!((refused.quota, refused.per_minute), (Quota::Samples, 16));
        assert_eq!(refused.retry_after, Duration::from_secs(30));
        tokio::time::advance(refused.retry_after).await;
        assert!(account.take(REQUEST).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_refused_or_never_begins_takes_nothing() {
        let account = account(2, 8, 0);
        drop(account.take(REQUEST).unwrap());
        let _first = begun(account.take(REQUEST));
        for _ in 0..5 {
            assert_eq!(account.take(REQUEST).unwrap_err().quota, Quota::Samples);
        }
        let none = Amount { samples: 0, tokens: 0 };
        let _second = begun(account.take(none));
        assert_eq!(account.take(none).unwrap_err().quota, Quota::Requests);
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_are_paid_as_they_were_counted() {
        let account = account(0, 0, 1000);
        begun(account.take(REQUEST)).settle(100);
        begun(account.take(Amount { samples: 8, tokens: 900 })).settle(2900);
        let refused = account.take(Amount { samples: 8, tokens: 1 }).unwrap_err();
        assert_eq!(refused.quota, Quota::Tokens);
        assert_eq!(refused.retry_after, Duration::from_millis(60 * 2001));
    }

    #[tokio::test(start_paused = true)]
    async fn another_quota_keeps_what_was_taken_and_none_takes_all_bounds_away() {
        let account = account(0, 16, 0);
        let _first = begun(account.take(REQUEST));
        let quota = |samples| Quotas { samples: NonZeroU64::new(samples), ..Quotas::default() };
        account.set_quotas(quota(60));
        assert_eq!(
            account.take(Amount { samples: 9, tokens: 0 }).unwrap_err().retry_after,
            Duration::from_secs(1)
        );
        account.set_quotas(quota(0));
        assert!(account.take(Amount { samples: 1 << 40, tokens: 0 }).is_ok());
    }
}
