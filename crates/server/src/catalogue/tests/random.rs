//! Whatever is written in whatever order, the catalogue is a map of documents with etags, and so is what a new process finds.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // API-2, API-3
    #[test]
    fn the_catalogue_is_a_map_of_documents_with_etags(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(play(&steps));
    }
}

/// What somebody does with a catalogue.
#[derive(Clone, Debug)]
enum Step {
    Write { writes: Vec<One>, keep_equal: bool, detach: bool, dry_run: bool },
    PutProbe { balancer: u8, probe: u8, port: u16, condition: When },
    RemoveProbe { balancer: u8, probe: u8 },
    RemovePool { balancer: u8 },
    Reopen,
}

/// One of several writes at once.
#[derive(Clone, Debug)]
enum One {
    Put(Name, Text, When),
    Delete(Name, When),
}

/// What goes by what name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Address(u8),
    Balancer(u8),
    Interface(u8),
}

/// What a resource says: `number` in its tags; a balancer also its address, and an interface the balancers it serves.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Text {
    number: u16,
    address: u8,
    /// With their ports, in the order in which they came.
    probes: Vec<(u8, u16)>,
    has_pool: bool,
    serves: BTreeSet<u8>,
}

/// Under which condition.
#[derive(Clone, Debug)]
enum When {
    Always,
    Present,
    Absent,
    AsItIs,
    /// As it was some time before, or elsewhere.
    AsItWas(Index),
}

/// The reference: documents and, for each part of them, the write that it has its etag of.
#[derive(Clone, Debug, Default)]
struct Reference {
    texts: BTreeMap<Name, Text>,
    stamps: BTreeMap<(Name, String), u64>,
    writes: u64,
    revision: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Refusal {
    Precondition,
    InUse,
    Invalid,
    Twice,
}

impl Refusal {
    fn of(refused: &Refused) -> Self {
        match refused {
            Refused::Precondition { .. } => Self::Precondition,
            Refused::InUse { .. } => Self::InUse,
            Refused::Invalid(_) => Self::Invalid,
            Refused::Twice { .. } => Self::Twice,
            Refused::Wrong(_)
            | Refused::Conflict(_)
            | Refused::Revision { .. }
            | Refused::NotFound { .. }
            | Refused::ParentNotFound { .. }
            | Refused::Store(_) => panic!("{refused}"),
        }
    }
}

async fn play(steps: &[Step]) {
    let mut bench = Bench::new().await;
    bench.put(network()).await.unwrap();
    let mut reference = Reference { revision: 1, ..Reference::default() };
    let mut etags: Vec<String> = vec!["W/\"never\"".to_owned()];
    for step in steps {
        let edit = match step {
            Step::Reopen => {
                bench = Bench::on(Arc::clone(&bench.store)).await;
                reference.check(&bench.snapshot());
                continue;
            }
            Step::Write { writes, keep_equal, detach, dry_run } => {
                let mut edit = all(writes.iter().map(One::edit));
                (edit.keep_equal, edit.detach, edit.dry_run) = (*keep_equal, *detach, *dry_run);
                edit
            }
            Step::PutProbe { .. } | Step::RemoveProbe { .. } | Step::RemovePool { .. } => {
                match reference.child_edit(step) {
                    Some(edit) => edit,
                    None => continue,
                }
            }
        };
        let conditions: Vec<(Name, Condition)> = step.conditions(&bench.snapshot(), &etags);
        let mut after = reference.clone();
        let wanted = after.write(step, &conditions, &bench.snapshot());
        let found = bench
            .catalogue
            .write(move |now| {
                for (name, condition) in &conditions {
                    let found = now.get(&name.id()).map(|record| record.etag(&[]));
                    condition.of_put(&name.id().to_string(), found)?;
                }
                Ok(edit)
            })
            .await;
        let found = found.map(|_| ()).map_err(|refused| Refusal::of(&refused));
        assert_eq!(found, wanted, "{step:?} on {reference:?}");
        if wanted.is_ok() && !matches!(step, Step::Write { dry_run: true, .. }) {
            reference = after;
        }
        reference.check(&bench.snapshot());
        etags.extend(bench.snapshot().records.values().map(|record| record.etag(&[]).to_owned()));
    }
    bench.is_durable().await;
}

impl Reference {
    /// Does a step, or says why not.
    fn write(
        &mut self,
        step: &Step,
        conditions: &[(Name, Condition)],
        now: &Snapshot,
    ) -> Result<(), Refusal> {
        for (name, condition) in conditions {
            let found = now.get(&name.id()).map(|record| record.etag(&[]));
            if condition.of_put("", found).is_err() {
                return Err(Refusal::Precondition);
            }
        }
        let before = self.texts.clone();
        self.writes += 1;
        let mut changed = BTreeSet::new();
        match step {
            Step::Write { writes, keep_equal, detach, .. } => {
                let names: BTreeSet<Name> = writes.iter().map(One::name).collect();
                if names.len() != writes.len() {
                    return Err(Refusal::Twice);
                }
                for one in writes {
                    match one {
                        One::Put(name, text, _)
                            if *keep_equal && before.get(name) == Some(&text.of(*name)) => {}
                        One::Put(name, text, _) => {
                            self.texts.insert(*name, text.of(*name));
                            self.stamp_all(*name);
                            changed.insert(*name);
                        }
                        One::Delete(name, _) => {
                            if self.texts.remove(name).is_some() {
                                changed.insert(*name);
                            }
                        }
                    }
                }
                if *detach {
                    changed.extend(self.detach(&before, &names));
                }
            }
            Step::PutProbe { balancer, probe, port, .. } => {
                let name = Name::Balancer(*balancer);
                self.texts.get_mut(&name).unwrap().put_probe(*probe, *port);
                self.stamp(name, &format!("probes/p{probe}"));
                changed.insert(name);
            }
            Step::RemoveProbe { balancer, probe } => {
                let name = Name::Balancer(*balancer);
                self.texts.get_mut(&name).unwrap().probes.retain(|(one, _)| one != probe);
                self.stamp(name, "");
                changed.insert(name);
            }
            Step::RemovePool { balancer } => {
                let name = Name::Balancer(*balancer);
                self.texts.get_mut(&name).unwrap().has_pool = false;
                self.stamp(name, "");
                changed.insert(name);
            }
            Step::Reopen => {}
        }
        self.revision += u64::from(!changed.is_empty());
        let parts: BTreeSet<(Name, String)> =
            self.texts.iter().flat_map(|(name, text)| text.parts(*name)).collect();
        self.stamps.retain(|part, _| parts.contains(part));
        self.judge(&before)
    }

    fn judge(&self, before: &BTreeMap<Name, Text>) -> Result<(), Refusal> {
        let has_pool = |texts: &BTreeMap<Name, Text>, balancer: u8| {
            texts.get(&Name::Balancer(balancer)).is_some_and(|text| text.has_pool)
        };
        let mut addresses = BTreeSet::new();
        let (mut in_use, mut invalid) = (false, false);
        for (name, text) in &self.texts {
            if let Name::Balancer(_) = name {
                let address = Name::Address(text.address);
                in_use |= before.contains_key(&address) && !self.texts.contains_key(&address);
                invalid |= !self.texts.contains_key(&address) || !addresses.insert(address);
            }
            for balancer in &text.serves {
                let is_there = has_pool(&self.texts, *balancer);
                in_use |= has_pool(before, *balancer) && !is_there;
                invalid |= !is_there;
            }
        }
        match (in_use, invalid) {
            (true, _) => Err(Refusal::InUse),
            (false, true) => Err(Refusal::Invalid),
            (false, false) => Ok(()),
        }
    }

    /// Interfaces that are not written leave pools that were there.
    fn detach(&mut self, before: &BTreeMap<Name, Text>, written: &BTreeSet<Name>) -> Vec<Name> {
        let had = |text: Option<&Text>| text.is_some_and(|text| text.has_pool);
        let gone: BTreeSet<u8> = (0..3)
            .filter(|balancer| had(before.get(&Name::Balancer(*balancer))))
            .filter(|balancer| !had(self.texts.get(&Name::Balancer(*balancer))))
            .collect();
        let mut detached = Vec::new();
        for (name, text) in &mut self.texts {
            let count = text.serves.len();
            if !written.contains(name) {
                text.serves.retain(|balancer| !gone.contains(balancer));
            }
            if text.serves.len() < count {
                detached.push(*name);
            }
        }
        for name in &detached {
            self.stamp_all(*name);
        }
        detached
    }

    fn stamp_all(&mut self, name: Name) {
        let parts = self.texts[&name].parts(name);
        self.stamps.extend(parts.into_iter().map(|part| (part, self.writes)));
    }

    fn stamp(&mut self, name: Name, child: &str) {
        self.stamps.insert((name, child.to_owned()), self.writes);
        self.stamps.insert((name, String::new()), self.writes);
    }

    fn child_edit(&self, step: &Step) -> Option<Edit> {
        let (balancer, child, probe) = match step {
            Step::PutProbe { balancer, probe, port, .. } => {
                (*balancer, format!("probes/p{probe}"), Some(probe_of(*probe, *port)))
            }
            Step::RemoveProbe { balancer, probe } => (*balancer, format!("probes/p{probe}"), None),
            Step::RemovePool { balancer } => (*balancer, "backendAddressPools/p".to_owned(), None),
            Step::Write { .. } | Step::Reopen => return None,
        };
        let name = Name::Balancer(balancer);
        let mut value = self.texts.get(&name)?.value(name);
        let is_done = match probe {
            Some(probe) => tree::put(&mut value, &path(&child), probe),
            None => tree::remove(&mut value, &path(&child)),
        };
        is_done.then(|| Edit::put_child(name.id(), read(&value), path(&child)))
    }

    /// The snapshot says the same, and parts have one etag when they were written at one time.
    fn check(&self, snapshot: &Snapshot) {
        assert_eq!(snapshot.revision, self.revision);
        assert_eq!(snapshot.records.len(), self.texts.len() + 1);
        let mut seen: BTreeMap<(Name, u64), &str> = BTreeMap::new();
        for (name, text) in &self.texts {
            let record = snapshot.get(&name.id()).unwrap();
            let mut wanted = read(&text.value(*name));
            wanted.identify(&name.id());
            assert!(*record.document == wanted, "{} is not {}", record.value(), json!(wanted));
            for (name, part) in text.parts(*name) {
                let stamp = self.stamps[&(name, part.clone())];
                let etag = record.etag(&path(&part));
                assert_eq!(*seen.entry((name, stamp)).or_insert(etag), etag, "{name:?} {part}");
            }
            assert_eq!(record.child_keys().count() + 1, text.parts(*name).len());
        }
        let etags: BTreeSet<&&str> = seen.values().collect();
        assert_eq!(etags.len(), seen.len());
    }
}

impl Step {
    fn conditions(&self, now: &Snapshot, etags: &[String]) -> Vec<(Name, Condition)> {
        let one = |name: Name, when: &When| {
            let current = now.get(&name.id()).map(|record| record.etag(&[]).to_owned());
            let (if_match, if_none_match) = match when {
                When::Always => (None, None),
                When::Present => (Some("*".to_owned()), None),
                When::Absent => (None, Some("*".to_owned())),
                When::AsItIs => (current, None),
                When::AsItWas(index) => (Some(index.get(etags).clone()), None),
            };
            (name, Condition { if_match, if_none_match })
        };
        match self {
            Self::Write { writes, .. } => writes
                .iter()
                .map(|write| match write {
                    One::Put(name, _, when) | One::Delete(name, when) => one(*name, when),
                })
                .collect(),
            Self::PutProbe { balancer, condition, .. } => vec![one(Name::Balancer(*balancer), condition)],
            Self::RemoveProbe { .. } | Self::RemovePool { .. } | Self::Reopen => Vec::new(),
        }
    }
}

impl One {
    fn name(&self) -> Name {
        match self {
            Self::Put(name, ..) | Self::Delete(name, _) => *name,
        }
    }

    fn edit(&self) -> Edit {
        match self {
            Self::Put(name, text, _) => put(text.of(*name).value(*name)),
            Self::Delete(name, _) => Edit::delete(name.id()),
        }
    }
}

impl Name {
    fn id(self) -> ResourceId {
        match self {
            Self::Address(number) => id(Kind::PublicIpAddress, &format!("a{number}")),
            Self::Balancer(number) => balancer_id(&format!("b{number}")),
            Self::Interface(number) => id(Kind::NetworkInterface, &format!("i{number}")),
        }
    }
}

impl Text {
    /// As far as it means something for this name.
    fn of(&self, name: Name) -> Self {
        let mut text = self.clone();
        if !matches!(name, Name::Balancer(_)) {
            (text.probes, text.has_pool, text.address) = (Vec::new(), false, 0);
        }
        if !matches!(name, Name::Interface(_)) {
            text.serves = BTreeSet::new();
        }
        text
    }

    fn put_probe(&mut self, probe: u8, port: u16) {
        match self.probes.iter_mut().find(|(one, _)| *one == probe) {
            Some(known) => known.1 = port,
            None => self.probes.push((probe, port)),
        }
    }

    /// It and everything in it.
    fn parts(&self, name: Name) -> Vec<(Name, String)> {
        let mut parts = vec![String::new()];
        match name {
            Name::Address(_) => {}
            Name::Balancer(_) => {
                parts.push("frontendipconfigurations/f".to_owned());
                parts.extend(self.has_pool.then(|| "backendaddresspools/p".to_owned()));
                parts.extend(self.probes.iter().map(|(probe, _)| format!("probes/p{probe}")));
            }
            Name::Interface(_) => parts.push("ipconfigurations/c".to_owned()),
        }
        parts.into_iter().map(|part| (name, part)).collect()
    }

    fn value(&self, name: Name) -> Value {
        let mut value = match name {
            Name::Address(number) => {
                super::writes::public_address(&format!("a{number}"), &format!("203.0.113.{}", number + 10))
            }
            Name::Balancer(_) => self.balancer(name),
            Name::Interface(number) => {
                let pools: Vec<String> =
                    self.serves.iter().map(|balancer| format!("b{balancer}/p")).collect();
                let pools: Vec<&str> = pools.iter().map(String::as_str).collect();
                super::writes::interface(&format!("i{number}"), &format!("10.0.0.{}", number + 10), &pools)
            }
        };
        value["tags"] = json!({ "number": self.number.to_string() });
        value
    }

    fn balancer(&self, name: Name) -> Value {
        let address = Name::Address(self.address).id().to_string();
        let frontend = json!({ "name": "f", "properties": { "publicIPAddress": { "id": address } } });
        let pools: Vec<Value> =
            self.has_pool.then(|| json!({ "name": "p", "properties": {} })).into_iter().collect();
        let probes: Vec<Value> = self.probes.iter().map(|(probe, port)| probe_of(*probe, *port)).collect();
        let mut value = resource(
            &name.id(),
            json!({ "frontendIPConfigurations": [frontend], "backendAddressPools": pools, "probes": probes }),
        );
        value["sku"] = json!({ "name": "Standard" });
        value
    }
}

fn probe_of(probe: u8, port: u16) -> Value {
    json!({ "name": format!("p{probe}"), "properties": { "protocol": "Tcp", "port": port } })
}

fn network() -> Value {
    super::writes::network()
}

fn step() -> impl Strategy<Value = Step> {
    let flags = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.1));
    prop_oneof![
        8 => (prop::collection::vec(one(), 1..4), flags).prop_map(|(writes, (keep_equal, detach, dry_run))| {
            Step::Write { writes, keep_equal, detach, dry_run }
        }),
        3 => (0..3_u8, 0..3_u8, 1..4_u16, when()).prop_map(|(balancer, probe, port, condition)| {
            Step::PutProbe { balancer, probe, port, condition }
        }),
        2 => (0..3_u8, 0..3_u8).prop_map(|(balancer, probe)| Step::RemoveProbe { balancer, probe }),
        1 => (0..3_u8).prop_map(|balancer| Step::RemovePool { balancer }),
        1 => Just(Step::Reopen),
    ]
}

fn one() -> impl Strategy<Value = One> {
    prop_oneof![
        4 => (name(), text(), when()).prop_map(|(name, text, when)| One::Put(name, text, when)),
        1 => (name(), when()).prop_map(|(name, when)| One::Delete(name, when)),
    ]
}

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![
        (0..3_u8).prop_map(Name::Address),
        (0..3_u8).prop_map(Name::Balancer),
        (0..2_u8).prop_map(Name::Interface),
    ]
}

fn text() -> impl Strategy<Value = Text> {
    let probes =
        prop::collection::btree_map(0..3_u8, 1..4_u16, 0..3).prop_map(|probes| probes.into_iter().collect());
    (0..3_u16, 0..3_u8, probes, prop::bool::weighted(0.8), prop::collection::btree_set(0..3_u8, 0..2))
        .prop_map(|(number, address, probes, has_pool, serves)| Text {
            number,
            address,
            probes,
            has_pool,
            serves,
        })
}

fn when() -> impl Strategy<Value = When> {
    prop_oneof![
        6 => Just(When::Always),
        1 => Just(When::Present),
        1 => Just(When::Absent),
        2 => Just(When::AsItIs),
        1 => any::<Index>().prop_map(When::AsItWas),
    ]
}
