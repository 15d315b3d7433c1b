//! Who of several controllers leads: whoever holds a Lease and renews it in time. The others look at it, and take it when it has not
//! been renewed for as long as it lasts, by their own clocks.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::patch::said;

/// How long a lease lasts that nobody renews.
const LASTS: Duration = Duration::from_secs(15);
/// Who could not renew it for so long leads no more, well before anybody else may.
const RENEWED_WITHIN: Duration = Duration::from_secs(10);
/// How often it is renewed, or looked at.
const EVERY: Duration = Duration::from_secs(2);

/// Where the lease is, and who we are.
#[derive(Clone, Debug)]
pub struct Election {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// What tells this controller from the others.
    pub identity: String,
}

/// Until when this controller leads, if it does.
pub(super) type Reign = Option<Instant>;

/// Takes part in the election until it is told to stop; then whoever leads says that it leads no more.
pub(super) async fn take_part(
    client: Client,
    election: Election,
    reign: watch::Sender<Reign>,
    mut stop: watch::Receiver<bool>,
) {
    let api: Api<Lease> = Api::namespaced(client, &election.namespace);
    let mut seen = Seen::default();
    loop {
        let began = Instant::now();
        match timeout(RENEWED_WITHIN, turn(&api, &election, &mut seen)).await {
            Ok(Ok(true)) => {
                if reign.borrow().is_none() {
                    tracing::info!("{} leads", election.identity);
                }
                reign.send_replace(Some(began + RENEWED_WITHIN));
            }
            Ok(Ok(false)) => end(&reign, &election, "another one holds the lease"),
            Ok(Err(error)) => tracing::warn!("lease {}: {}", election.name, said(&error)),
            Err(_) => tracing::warn!("lease {}: no answer", election.name),
        }
        if reign.borrow().is_some_and(|until| until <= Instant::now()) {
            end(&reign, &election, "the lease could not be renewed in time");
        }
        tokio::select! {
            () = sleep(EVERY) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
    }
    if reign.borrow().is_some() {
        end(&reign, &election, "it stops");
        if let Err(error) = release(&api, &election).await {
            tracing::warn!("lease {} was not given back: {}", election.name, said(&error));
        }
    }
}

fn end(reign: &watch::Sender<Reign>, election: &Election, why: &str) {
    if reign.borrow().is_some() {
        tracing::info!("{} does not lead any more: {why}", election.identity);
        reign.send_replace(None);
    }
}

/// The lease as it was seen last, and since when it is so. Clocks of others are not believed.
#[derive(Debug, Default)]
struct Seen {
    version: Option<String>,
    since: Option<Instant>,
}

impl Seen {
    /// How long nobody has touched it.
    fn untouched(&mut self, lease: &Lease, now: Instant) -> Duration {
        let version = &lease.metadata.resource_version;
        match self.since {
            Some(since) if self.version == *version => now - since,
            Some(_) | None => {
                self.version.clone_from(version);
                self.since = Some(now);
                Duration::ZERO
            }
        }
    }
}

/// What to do about a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It is ours: it is renewed.
    Renew,
    /// It is nobody's, or not renewed: it is taken.
    Take,
    /// It is somebody else's.
    Wait,
}

fn decide(lease: &Lease, identity: &str, untouched: Duration) -> Turn {
    let spec = lease.spec.as_ref();
    let holder = spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default();
    let lasts = spec.and_then(|spec| spec.lease_duration_seconds).and_then(|it| u64::try_from(it).ok());
    let lasts = lasts.map_or(LASTS, Duration::from_secs);
    match holder {
        holder if holder == identity => Turn::Renew,
        "" => Turn::Take,
        _ if untouched >= lasts => Turn::Take,
        _ => Turn::Wait,
    }
}

/// Whether this controller leads now. Two who take it at once are told apart by the version that they have seen.
async fn turn(api: &Api<Lease>, election: &Election, seen: &mut Seen) -> Result<bool, kube::Error> {
    let now = MicroTime(Timestamp::now());
    let Some(mut lease) = api.get_opt(&election.name).await? else {
        let lease = Lease {
            metadata: ObjectMeta { name: Some(election.name.clone()), ..ObjectMeta::default() },
            spec: Some(LeaseSpec {
                holder_identity: Some(election.identity.clone()),
                lease_duration_seconds: i32::try_from(LASTS.as_secs()).ok(),
                acquire_time: Some(now.clone()),
                renew_time: Some(now),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        };
        return was_first(api.create(&PostParams::default(), &lease).await);
    };
    let turn = decide(&lease, &election.identity, seen.untouched(&lease, Instant::now()));
    let spec = lease.spec.get_or_insert_default();
    match turn {
        Turn::Wait => return Ok(false),
        Turn::Renew => {}
        Turn::Take => {
            spec.holder_identity = Some(election.identity.clone());
            spec.acquire_time = Some(now.clone());
            spec.lease_transitions = Some(spec.lease_transitions.unwrap_or_default().saturating_add(1));
        }
    }
    spec.renew_time = Some(now);
    spec.lease_duration_seconds = i32::try_from(LASTS.as_secs()).ok();
    was_first(api.replace(&election.name, &PostParams::default(), &lease).await)
}

/// Somebody else may have been faster.
fn was_first(written: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Nobody has to wait for a leader that has gone.
async fn release(api: &Api<Lease>, election: &Election) -> Result<(), kube::Error> {
    let mut lease = api.get(&election.name).await?;
    let spec = lease.spec.get_or_insert_default();
    if spec.holder_identity.as_deref() == Some(&election.identity) {
        spec.holder_identity = Some(String::new());
        spec.renew_time = Some(MicroTime(Timestamp::now()));
        api.replace(&election.name, &PostParams::default(), &lease).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_taken_when_nobody_holds_or_renews_it() {
        check("", 0, Turn::Take);
        check("me", 0, Turn::Renew);
        check("me", 100, Turn::Renew);
        check("other", 0, Turn::Wait);
        check("other", 14, Turn::Wait);
        check("other", 15, Turn::Take);
    }

    #[test]
    fn clocks_of_others_are_not_believed() {
        let (mut seen, now) = (Seen::default(), Instant::now());
        let mut lease = lease("other");
        assert_eq!(seen.untouched(&lease, now), Duration::ZERO);
        assert_eq!(seen.untouched(&lease, now + EVERY), EVERY);
        lease.metadata.resource_version = Some("2".to_owned());
        assert_eq!(seen.untouched(&lease, now + 2 * EVERY), Duration::ZERO);
        assert_eq!(seen.untouched(&lease, now + 3 * EVERY), EVERY);
    }

    fn check(holder: &str, untouched: u64, wanted: Turn) {
        assert_eq!(decide(&lease(holder), "me", Duration::from_secs(untouched)), wanted, "{holder}");
    }

    fn lease(holder: &str) -> Lease {
        let spec = LeaseSpec { holder_identity: Some(holder.to_owned()), ..LeaseSpec::default() };
        let version = Some("1".to_owned());
        Lease {
            metadata: ObjectMeta { resource_version: version, ..ObjectMeta::default() },
            spec: Some(spec),
        }
    }
}
