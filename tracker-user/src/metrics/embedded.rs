//! A tracker's registry as one collector in the registry of the program that embeds it.
//!
//! Parts of a tracker register metrics while it runs. As the embedder's registry asks the tracker's for all of them, it
//! shows those too, and one removal takes all of them away again: the next tracker can have their place.

use std::{collections::HashMap, fmt};

use prometheus::{
    Registry,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// What the registry knows the collector by.
const NAME: &str = "xdp_tracker";
const HELP: &str = "All metrics of the tracker.";

/// Shows what another registry has.
pub(super) struct Embedded {
    inner: Registry,
    desc: Desc,
}

impl Embedded {
    pub(super) fn new(inner: &Registry) -> prometheus::Result<Self> {
        Ok(Self { inner: inner.clone(), desc: desc()? })
    }

    /// Removes that of a tracker from `outer`, if there is one.
    pub(super) fn remove(outer: &Registry) {
        if let Ok(any) = Self::new(&Registry::new()) {
            // An error says that there is none.
            let _ = outer.unregister(Box::new(any));
        }
    }
}

fn desc() -> prometheus::Result<Desc> {
    Desc::new(NAME.to_owned(), HELP.to_owned(), Vec::new(), HashMap::new())
}

impl Collector for Embedded {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.inner.gather()
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    fn names(registry: &Registry) -> Vec<String> {
        registry.gather().iter().map(|family| family.name().to_owned()).collect()
    }

    #[test]
    fn a_registry_shows_one_tracker_at_a_time_and_all_that_it_registers_later() {
        let outer = Registry::new();
        let metrics = Metrics::shown_by(&outer).unwrap();
        Metrics::shown_by(&outer).unwrap_err();
        metrics.register(prometheus::IntGauge::new("later", "Later.").unwrap()).unwrap();
        let shown = names(&outer);
        assert!(shown.contains(&"later".to_owned()), "{shown:?}");
        assert!(!shown.iter().any(|name| name.starts_with("process_")), "{shown:?}");
        metrics.hide();
        assert!(names(&outer).is_empty());
        Metrics::shown_by(&outer).unwrap();
    }
}
