//! Everything as one file, and back.

use std::os::unix::fs::PermissionsExt;

use crate::service::{READER, Service};

#[test]
fn a_running_server_is_backed_up_and_a_stopped_one_restored() {
    let mut service = Service::with_network();
    service.write_balancer("web", "203.0.113.9", 80);
    service.did("apply -f web.yaml");
    let before = service.json("get lb/web -o json");
    assert_eq!(service.did("backup copy"), "2 resources at revision 2 in copy\n");
    let mode = std::fs::metadata(service.folder.path().join("copy")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    service.did("delete lb web");

    let said = service.run("restore copy --store store --force");
    assert!(
        said.code == 2 && said.err.contains("is open in another process: stop that one first"),
        "{said:?}"
    );
    service.stop();
    assert!(
        service
            .did("restore copy --store store --force")
            .contains("2 resources of revision 2 in store: start the server\n")
    );
    let said = service.run("restore copy --store store");
    assert!(said.code == 2 && said.err.contains("--force"), "{said:?}");
    assert!(service.did("backup again --store store").starts_with("2 resources at revision "));
    service.go_on();
    let after = service.json("get lb/web -o json");
    let guid = "/properties/resourceGuid";
    assert_eq!((&after["etag"], after.pointer(guid)), (&before["etag"], before.pointer(guid)));
    assert!(after.pointer(guid).is_some());
}

#[test]
fn who_may_read_may_copy() {
    let service = Service::start();
    let said = service.run_as(READER, "backup -");
    assert!(said.code == 0 && said.out.starts_with("{\"name\":\"forebay backup\""), "{said:?}");
}

#[test]
fn what_is_no_backup_is_not_restored() {
    let service = Service::start();
    service.write("copy", "{\"name\":\"something else\"}\n");
    let said = service.run("restore copy --store elsewhere");
    assert!(said.code == 2 && said.err.contains("line 1 of the backup"), "{said:?}");
    assert!(!service.folder.path().join("elsewhere").exists());
    let said = service.run("backup x --store elsewhere");
    assert!(said.code == 2 && said.err.contains("there is no store in elsewhere"), "{said:?}");
}
