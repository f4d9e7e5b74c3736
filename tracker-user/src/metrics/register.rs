//! Registers metrics.

use prometheus::{Registry, core::Collector};

/// Registers a collector, and returns it.
///
/// # Errors
/// When one of its metrics is registered already.
pub(super) fn register<C>(registry: &Registry, collector: C) -> prometheus::Result<C>
where
    C: Collector + Clone + 'static,
{
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
