//! What the controller counts, for Prometheus. docs/kubernetes.md says what each number means.

use std::sync::atomic::{AtomicBool, AtomicU64};

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Labels = Vec<(&'static str, &'static str)>;

/// All that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub(super) reconciles: Family<Labels, Counter>,
    pub(super) seconds: Histogram,
    pub(super) writes: Family<Labels, Counter>,
    pub(super) transactions: Family<Labels, Counter>,
    pub(super) patches: Family<Labels, Counter>,
    pub(super) events: Family<Labels, Counter>,
    pub(super) drifts: Counter,
    pub(super) services: Gauge,
    pub(super) waiting: Gauge,
    pub(super) failing: Gauge,
    pub(super) leads: Gauge,
    pub(super) revision: Gauge<u64, AtomicU64>,
    ready: AtomicBool,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("forebay_kubernetes");
        let it = Self {
            registry: Registry::default(),
            reconciles: Family::default(),
            seconds: Histogram::new(exponential_buckets(0.001, 4.0, 8)),
            writes: Family::default(),
            transactions: Family::default(),
            patches: Family::default(),
            events: Family::default(),
            drifts: Counter::default(),
            services: Gauge::default(),
            waiting: Gauge::default(),
            failing: Gauge::default(),
            leads: Gauge::default(),
            revision: Gauge::default(),
            ready: AtomicBool::new(false),
        };
        registry.register(
            "reconciles",
            "Services that were reconciled, by operation and result",
            it.reconciles.clone(),
        );
        registry.register("reconcile_seconds", "How long a reconcile took", it.seconds.clone());
        registry.register("writes", "Resources that were written to the server, by kind", it.writes.clone());
        registry.register(
            "transactions",
            "Transactions that the server was sent, by result",
            it.transactions.clone(),
        );
        registry.register("patches", "Patches of Services and nodes, by what they patch", it.patches.clone());
        registry.register("events", "Events that were told, by type", it.events.clone());
        registry.register(
            "drifts",
            "How often somebody else had changed what belongs to the cluster",
            it.drifts.clone(),
        );
        registry.register("services", "Services that are served", it.services.clone());
        registry.register("waiting", "Services that wait to be reconciled", it.waiting.clone());
        registry.register("failing", "Services among them whose last reconcile failed", it.failing.clone());
        registry.register("leads", "Whether this controller leads", it.leads.clone());
        registry.register("server_revision", "The revision of the server that is known", it.revision.clone());
        Self { registry, ..it }
    }
}

impl Metrics {
    /// Everything as of now.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Only a writer that fails makes this fail, and text never does.
        if encode(&mut text, &self.registry).is_err() {
            tracing::error!("metrics could not be written");
        }
        text
    }

    /// Whether the cluster and the server are known.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub(super) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, std::sync::atomic::Ordering::Relaxed);
    }
}
