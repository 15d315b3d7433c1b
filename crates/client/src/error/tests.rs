//! What the server says is kept, all of it.

use super::*;

#[test]
fn every_problem_of_a_refusal_is_kept_with_its_place() {
    // API-2
    let refusal = Refusal::read(
        400,
        r#"{"error":{"code":"InvalidRequest","message":"two problems","target":"web","details":[
            {"code":"MissingField","target":"web: probes/alive/port","message":"write a port"},
            {"code":"UnknownField","message":"there is no field `prot`"}]}}"#,
    );
    assert_eq!(refusal.to_string(), "two problems (InvalidRequest)");
    assert_eq!(refusal.details.len(), 2);
    assert_eq!(refusal.details[0].target.as_deref(), Some("web: probes/alive/port"));
    assert_eq!(refusal.details[1].target, None);
}

#[test]
fn an_error_of_something_in_between_is_shown_as_it_is() {
    let refusal = Refusal::read(502, "<html>Bad Gateway</html>");
    assert_eq!(refusal.to_string(), "<html>Bad Gateway</html> (BadGateway)");
    let refusal = Refusal::read(503, "");
    assert_eq!(refusal.to_string(), "the server says no more about it (ServiceUnavailable)");
}

#[test]
fn what_a_person_can_do_is_said() {
    check(401, "FOREBAY_TOKEN");
    check(429, "requests_per_second");

    fn check(status: u16, mend: &str) {
        let text = Refusal::read(status, r#"{"error":{"code":"No","message":"No."}}"#).to_string();
        assert!(text.starts_with("No (No); ") && text.contains(mend), "{text}");
    }
}

#[test]
fn an_unknown_authority_leads_to_its_file() {
    let error =
        of_tls("https://b:8443".into(), &rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
    let text = error.to_string();
    assert!(text.contains("--ca") && text.contains("/var/lib/forebay/default/ca.pem"), "{text}");
    let error = of_tls(
        "https://b:8443".into(),
        &rustls::Error::InvalidCertificate(CertificateError::NotValidForName),
    );
    assert!(error.to_string().contains("`names` under [server]"), "{error}");
}
