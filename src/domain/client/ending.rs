//! An end by time is announced ahead, so that it comes as a surprise to nobody.

use chrono::{DateTime, SecondsFormat, Utc};

use super::{Observed, governed};
use crate::api::ClientRegistration;
use crate::domain::conditions::{Say, say};
use crate::domain::lifetime;

/// That the end of an entry's client is near, and what to do where it should go on.
pub(super) fn said(o: &Observed, entry: &ClientRegistration, now: DateTime<Utc>) -> Option<Say> {
    let (first, end) = (entry.spec.first_registered_at, entry.spec.expires_at);
    if !o.clock_trusted || now < lifetime::announced_at(first, end) {
        return None;
    }
    let at = end.to_rfc3339_opts(SecondsFormat::Secs, true);
    let approval = entry.spec.approval.as_ref().filter(|a| a.not_after == Some(end));
    Some(if let Some(approval) = approval {
        let (name, how) = (&approval.name, governed::how_to_approve(o, &governed::hash(o)));
        let message = format!("the approval that it runs on, {name}, ends at {at}, and the client with it. {how}");
        say("Ending", true, "ApprovalEnds", message)
    } else {
        let message =
            format!("its lifetime ends at {at}; a longer spec.lifetime, where a policy allows it, extends it");
        say("Ending", true, "LifetimeEnds", message)
    })
}

/// When there is something to say.
pub(super) fn look_again(entry: &ClientRegistration, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let at = lifetime::announced_at(entry.spec.first_registered_at, entry.spec.expires_at);
    (at > now).then_some(at)
}
