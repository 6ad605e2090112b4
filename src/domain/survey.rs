//! What a server's list of our clients says: which of them no ledger entry claims, and which of those go.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use crate::api::{Orphan, OrphanAction, OrphanSweep, Survey};

/// Orphans named in a status, at most.
const NAMED: usize = 50;

/// A client that carries this installation's marker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its client_id.
    pub client_id: String,
    /// The ledger entry that its marker names.
    pub entry: Option<String>,
    /// When the server says that it was made.
    pub created_at: Option<DateTime<Utc>>,
}

/// What the ledger says, read after the list: an entry is written before its client exists, so a client without one
/// cannot be one that is being made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Entries that may have a client at this server.
    pub live: BTreeSet<String>,
    /// Entries whose client is gone for good, or never was.
    pub ended: BTreeSet<String>,
}

/// What is known from surveys before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Before {
    /// The last one.
    pub survey: Option<Survey>,
    /// When each orphan was first seen, by client_id, those that the status does not name included. A restart forgets
    /// it: for those the grace begins anew.
    pub sightings: BTreeMap<String, DateTime<Utc>>,
}

/// What follows from a survey.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// For the status.
    pub survey: Survey,
    /// All orphans, those seen first first.
    pub orphans: Vec<Orphan>,
    /// Client ids of those that no survey has found before.
    pub fresh: Vec<String>,
    /// Clients whose entry says that they are gone: a restored backup or a late request brought them back.
    pub returned: Vec<Seen>,
    /// Orphans to revoke now.
    pub revoke: Vec<Orphan>,
    /// Whether the sweep stops here that went on before.
    pub stops: bool,
}

/// Weighs a whole list against the ledger.
pub fn weigh(
    installation: &str,
    seen: &[Seen],
    ledger: &Ledger,
    before: &Before,
    sweep: &OrphanSweep,
    now: DateTime<Utc>,
) -> Findings {
    let last = before.survey.as_ref();
    let on_record = last.iter().flat_map(|s| &s.orphans).map(|o| (o.client_id.as_str(), o.since));
    let mut known: BTreeMap<&str, DateTime<Utc>> = before.sightings.iter().map(|(id, at)| (id.as_str(), *at)).collect();
    // What is on record holds: it outlives the process.
    known.extend(on_record);
    let names = |set: &BTreeSet<String>, client: &Seen| client.entry.as_ref().is_some_and(|e| set.contains(e));
    let returned: Vec<Seen> = seen.iter().filter(|c| names(&ledger.ended, c)).cloned().collect();
    let mut orphans: Vec<Orphan> = seen
        .iter()
        .filter(|c| !names(&ledger.live, c) && !names(&ledger.ended, c))
        .map(|c| Orphan {
            client_id: c.client_id.clone(),
            entry: c.entry.clone(),
            since: known.get(c.client_id.as_str()).copied().unwrap_or(now),
            created_at: c.created_at,
        })
        .collect();
    orphans.sort_by(|a, b| (a.since, &a.client_id).cmp(&(b.since, &b.client_id)));
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (unclaimed, total) = (orphans.len(), seen.len() - returned.len());
    let grace = sweep.grace.delta().unwrap_or_default();
    let stopped = (sweep.action == OrphanAction::Revoke).then(|| too_many(unclaimed, total, sweep)).flatten();
    let due = |o: &&Orphan| sweep.action == OrphanAction::Revoke && stopped.is_none() && now >= o.since + grace;
    // The status before may have had more than it named, of which a new process knows nothing but their number.
    let unnamed = last.filter(|s| count(s.orphans.len()) < s.unclaimed).map_or(0, |s| s.unclaimed);
    let fresh = if count(unclaimed) > unnamed {
        orphans.iter().map(|o| &o.client_id).filter(|id| !known.contains_key(id.as_str())).cloned().collect()
    } else {
        Vec::new()
    };
    Findings {
        survey: Survey {
            at: now,
            installation: installation.to_owned(),
            clients: count(total),
            unclaimed: count(unclaimed),
            stopped: stopped.clone(),
            orphans: orphans.iter().take(NAMED).cloned().collect(),
        },
        fresh,
        returned,
        revoke: orphans.iter().filter(due).cloned().collect(),
        stops: stopped.is_some() && last.is_none_or(|s| s.stopped.is_none()),
        orphans,
    }
}

/// Why none is revoked, where more are unclaimed than can be an accident. Said before their grace is over.
fn too_many(unclaimed: usize, total: usize, sweep: &OrphanSweep) -> Option<String> {
    let most = sweep.most_unclaimed_percent;
    (unclaimed * 100 > usize::from(most) * total).then(|| {
        format!(
            "{unclaimed} of {total} clients are unclaimed, more than {most} %: that is what a lost ledger looks like, so none is revoked. Restore the ledger, or raise orphanSweep.mostUnclaimedPercent"
        )
    })
}

impl Findings {
    /// Takes an orphan out that is revoked.
    pub fn revoked(&mut self, client_id: &str) {
        self.orphans.retain(|o| o.client_id != client_id);
        self.survey.clients -= 1;
        self.survey.unclaimed -= 1;
        self.survey.orphans = self.orphans.iter().take(NAMED).cloned().collect();
    }
}

/// Names for people: the first of them, and how many more.
pub fn listed(ids: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown = ids.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if ids.len() > SHOWN { format!("{shown} and {} more", ids.len() - SHOWN) } else { shown }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    fn seen(names: &[&str]) -> Vec<Seen> {
        let one = |n: &&str| Seen { client_id: format!("id-{n}"), entry: Some((*n).into()), created_at: None };
        names.iter().map(one).collect()
    }

    fn ledger(live: &[&str], ended: &[&str]) -> Ledger {
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Ledger { live: set(live), ended: set(ended) }
    }

    fn sweep(action: OrphanAction) -> OrphanSweep {
        OrphanSweep { action, most_unclaimed_percent: 50, ..OrphanSweep::default() }
    }

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    /// As the next process finds it.
    fn after(found: &Findings) -> Before {
        Before { survey: Some(found.survey.clone()), ..Before::default() }
    }

    fn ids(orphans: &[Orphan]) -> Vec<&str> {
        orphans.iter().map(|o| o.client_id.as_str()).collect()
    }

    fn weighed(names: &[&str], claims: &Ledger, before: &Before, action: OrphanAction, hours: i64) -> Findings {
        weigh("7f3a", &seen(names), claims, before, &sweep(action), at(hours))
    }

    #[test]
    fn an_orphan_is_reported_and_goes_after_the_grace() {
        let (all, claims) = (["a", "b", "x"], ledger(&["a", "b"], &[]));
        let first = weighed(&all, &claims, &Before::default(), OrphanAction::Revoke, 0);
        assert_eq!((first.survey.clients, first.survey.unclaimed), (3, 1));
        assert!(first.revoke.is_empty() && first.returned.is_empty());
        assert_eq!(first.fresh, ["id-x"]);
        let mut later = weighed(&all, &claims, &after(&first), OrphanAction::Revoke, 24);
        assert_eq!(ids(&later.revoke), ["id-x"]);
        assert_eq!(later.survey.orphans[0].since, at(0));
        assert!(later.fresh.is_empty(), "it is told of once");
        let reported = weighed(&all, &claims, &after(&first), OrphanAction::Report, 24);
        assert!(reported.revoke.is_empty());
        later.revoked("id-x");
        assert_eq!(later.survey, Survey { at: at(24), installation: "7f3a".into(), clients: 2, ..Survey::default() });
    }

    #[test]
    fn a_lost_ledger_revokes_nothing_and_says_so_at_once() {
        let (all, none) = (["a", "b", "c"], ledger(&[], &[]));
        let first = weighed(&all, &none, &Before::default(), OrphanAction::Revoke, 0);
        assert!(first.stops && first.survey.stopped.as_ref().is_some_and(|w| w.contains("3 of 3 clients")));
        let later = weighed(&all, &none, &after(&first), OrphanAction::Revoke, 99);
        assert!(later.revoke.is_empty() && later.survey.stopped.is_some());
        assert!(!later.stops, "it is told of once");
        assert_eq!(weighed(&all, &none, &after(&first), OrphanAction::Report, 99).survey.stopped, None);
        let restored = weighed(&all, &ledger(&all, &[]), &after(&later), OrphanAction::Revoke, 99);
        assert_eq!((restored.survey.stopped, restored.survey.unclaimed), (None, 0));
    }

    #[rstest::rstest]
    #[case::at_the_limit(&["a", "x"], 1)]
    #[case::above_it(&["a", "x", "y"], 0)]
    fn the_share_is_of_all_that_is_there(#[case] all: &[&str], #[case] revoked: usize) {
        let claims = ledger(&["a"], &[]);
        let first = weighed(all, &claims, &Before::default(), OrphanAction::Revoke, 0);
        assert_eq!(weighed(all, &claims, &after(&first), OrphanAction::Revoke, 24).revoke.len(), revoked);
    }

    #[test]
    fn a_client_that_came_back_goes_again_at_once() {
        let claims = ledger(&["a"], &["old"]);
        let found = weighed(&["a", "old"], &claims, &Before::default(), OrphanAction::Report, 0);
        assert_eq!(found.returned, seen(&["old"]));
        assert_eq!((found.survey.unclaimed, found.survey.clients, found.fresh.len()), (0, 1, 0));
    }

    #[test]
    fn an_empty_list_says_nothing() {
        let found = weighed(&[], &ledger(&["a"], &["b"]), &Before::default(), OrphanAction::Revoke, 0);
        let nothing = Survey { at: at(0), installation: "7f3a".into(), ..Survey::default() };
        assert_eq!(found, Findings { survey: nothing, ..Findings::default() });
    }

    #[test]
    fn more_orphans_than_a_status_names_keep_their_grace() {
        let names: Vec<String> = (0..NAMED + 5).map(|n| format!("{n:03}")).collect();
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        let claims = ledger(&[], &[]);
        let sweep = OrphanSweep { most_unclaimed_percent: 100, ..sweep(OrphanAction::Revoke) };
        let first = weigh("7f3a", &seen(&all), &claims, &Before::default(), &sweep, at(0));
        assert_eq!((first.survey.orphans.len(), first.orphans.len(), first.fresh.len()), (NAMED, NAMED + 5, NAMED + 5));
        let sightings = first.orphans.iter().map(|o| (o.client_id.clone(), o.since)).collect();
        let same_process = Before { sightings, ..after(&first) };
        let later = weigh("7f3a", &seen(&all), &claims, &same_process, &sweep, at(24));
        assert_eq!((later.revoke.len(), later.fresh.len()), (NAMED + 5, 0));
        let after_a_restart = weigh("7f3a", &seen(&all), &claims, &after(&first), &sweep, at(24));
        assert_eq!((after_a_restart.revoke.len(), after_a_restart.fresh.len()), (NAMED, 0));
    }

    #[test]
    fn long_lists_are_cut() {
        let all: Vec<String> = (0..12).map(|n| n.to_string()).collect();
        assert_eq!(listed(&all[..2]), "0, 1");
        assert_eq!(listed(&all), "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more");
    }
}
