//! Who is asked first, and what is said about mistakes.

use std::collections::BTreeMap;

use super::*;

#[test]
fn without_anything_the_server_on_this_machine_is_meant() {
    let settings = find(&Overrides::default(), &[]).expect("settings").0;
    assert_eq!(settings.server, "https://127.0.0.1:8443");
    assert_eq!((settings.token, settings.ca, settings.identity), (None, None, None));
    assert_eq!((settings.subscription, settings.resource_group), (None, None));
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = write(
        &folder,
        "client.toml",
        0o600,
        "server = 'https://file:1'\ntoken = 'of-file'\nca = 'ca.pem'\nresource_group = 'of-file'",
    );
    let config = ("FOREBAY_CONFIG", file.as_str());
    let environment =
        [config, ("FOREBAY_SERVER", "https://environment:2"), ("FOREBAY_TOKEN", "of-environment")];
    let flags = Overrides {
        server: Some("https://flag:3".into()),
        resource_group: Some("of-flag".into()),
        ..Overrides::default()
    };

    check(&Overrides::default(), &[config], "https://file:1", "of-file", "of-file");
    check(&Overrides::default(), &environment, "https://environment:2", "of-environment", "of-file");
    check(&flags, &environment, "https://flag:3", "of-environment", "of-flag");

    fn check(flags: &Overrides, environment: &[(&str, &str)], server: &str, token: &str, group: &str) {
        let (settings, warnings) = find(flags, environment).expect("settings");
        assert_eq!(settings.server, server);
        assert_eq!(settings.token, Token::new(token));
        assert_eq!(settings.resource_group.as_deref(), Some(group));
        assert!(settings.ca.is_some_and(|ca| ca.is_absolute() && ca.ends_with("ca.pem")), "beside the file");
        assert_eq!(warnings, Vec::<String>::new());
    }
}

#[test]
fn the_usual_file_may_be_missing_and_a_named_one_may_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = folder.path().display().to_string();
    assert!(find(&Overrides::default(), &[("HOME", &home)]).is_ok());
    let missing = folder.path().join("client.toml").display().to_string();
    let error = find(&Overrides::default(), &[("FOREBAY_CONFIG", &missing)]).expect_err("no file");
    assert_eq!(error.to_string(), format!("could not read {missing}, which FOREBAY_CONFIG names"));

    std::fs::create_dir_all(folder.path().join(".config/forebay")).expect("a folder");
    write(&folder, ".config/forebay/client.toml", 0o600, "server = 'there'");
    let settings = find(&Overrides::default(), &[("HOME", &home)]).expect("settings").0;
    assert_eq!(settings.server, "https://there:8443");
}

#[test]
fn a_token_that_everybody_can_read_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    write(&folder, "secret", 0o644, "abc\n");
    let file = write(&folder, "client.toml", 0o644, "token_file = 'secret'");
    let (settings, warnings) = find(&Overrides::default(), &[("FOREBAY_CONFIG", &file)]).expect("settings");
    assert_eq!(settings.token, Token::new("abc"));
    let secret = folder.path().join("secret");
    let secret = secret.display();
    assert_eq!(
        warnings,
        [format!("everybody on this machine can read the token in {secret}: chmod 600 {secret}")]
    );
}

#[test]
fn mistakes_in_the_file_are_said_without_its_text() {
    check("servr = 'x'", "line 1: unknown field `servr`");
    check("server = 'x'\ntoken = \"forebay_secret", "line 2: ");
    check("token = 'a'\ntoken_file = 'b'", "there are both `token` and `token_file`: keep one");
    check("certificate = 'a'", "`certificate` needs its `key`");
    check("key = 'a'", "`key` needs its `certificate`");
    check("token = 'two words forebay_secret'", "`token` holds no token");

    fn check(text: &str, wanted: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = write(&folder, "client.toml", 0o600, text);
        let error = find(&Overrides::default(), &[("FOREBAY_CONFIG", &file)]).expect_err(text).to_string();
        assert!(error.contains(wanted), "{error}");
        assert!(!error.contains("forebay_secret"), "{error}");
    }
}

#[test]
fn a_host_is_enough() {
    check("balancer", "https://balancer:8443");
    check("balancer:9443", "https://balancer:9443");
    check("10.0.0.1", "https://10.0.0.1:8443");
    check("2001:db8::1", "https://[2001:db8::1]:8443");
    check("[2001:db8::1]:9443", "https://[2001:db8::1]:9443");
    check("http://127.0.0.1:8080/", "http://127.0.0.1:8080");

    fn check(given: &str, meant: &str) {
        assert_eq!(normal(given), meant);
    }
}

fn find(flags: &Overrides, environment: &[(&str, &str)]) -> Result<(Settings, Vec<String>), SettingsError> {
    let environment: BTreeMap<&str, &str> = environment.iter().copied().collect();
    Settings::find(flags, |name| environment.get(name).map(ToString::to_string))
}

fn write(folder: &tempfile::TempDir, name: &str, mode: u32, text: &str) -> String {
    let path = folder.path().join(name);
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
    path.display().to_string()
}
