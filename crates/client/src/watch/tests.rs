//! Nothing is lost when a connection breaks.

use super::*;

#[test]
fn a_revision_is_complete_when_the_next_one_is_seen() {
    let mut place = Place::after(Some(4));
    place.follow(&put(5));
    assert_eq!(place.complete, Some(4));
    place.follow(&put(5));
    assert_eq!(place.complete, Some(4), "there may be more of revision 5");
    place.follow(&Line::Delete { revision: 7, id: String::new() });
    assert_eq!(place.complete, Some(5));
    place.follow(&Line::Alive { revision: 7 });
    assert_eq!(place.complete, Some(7), "what is alive has said all");
}

#[test]
fn a_first_list_that_breaks_off_begins_anew() {
    let mut place = Place::after(None);
    place.follow(&put(3));
    place.follow(&Line::Alive { revision: 9 });
    assert_eq!(place.complete, None);
    place.follow(&Line::Synced { revision: 9 });
    assert_eq!(place.complete, Some(9));
    place.follow(&Line::Reset { revision: 20 });
    assert_eq!(place.complete, None);
}

#[test]
fn what_was_seen_in_part_comes_again() {
    let mut place = Place::after(Some(4));
    place.follow(&put(5));
    place.interrupted();
    assert_eq!(place, Place::after(Some(4)));
    place.follow(&put(5));
    place.follow(&put(6));
    assert_eq!(place.complete, Some(5));
}

#[test]
fn what_a_newer_server_says_is_passed_over() {
    let line: Line = serde_json::from_str(r#"{"action":"rumour","revision":3}"#).expect("a line");
    assert!(line.event().is_none());
    let line = r#"{"action":"put","revision":3,"id":"x","etag":"e",
        "document":{"id":"/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/unheardOf/x"}}"#;
    let line: Line = serde_json::from_str(line).expect("a line");
    assert!(line.event().is_none());
}

#[test]
fn what_happens_to_members_is_told_whole() {
    let line = r#"{"action":"event","revision":3,"event":"memberDown","number":7,"at":"2026-11-21T06:38:44.125Z",
        "message":"member 10.0.0.5 is down for probe web/alive: HTTP 503","probe":"web/alive","member":"10.0.0.5"}"#;
    let line: Line = serde_json::from_str(line).expect("a line");
    let mut place = Place::after(Some(3));
    place.follow(&line);
    assert_eq!(place, Place::after(Some(3)));
    let Some(Event::Happened(happened)) = line.event() else { panic!("an event") };
    assert_eq!((happened.event.as_str(), &happened.more["member"]), ("memberDown", &Value::from("10.0.0.5")));
    assert!(!happened.more.contains_key("action"));
}

fn put(revision: u64) -> Line {
    Line::Put { revision, etag: String::new(), document: Value::Null }
}
