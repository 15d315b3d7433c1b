//! When there is no answer, it is said why, and what to do.

use std::fs;

use crate::service::{Service, WRITER, ended, plain};

#[test]
fn a_wrong_token_is_told_from_none() {
    // AUTH-1
    let service = Service::start();
    let said = service.run_as("forebay_of_nobody", "get");
    assert!(said.code == 2 && said.err.contains("this credential is not known here"), "{said:?}");
    assert!(
        said.err.contains("(AuthenticationFailed)") && said.err.contains("forebay token new"),
        "{said:?}"
    );
    assert!(!said.err.contains("forebay_of_nobody"), "{said:?}");
    let mut command = service.command(WRITER, "get");
    command.env_remove("FOREBAY_TOKEN");
    let said = ended(command, "");
    assert!(said.code == 2 && said.err.contains("FOREBAY_TOKEN"), "{said:?}");
}

#[test]
fn a_server_of_another_authority_is_not_believed() {
    let (service, other) = (Service::start(), Service::start());
    let mut command = service.command(WRITER, "get");
    command.env("FOREBAY_CA", other.store().join("ca.pem"));
    let said = ended(command, "");
    assert!(said.code == 2 && said.err.contains("--ca") && said.err.contains("ca.pem"), "{said:?}");
    let mut command = service.command(WRITER, "get");
    command.env_remove("FOREBAY_CA");
    assert!(ended(command, "").err.contains("no authority known here has signed"));
}

#[test]
fn a_server_that_is_down_is_said_to_be() {
    let mut service = Service::start();
    service.stop();
    for line in ["get", "status", "delete lb x", "backup copy"] {
        let said = service.run(line);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(
            said.err.contains("is it running (`forebay serve`)?") && said.err.contains(&service.server),
            "{said:?}"
        );
    }
    assert!(!service.folder.path().join("copy").exists());
}

#[test]
fn settings_name_the_server_once() {
    let service = Service::start();
    let settings =
        format!("server = \"{}\"\nca = \"../../store/ca.pem\"\ntoken_file = \"token\"\n", service.server);
    service.write(".config/forebay/client.toml", &settings);
    service.write(".config/forebay/token", WRITER);
    let bare = |line: &str| ended(plain(service.folder.path(), line), "");
    let said = bare("status");
    assert!(said.code == 0 && said.out.contains("may write"), "{said:?}");
    // What is typed counts more.
    assert!(bare("status --server https://127.0.0.1:1").err.contains("https://127.0.0.1:1"));
    assert_eq!(bare("status --config .config/forebay/client.toml").code, 0);
    fs::remove_file(service.folder.path().join(".config/forebay/token")).unwrap();
    assert!(bare("status").err.contains(".config/forebay/token"), "{:?}", bare("status"));
    service.write(".config/forebay/client.toml", "sever = \"x\"\n");
    let said = bare("status");
    assert!(said.code == 2 && said.err.contains("line 1") && said.err.contains("sever"), "{said:?}");
}

#[test]
fn a_new_token_opens_the_door() {
    let folder = tempfile::tempdir().unwrap();
    let said = ended(plain(folder.path(), "token new --name ops --role write"), "");
    assert!(
        said.code == 0 && said.out.contains("[[server.tokens]]\nname = \"ops\"\nrole = \"write\"\n"),
        "{said:?}"
    );
    let settings: server::Settings = {
        let lines = said.out.split("[[server.tokens]]").nth(1).unwrap();
        toml::from_str(&format!("[[tokens]]{lines}")).unwrap()
    };
    assert!(settings.check().is_ok());
    let token = said.out.lines().find(|line| line.starts_with("forebay_")).unwrap();
    let guard = server::auth::Guard::of(&settings).unwrap();
    let header = format!("Bearer {token}");
    let shown = server::auth::Shown { authorization: Some(header.as_bytes()), certificate: None };
    assert_eq!(guard.admit(shown).unwrap().name, "ops");
}

#[test]
fn every_shell_gets_its_completion() {
    let folder = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = ended(plain(folder.path(), &format!("completion {shell}")), "");
        assert!(said.code == 0 && said.out.contains("restore"), "{shell}");
    }
}
