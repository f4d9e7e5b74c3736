//! Hooks that stay over a reload.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::{
    config::HookConfig,
    pipeline::{Offload, PreHook},
};

/// Hooks in force, by their configuration. A reload takes over each hook whose configuration it leaves as it is, with
/// the keys, answers and lists that the hook has. So a service that is down stops no change of another key.
pub(super) struct KeptHooks<H: ?Sized>(Mutex<Vec<(HookConfig, Weak<H>)>>);

impl<H: ?Sized> Default for KeptHooks<H> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<H: ?Sized> KeptHooks<H> {
    /// The hook with this configuration: the one in force, else one that `make` makes. A hook is forgotten when no
    /// pipeline has it any more.
    ///
    /// # Errors
    /// Those of `make`.
    pub(super) fn get(
        &self,
        config: &HookConfig,
        make: impl FnOnce() -> anyhow::Result<Arc<H>>,
    ) -> anyhow::Result<Arc<H>> {
        if let Some(hook) = self.find(config) {
            return Ok(hook);
        }
        // Takes long where a service is asked.
        let hook = make()?;
        self.lock().push((config.clone(), Arc::downgrade(&hook)));
        Ok(hook)
    }

    fn find(&self, config: &HookConfig) -> Option<Arc<H>> {
        let mut hooks = self.lock();
        hooks.retain(|(_, hook)| hook.strong_count() > 0);
        let same = hooks.iter().filter(|(other, _)| other == config);
        same.filter_map(|(_, hook)| hook.upgrade()).next()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(HookConfig, Weak<H>)>> {
        // A thread that panicked has left it whole: each change is one call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The hooks that leave grants, in their order. The grants of one configuration count under the next one as long as
/// these hooks are the same: the kernel judges by all other hooks itself, or leaves the announce to the daemon.
#[derive(Default)]
pub(super) struct Grantors(Vec<Weak<dyn PreHook>>);

impl Grantors {
    /// Those among the hooks of a pipeline.
    pub(super) fn of(hooks: &[Arc<dyn PreHook>]) -> Self {
        let grant = hooks.iter().filter(|hook| matches!(hook.offload(), Offload::Grants));
        Self(grant.map(Arc::downgrade).collect())
    }

    /// Whether these are the same hooks, not others with the same configuration.
    pub(super) fn are(&self, others: &Self) -> bool {
        self.0.len() == others.0.len()
            && self.0.iter().zip(&others.0).all(|(one, other)| Weak::ptr_eq(one, other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{PortApprovalConfig, ReportConfig};

    fn report(batch_max: u32) -> HookConfig {
        HookConfig::Report(ReportConfig { batch_max, ..ReportConfig::default() })
    }

    fn get(kept: &KeptHooks<u32>, config: &HookConfig, new: u32) -> Arc<u32> {
        kept.get(config, || Ok(Arc::new(new))).unwrap()
    }

    #[test]
    fn a_hook_is_the_same_as_long_as_its_configuration_is() {
        let kept = KeptHooks::default();
        let hook = get(&kept, &report(1), 1);
        assert_eq!(*get(&kept, &report(1), 2), 1);
        assert_eq!(*get(&kept, &report(2), 3), 3);
        drop(hook);
        assert_eq!(*get(&kept, &report(1), 4), 4, "a hook that no pipeline has is forgotten");
    }

    #[test]
    fn a_hook_that_cannot_be_made_is_not_kept() {
        let kept = KeptHooks::default();
        let port = HookConfig::PortApproval(PortApprovalConfig::default());
        assert!(kept.get(&port, || anyhow::bail!("no")).is_err());
        assert_eq!(*get(&kept, &port, 1), 1);
    }
}
