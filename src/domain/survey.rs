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

/// What follows from a survey.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// For the status.
    pub survey: Survey,
    /// Clients whose entry says that they are gone: a restored backup or a late request brought them back.
    pub returned: Vec<Seen>,
    /// Orphans to revoke now.
    pub revoke: Vec<Orphan>,
    /// Why orphans that would be revoked are not.
    pub withheld: Option<String>,
}

/// Weighs a whole list against the ledger.
pub fn weigh(
    seen: &[Seen],
    ledger: &Ledger,
    before: Option<&Survey>,
    sweep: &OrphanSweep,
    now: DateTime<Utc>,
) -> Findings {
    let known: BTreeMap<&str, DateTime<Utc>> =
        before.iter().flat_map(|s| &s.orphans).map(|o| (o.client_id.as_str(), o.since)).collect();
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
    let unclaimed = orphans.len();
    let total = seen.len() - returned.len();
    let grace = sweep.grace.delta().unwrap_or_default();
    let due: Vec<Orphan> = match sweep.action {
        OrphanAction::Report => Vec::new(),
        OrphanAction::Revoke => orphans.iter().filter(|o| now >= o.since + grace).cloned().collect(),
    };
    let too_many = unclaimed * 100 > usize::from(sweep.most_unclaimed_percent) * total;
    let withheld = (!due.is_empty() && too_many).then(|| {
        format!(
            "{unclaimed} of {} clients are unclaimed, more than {} %: that is what a lost ledger looks like, so none is revoked. Restore the ledger, or raise orphanSweep.mostUnclaimedPercent",
            total,
            sweep.most_unclaimed_percent
        )
    });
    orphans.truncate(NAMED);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Findings {
        survey: Survey { at: now, clients: count(total), unclaimed: count(unclaimed), orphans },
        returned,
        revoke: if withheld.is_some() { Vec::new() } else { due },
        withheld,
    }
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

    #[test]
    fn an_orphan_is_reported_and_goes_after_the_grace() {
        let (all, claims) = (seen(&["a", "b", "x"]), ledger(&["a", "b"], &[]));
        let first = weigh(&all, &claims, None, &sweep(OrphanAction::Revoke), at(0));
        assert_eq!((first.survey.clients, first.survey.unclaimed), (3, 1));
        assert!(first.revoke.is_empty() && first.returned.is_empty());
        let later = weigh(&all, &claims, Some(&first.survey), &sweep(OrphanAction::Revoke), at(24));
        assert_eq!(later.revoke.iter().map(|o| o.client_id.as_str()).collect::<Vec<_>>(), ["id-x"]);
        assert_eq!(later.survey.orphans[0].since, at(0));
        let reported = weigh(&all, &claims, Some(&first.survey), &sweep(OrphanAction::Report), at(24));
        assert!(reported.revoke.is_empty());
    }

    #[test]
    fn a_lost_ledger_revokes_nothing_and_says_so() {
        let all = seen(&["a", "b", "c"]);
        let first = weigh(&all, &ledger(&[], &[]), None, &sweep(OrphanAction::Revoke), at(0));
        let later = weigh(&all, &ledger(&[], &[]), Some(&first.survey), &sweep(OrphanAction::Revoke), at(99));
        assert!(later.revoke.is_empty());
        assert!(later.withheld.is_some_and(|w| w.contains("3 of 3 clients")));
    }

    #[test]
    fn a_client_that_came_back_goes_again_at_once() {
        let found = weigh(&seen(&["a", "old"]), &ledger(&["a"], &["old"]), None, &sweep(OrphanAction::Report), at(0));
        assert_eq!(found.returned, seen(&["old"]));
        assert_eq!(found.survey.unclaimed, 0);
    }

    #[test]
    fn an_empty_list_says_nothing() {
        let found = weigh(&[], &ledger(&["a"], &["b"]), None, &sweep(OrphanAction::Revoke), at(0));
        assert_eq!(found.survey, Survey { at: at(0), ..Survey::default() });
    }
}
