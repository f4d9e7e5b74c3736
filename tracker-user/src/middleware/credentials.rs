//! What tokens are verified by, where a verified token leaves a grant.

use std::{
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use crate::pipeline::{AnnounceRequest, Grant, GrantSink, Refusal};

/// How long a grant lasts where nothing says when it ends.
pub(super) const GRANT_WITHOUT_END: Duration = Duration::from_secs(3600);

/// Keys or the like, which may be exchanged. Grants by those that are gone are gone too: none is
/// made while they are exchanged, and all are revoked after that.
pub(super) struct Credentials<T> {
    current: RwLock<T>,
    /// How often some that were there were taken away.
    revision: AtomicU64,
    grants: Arc<dyn GrantSink>,
}

impl<T> Credentials<T> {
    pub(super) fn new(first: T, grants: Arc<dyn GrantSink>) -> Self {
        Self { current: RwLock::new(first), revision: AtomicU64::new(0), grants }
    }

    /// Another number whenever some that were there have been taken away.
    pub(super) fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// Leaves a grant until the time that `verify` returns, if it returns one.
    ///
    /// # Errors
    /// That of `verify`.
    pub(super) fn approve(
        &self,
        request: &AnnounceRequest,
        verify: impl FnOnce(&T) -> Result<Option<SystemTime>, Refusal>,
    ) -> Result<(), Refusal> {
        // Held until the grant is made; a panic leaves the credentials whole.
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(expires_at) = verify(&current)? {
            let (info_hash, address) = (request.info_hash, request.peer.ip());
            self.grants.grant(Grant { info_hash, address, expires_at });
        }
        Ok(())
    }

    /// Puts `next` in the place of the present credentials, and revokes the grants if it does not
    /// contain all of those.
    pub(super) fn replace(&self, next: T, contains: impl FnOnce(&T, &T) -> bool) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let are_all_kept = contains(&next, &current);
        *current = next;
        drop(current);
        if !are_all_kept {
            self.revision.fetch_add(1, Ordering::Release);
            self.grants.revoke_all();
        }
    }
}

/// A hook that is no more grants nothing.
impl<T> Drop for Credentials<T> {
    fn drop(&mut self) {
        self.grants.revoke_all();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::{collections::BTreeSet, sync::Mutex};

    use super::*;
    use crate::middleware::tests::announce_of;
    use tracker_common::id::InfoHash;

    /// Remembers the grants in force.
    #[derive(Default)]
    pub(crate) struct Ledger(Mutex<Vec<Grant>>);

    impl Ledger {
        pub(crate) fn grants(&self) -> Vec<Grant> {
            self.0.lock().unwrap().clone()
        }
    }

    impl GrantSink for Ledger {
        fn grant(&self, grant: Grant) {
            self.0.lock().unwrap().push(grant);
        }

        fn revoke_all(&self) {
            self.0.lock().unwrap().clear();
        }
    }

    #[test]
    fn who_is_approved_gets_a_grant_and_who_is_refused_none() {
        let ledger = Arc::new(Ledger::default());
        let credentials = Credentials::new(BTreeSet::from([1]), ledger.clone());
        let request = announce_of(InfoHash([1; 20]));
        let refused = credentials.approve(&request, |_| Err(Refusal::Client("no".into())));
        assert!(refused.is_err() && ledger.grants().is_empty());
        credentials.approve(&request, |_| Ok(None)).unwrap();
        assert_eq!(ledger.grants(), []);
        credentials.approve(&request, |_| Ok(Some(SystemTime::UNIX_EPOCH))).unwrap();
        assert_eq!(
            ledger.grants(),
            [Grant {
                info_hash: InfoHash([1; 20]),
                address: request.peer.ip(),
                expires_at: SystemTime::UNIX_EPOCH
            }]
        );
    }

    #[test]
    fn grants_outlive_an_exchange_only_if_nothing_is_taken_away_by_it() {
        let ledger = Arc::new(Ledger::default());
        let credentials = Credentials::new(BTreeSet::from([1]), ledger.clone());
        let request = announce_of(InfoHash([1; 20]));
        credentials.approve(&request, |_| Ok(Some(SystemTime::UNIX_EPOCH))).unwrap();
        credentials.replace([1, 2].into(), BTreeSet::is_superset);
        assert_eq!((ledger.grants().len(), credentials.revision()), (1, 0));
        credentials.replace([2].into(), BTreeSet::is_superset);
        assert_eq!((ledger.grants().len(), credentials.revision()), (0, 1));
    }

    #[test]
    fn grants_end_with_the_hook() {
        let ledger = Arc::new(Ledger::default());
        let credentials = Credentials::new((), ledger.clone());
        let request = announce_of(InfoHash([1; 20]));
        credentials.approve(&request, |()| Ok(Some(SystemTime::UNIX_EPOCH))).unwrap();
        drop(credentials);
        assert_eq!(ledger.grants(), []);
    }
}
