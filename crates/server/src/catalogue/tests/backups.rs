//! What a catalogue wrote goes through a backup into another store, whole; what is none is named before anything is lost.

use super::*;
use crate::store::backup;

// API-3
#[tokio::test]
async fn a_backup_has_everything_with_its_etags() {
    let bench = Bench::with_service().await;
    bench.remove(&balancer_id("web"), "probes/alive").await.unwrap();
    let file = bench.backup().await;
    let contents = backup::read(&mut &*file).unwrap();
    examine(&contents).unwrap();
    let store: Arc<dyn Store> = Arc::new(Memory::new());
    backup::restore(&*store, &contents, false).unwrap();
    let restored = Bench::on(store).await;
    assert_eq!(restored.snapshot().records, bench.snapshot().records);
    assert_eq!(restored.snapshot().desired, bench.snapshot().desired);
    restored.put(empty_balancer("more", 1)).await.unwrap();
    restored.is_durable().await;
}

#[tokio::test]
async fn what_no_catalogue_can_open_is_named() {
    let contents = Bench::with_service().await.catalogue.contents().await.unwrap();
    let record = |of: &str| contents.records.iter().position(|record| record.key.ends_with(of)).unwrap();
    let check = |at: usize, value: Option<&str>, wanted: &str| {
        let mut contents = contents.clone();
        match value {
            Some(value) => contents.records[at].value = value.into(),
            None => drop(contents.records.remove(at)),
        }
        let error = examine(&contents).unwrap_err();
        let words = match &error {
            OpenError::Store(StoreError::Record { key, cause }) => format!("{error} {key} {cause}"),
            OpenError::Store(error) => error.to_string(),
            OpenError::Invalid(problems) => format!("{error} {problems:?}"),
        };
        assert!(words.contains(wanted), "{words}");
    };
    let web = record("/loadbalancers/web");
    let other = contents.records[record("/publicipaddresses/pip")].value.to_string();
    check(
        web,
        Some("{}"),
        "the record `/subscriptions/s/resourcegroups/g/providers/microsoft.network/loadbalancers/web`",
    );
    check(web, Some("[]"), "restore a backup");
    check(
        web,
        Some(&other),
        "it is /subscriptions/s/resourceGroups/g/providers/Microsoft.Network/publicIPAddresses/pip",
    );
    let unknown = contents.records[web].value.replace("\"sku\"", "\"skew\"");
    check(web, Some(&unknown), "there is no field `skew`");
    check(record("/publicipaddresses/pip"), None, "there is no `/subscriptions/s/resourceGroups/g/providers");
    check(record("/networkinterfaces/nic"), Some("{\"etag\":1}"), "networkinterfaces/nic");
}

// LIM-1: limits are the business of the server that opens it.
#[tokio::test]
async fn more_than_usual_is_no_reason_not_to_restore() {
    let bench = Bench::new().await;
    let many = (0..1_001).map(|number| put(empty_balancer(&format!("b{number}"), 1)));
    let edit = all(many);
    let mut wide = limits();
    wide.set("load_balancers", 2_000).unwrap();
    let catalogue = Catalogue::open(Arc::clone(&bench.store), wide).await.unwrap();
    catalogue.write(move |_| Ok(edit)).await.unwrap();
    examine(&catalogue.contents().await.unwrap()).unwrap();
    assert!(Catalogue::open(Arc::clone(&bench.store), limits()).await.is_err());
}

impl Bench {
    async fn backup(&self) -> Vec<u8> {
        let mut file = Vec::new();
        backup::write(&self.catalogue.contents().await.unwrap(), &mut file).unwrap();
        file
    }
}
