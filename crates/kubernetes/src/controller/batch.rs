//! Writes as transactions: what a pass says is done at once, or not at all.

use std::collections::BTreeSet;

use client::{Refusal, Transaction};
use model::Document;

use crate::config::Config;
use crate::documents::{Documents, Places, Write, key_of_public};

/// The transactions that do some writes, in their order. A thing that is written several times is written once, as it is in the end;
/// one that goes and comes again needs two transactions.
pub(crate) fn transactions(config: &Config, before: &Documents, writes: &[Write]) -> Vec<Transaction> {
    let mut batch = Batch {
        places: Places(config),
        documents: before.clone(),
        puts: Vec::new(),
        deletes: BTreeSet::new(),
    };
    let mut done = Vec::new();
    for write in writes {
        if !write.is_deletion() && batch.deletes.contains(&batch.id(write)) {
            done.extend(batch.take());
        }
        batch.add(write);
    }
    done.extend(batch.take());
    done
}

/// The writes that a refusal is about.
pub(super) fn blamed(config: &Config, before: &Documents, writes: &[Write], refusal: &Refusal) -> Vec<Write> {
    let places = Places(config);
    let said = refusal.details.iter().filter_map(|it| it.target.as_deref()).chain(refusal.target.as_deref());
    // The document, and then the path in it.
    let targets: BTreeSet<String> =
        said.map(|target| target.split(": ").next().unwrap_or_default().to_lowercase()).collect();
    writes.iter().filter(|write| targets.contains(&id_of(places, before, write))).cloned().collect()
}

struct Batch<'a> {
    places: Places<'a>,
    /// As they are with what was added so far.
    documents: Documents,
    /// What is written, in the order of its first mention.
    puts: Vec<(String, Write)>,
    deletes: BTreeSet<String>,
}

impl Batch<'_> {
    fn add(&mut self, write: &Write) {
        let id = self.id(write);
        self.documents.apply(write);
        if write.is_deletion() {
            self.puts.retain(|(it, _)| *it != id);
            self.deletes.insert(id);
        } else if !self.puts.iter().any(|(it, _)| *it == id) {
            self.puts.push((id, write.clone()));
        }
    }

    fn take(&mut self) -> Option<Transaction> {
        let puts = std::mem::take(&mut self.puts);
        let deletes = std::mem::take(&mut self.deletes);
        if puts.is_empty() && deletes.is_empty() {
            return None;
        }
        Some(Transaction {
            put: puts.iter().filter_map(|(_, write)| self.document(write)).collect(),
            delete: deletes.into_iter().collect(),
            ..Transaction::default()
        })
    }

    /// What a write is about, as it is now.
    fn document(&self, write: &Write) -> Option<Document> {
        let documents = &self.documents;
        match write {
            Write::PutBalancer(it) => documents.balancer(&it.name).map(|it| (**it).clone().into()),
            Write::PutPool(name, _) => documents.balancer(name).map(|it| (**it).clone().into()),
            Write::PutPublicIp(it) => {
                let key = it.id.as_deref().map(key_of_public)?;
                documents.public_ips.get(&key).map(|it| (**it).clone().into())
            }
            Write::PutInterface(it) => {
                documents.interfaces.get(&it.name.to_lowercase()).map(|it| (**it).clone().into())
            }
            Write::PutSecurityGroup(_) => documents.security.as_ref().map(|it| (**it).clone().into()),
            Write::DeleteBalancer(_) | Write::DeletePublicIp(_) => None,
        }
    }

    fn id(&self, write: &Write) -> String {
        id_of(self.places, &self.documents, write)
    }
}

/// The id of what a write is about, in lower case.
fn id_of(places: Places<'_>, documents: &Documents, write: &Write) -> String {
    let own = |id: &Option<String>| id.clone().unwrap_or_default();
    let id = match write {
        Write::PutBalancer(it) => own(&it.id),
        Write::PutPool(name, _) | Write::DeleteBalancer(name) => {
            let there = documents.balancer(name).and_then(|it| it.id.clone());
            there.unwrap_or_else(|| places.balancer(name))
        }
        Write::PutPublicIp(it) => own(&it.id),
        Write::DeletePublicIp(id) => id.clone(),
        Write::PutInterface(it) => own(&it.id),
        Write::PutSecurityGroup(it) => own(&it.id),
    };
    id.to_lowercase()
}

impl Write {
    const fn is_deletion(&self) -> bool {
        matches!(self, Self::DeleteBalancer(_) | Self::DeletePublicIp(_))
    }

    /// The kind of what it writes, for whoever counts.
    pub(super) const fn kind(&self) -> &'static str {
        match self {
            Self::PutBalancer(_) | Self::DeleteBalancer(_) => "loadBalancer",
            Self::PutPool(..) => "backendAddressPool",
            Self::PutPublicIp(_) | Self::DeletePublicIp(_) => "publicIPAddress",
            Self::PutInterface(_) => "networkInterface",
            Self::PutSecurityGroup(_) => "networkSecurityGroup",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::document::{BackendAddressPool, LoadBalancer, PublicIpAddress};
    use serde_json::Value;

    use super::*;

    #[test]
    fn what_is_written_twice_is_written_once() {
        let writes = [
            put("lb"),
            Write::PutPool(
                "lb".to_owned(),
                Box::new(BackendAddressPool { name: "p".to_owned(), ..Default::default() }),
            ),
            public("a"),
        ];
        let [transaction] = &made(&Documents::default(), &writes)[..] else { unreachable!("one is enough") };
        let names: Vec<&str> = transaction.put.iter().map(Document::name).collect();
        assert_eq!(names, ["lb", "a"]);
        let Document::LoadBalancer(balancer) = &transaction.put[0] else { unreachable!() };
        assert_eq!(balancer.backend_address_pools.len(), 1, "as it is in the end");
    }

    #[test]
    fn what_comes_and_goes_is_not_written() {
        let made = made(&Documents::default(), &[put("lb"), Write::DeleteBalancer("LB".to_owned())]);
        assert_eq!(made.len(), 1);
        assert_eq!((made[0].put.len(), made[0].delete.len()), (0, 1));
    }

    #[test]
    fn what_goes_and_comes_again_takes_two() {
        let mut before = Documents::default();
        before.apply(&public("a"));
        let made = made(&before, &[put("lb"), Write::DeletePublicIp(id("a")), public("a"), put("lb")]);
        let shape: Vec<(usize, usize)> = made.iter().map(|it| (it.put.len(), it.delete.len())).collect();
        assert_eq!(shape, [(1, 1), (2, 0)]);
    }

    #[test]
    fn nothing_is_no_transaction() {
        assert_eq!(made(&Documents::default(), &[]), []);
    }

    #[test]
    fn who_is_to_blame_is_found_by_the_document_that_is_named() {
        let detail = |target: &str| client::Detail {
            code: String::new(),
            target: Some(target.to_owned()),
            message: String::new(),
        };
        let refusal = |target: Option<String>, details: Vec<client::Detail>| Refusal {
            status: 400,
            code: String::new(),
            message: String::new(),
            target,
            details,
        };
        let config = Config::read(&Value::Null).unwrap();
        let writes = [put("lb"), public("a"), Write::DeletePublicIp(id("b"))];
        let blamed = |refusal| blamed(&config, &Documents::default(), &writes, &refusal);
        let by_path = refusal(None, vec![detail(&format!("{}: properties/ipAddress", id("A")))]);
        assert_eq!(blamed(by_path), writes[1..2]);
        assert_eq!(blamed(refusal(Some(id("b")), Vec::new())), writes[2..]);
        assert_eq!(blamed(refusal(None, Vec::new())), []);
    }

    fn made(before: &Documents, writes: &[Write]) -> Vec<Transaction> {
        transactions(&Config::read(&Value::Null).unwrap(), before, writes)
    }

    fn put(name: &str) -> Write {
        let config = Config::read(&Value::Null).unwrap();
        let id = Some(Places(&config).balancer(name));
        Write::PutBalancer(Arc::new(LoadBalancer { name: name.to_owned(), id, ..LoadBalancer::default() }))
    }

    fn public(name: &str) -> Write {
        let it = PublicIpAddress { name: name.to_owned(), id: Some(id(name)), ..PublicIpAddress::default() };
        Write::PutPublicIp(Arc::new(it))
    }

    fn id(name: &str) -> String {
        Places(&Config::read(&Value::Null).unwrap()).public_ip("rg", name)
    }
}
