//! Scenarios: what becomes of Services, step by step, without a cluster and without a server.

mod scenario;
mod show;
mod state;
mod store;
#[cfg(test)]
mod together;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1 as core;
use serde_json::{Value, json};

pub use scenario::{BadScenario, Scenario};
pub use show::text;

use crate::config::Config;
use crate::documents::Write;
use crate::event::Event;
use crate::failure::{Class, Failure};
use crate::node;
use crate::service::Key;
use crate::sync::{self, FINALIZER, Intent, Outcome, Reconcile};
use crate::translate::placement::Placement;
use crate::translate::{Cluster, Operation, find};
use scenario::{Op, Step};
use store::Store;

/// What came of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// One for each step.
    pub steps: Vec<StepReport>,
    /// What there was before the first of them.
    pub before: Value,
}

/// What came of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// What was done: `ensure`, `update`, `delete` or `get`.
    pub operation: &'static str,
    /// To which Service.
    pub service: Key,
    /// Why it could not be done.
    pub error: Option<Failure>,
    /// The addresses it is called at.
    pub ingress: Vec<String>,
    /// Whether there is anything of it.
    pub exists: bool,
    /// Everything there is now.
    pub state: Value,
    /// What was told, with the Service it was told of.
    pub events: Vec<(Event, Key)>,
    /// Who is where, with several standard load balancers.
    pub placement: Option<Value>,
    /// What was written.
    pub writes: Vec<String>,
}

impl Report {
    /// Whether any step failed.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.steps.iter().any(|step| step.error.is_some())
    }

    /// As programs read it.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({ "steps": self.steps.iter().map(StepReport::json).collect::<Vec<_>>() })
    }
}

impl StepReport {
    fn json(&self) -> Value {
        let event = |(event, service): &(Event, Key)| {
            let kind = format!("{:?}", event.kind);
            json!({ "type": kind, "reason": event.reason, "message": event.message, "service": service })
        };
        let error = self.error.as_ref().map(|it| json!({ "message": it.message, "class": it.class }));
        let mut step = json!({
            "error": error,
            "ingress": self.ingress,
            "exists": self.exists,
            "state": self.state,
            "events": self.events.iter().map(event).collect::<Vec<_>>(),
        });
        if let Some(placement) = &self.placement {
            step["placement"] = placement.clone();
        }
        step["writes"] = json!(self.writes);
        step
    }
}

/// Plays a scenario. A cloud config that cannot be used makes every step fail with what is wrong with it.
#[must_use]
pub fn run(scenario: &Scenario) -> Report {
    let (config, broken) = match Config::read(&scenario.config) {
        Ok(config) => (config, None),
        Err(error) => (
            Config::read(&Value::Null).unwrap_or_else(|_| unreachable!("what is silent has defaults")),
            Some(Failure::new(Class::Config, error.to_string())),
        ),
    };
    let store = Store::of(scenario, &config);
    let mut world = World {
        scenario,
        config: &config,
        store,
        services: BTreeMap::new(),
        gone: BTreeMap::new(),
        nodes: scenario.nodes.clone(),
        endpoints: BTreeMap::new(),
        kept: BTreeSet::new(),
        placement: Placement::default(),
    };
    let before = state::of(&world.store.documents);
    let steps = scenario.steps.iter().map(|step| world.play(step, broken.as_ref())).collect();
    Report { steps, before }
}

/// Everything while a scenario is played.
struct World<'a> {
    scenario: &'a Scenario,
    config: &'a Config,
    store: Store,
    services: BTreeMap<Key, core::Service>,
    /// Services that are gone, for whoever asks whether anything of them is left.
    gone: BTreeMap<Key, core::Service>,
    nodes: Vec<core::Node>,
    endpoints: BTreeMap<Key, BTreeSet<String>>,
    /// None: a scenario says all there is.
    kept: BTreeSet<(String, String)>,
    placement: Placement,
}

impl World<'_> {
    fn play(&mut self, step: &Step, broken: Option<&Failure>) -> StepReport {
        if let Some(nodes) = &step.nodes {
            self.nodes.clone_from(nodes);
        }
        let key = step.key();
        if let Some(manifest) = &step.service {
            self.remember(&key, manifest);
        }
        if let Some(nodes) = &step.endpoint_nodes {
            self.endpoints.insert(key.clone(), nodes.iter().cloned().collect());
        }
        let mut report = StepReport {
            operation: step.op.name(),
            service: key.clone(),
            error: broken.cloned(),
            ingress: Vec::new(),
            exists: false,
            state: Value::Null,
            events: Vec::new(),
            placement: None,
            writes: Vec::new(),
        };
        let stored = self.services.get(&key).cloned();
        let manifest = stored.clone().or_else(|| self.gone.get(&key).cloned());
        if broken.is_none() {
            match (step.op.operation(), &stored, &manifest) {
                (Some(operation), Some(manifest), _)
                | (Some(operation @ Operation::Delete), None, Some(manifest)) => {
                    self.reconcile(&key, manifest, operation, &mut report);
                }
                (Some(Operation::Ensure), None, _) => {
                    let message = format!("there is no Service {key}: a step before has to give it");
                    report.error = Some(Failure::new(Class::Refused, message));
                }
                // Who is gone is not updated, and can be asked for.
                (Some(Operation::Update | Operation::Delete), None, _) | (None, _, _) => {}
            }
        }
        let manifest = self.services.get(&key).or(manifest.as_ref());
        if let Some(manifest) = manifest {
            let found = find(&self.cluster(), &self.store.documents, &self.placement, manifest);
            report.exists = found.exists;
            if step.op == Op::Get {
                report.ingress = found.ingress.iter().map(ToString::to_string).collect();
            }
        }
        if report.ingress.is_empty()
            && step.op != Op::Get
            && let Some(stored) = self.services.get(&key)
        {
            report.ingress = status(stored);
        }
        report.state = state::of(&self.store.documents);
        report.placement = self.config.is_multiple().then(|| state::placement(self.config, &self.placement));
        report
    }

    /// What a step gives of a Service; what others have written on it stays.
    fn remember(&mut self, key: &Key, manifest: &core::Service) {
        let mut manifest = manifest.clone();
        let stored = self.services.get(key);
        let former = stored.or_else(|| self.gone.get(key));
        let meta = &mut manifest.metadata;
        if meta.uid.as_deref().unwrap_or_default().is_empty() {
            let there = former.and_then(|it| it.metadata.uid.clone());
            meta.uid = Some(there.unwrap_or_else(|| scenario::uid_of(key)));
        }
        if meta.finalizers.is_none() {
            meta.finalizers = stored.and_then(|it| it.metadata.finalizers.clone());
        }
        if manifest.status.is_none() {
            manifest.status = stored.and_then(|it| it.status.clone());
        }
        self.services.insert(key.clone(), manifest);
    }

    fn reconcile(
        &mut self,
        key: &Key,
        manifest: &core::Service,
        operation: Operation,
        report: &mut StepReport,
    ) {
        let operation = match (operation, sync::intent(manifest)) {
            (Operation::Delete, _) => Operation::Delete,
            (operation, Intent::Ensure) => operation,
            (Operation::Ensure, Intent::Release) => Operation::Delete,
            (_, Intent::Ignore | Intent::Release) => return,
        };
        if operation == Operation::Ensure {
            self.set_finalizer(key, true);
        }
        let exists = find(&self.cluster(), &self.store.documents, &self.placement, manifest).exists;
        let has_nodes = !node::handed_over(&self.nodes).is_empty();
        let mut events = sync::events_before(operation, exists, has_nodes);
        let mut reconcile = Reconcile::new(operation);
        let result = loop {
            let step = reconcile.step(&self.cluster(), &self.store.documents, &self.placement, manifest);
            self.placement = step.placement;
            if let Err((write, failure)) = self.write(step.writes, &mut report.writes) {
                events.extend(reconcile.events.split_off(0));
                events.extend(sync::event_of_unwritten(&write, &failure.message));
                break Err(failure);
            }
            if let Some(end) = step.end {
                break end;
            }
        };
        events.extend(reconcile.events);
        if result != Ok(Outcome::Idle) {
            events.extend(sync::event_after(operation, &result));
            report.events.extend(events.into_iter().map(|event| (event, key.clone())));
        }
        match result {
            Ok(Outcome::Served(ingress)) => {
                report.ingress = ingress.iter().map(ToString::to_string).collect();
                if operation == Operation::Ensure {
                    self.set_status(key, &report.ingress);
                }
            }
            Ok(Outcome::Gone) if report.operation == Op::Delete.name() => {
                let gone = self.services.remove(key);
                self.gone.extend(gone.map(|manifest| (key.clone(), manifest)));
                self.endpoints.remove(key);
            }
            Ok(Outcome::Gone) => {
                self.set_finalizer(key, false);
                self.set_status(key, &[]);
            }
            Ok(Outcome::Idle) => {}
            Err(failure) => report.error = Some(failure),
        }
    }

    /// Does writes until one is refused; says which, and why.
    fn write(&mut self, writes: Vec<Write>, done: &mut Vec<String>) -> Result<(), (Write, Failure)> {
        for write in writes {
            let said = write.to_string();
            self.store.write(write.clone()).map_err(|failure| (write, failure))?;
            done.push(said);
        }
        Ok(())
    }

    fn cluster(&self) -> Cluster<'_> {
        Cluster {
            name: &self.scenario.cluster_name,
            config: self.config,
            services: &self.services,
            nodes: &self.nodes,
            namespaces: &self.scenario.namespaces,
            endpoints: &self.endpoints,
            kept: &self.kept,
        }
    }

    fn set_finalizer(&mut self, key: &Key, wanted: bool) {
        if let Some(manifest) = self.services.get_mut(key) {
            let finalizers = manifest.metadata.finalizers.get_or_insert_default();
            finalizers.retain(|it| it != FINALIZER);
            if wanted {
                finalizers.push(FINALIZER.to_owned());
            }
        }
    }

    fn set_status(&mut self, key: &Key, ingress: &[String]) {
        if let Some(manifest) = self.services.get_mut(key) {
            sync::set_status(manifest, ingress);
        }
    }
}

fn status(manifest: &core::Service) -> Vec<String> {
    let status = manifest.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|it| it.ingress.as_deref()).unwrap_or_default();
    ingress.iter().filter_map(|it| it.ip.clone()).collect()
}
