//! Keeps an eye on the clock. While it is off the API server's nothing is ended for reasons of time, and that is
//! loud; once it is right again, everything is looked at again.

use std::sync::Arc;
use std::time::Duration;

use super::Context;

/// How often the clock is looked at.
const EVERY: Duration = Duration::from_secs(5);
/// The API server is asked for the time when it said nothing for so long.
const SILENCE: Duration = Duration::from_secs(30);
/// The longest that is waited for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs until the process is told to stop.
pub async fn run(ctx: Arc<Context>) {
    let mut was_trusted = true;
    let watching = async {
        loop {
            tokio::time::sleep(EVERY).await;
            look(&ctx, &mut was_trusted).await;
        }
    };
    tokio::select! {
        () = watching => {}
        () = ctx.stopped() => {}
    }
}

async fn look(ctx: &Context, was_trusted: &mut bool) {
    if ctx.clock.silent_for().is_none_or(|silent| silent > SILENCE) {
        // Its answer has the time in it; that it does not answer is told by watches and readiness.
        let _ = tokio::time::timeout(PATIENCE, ctx.client.apiserver_version()).await;
    }
    let Some(offset) = ctx.clock.offset() else { return };
    let trusted = ctx.clock_trusted();
    if trusted == *was_trusted {
        return;
    }
    let seconds = offset.num_seconds();
    if trusted {
        tracing::warn!(
            seconds_ahead = seconds,
            "the local clock is near the API server's again: ends that are due come now"
        );
        ctx.look_again.send_replace(());
    } else {
        tracing::error!(
            seconds_ahead = seconds,
            "the local clock is more than a minute off the API server's: nothing is registered, and nothing is ended for reasons of time, before it is right; check time synchronisation on this node and on the control plane"
        );
    }
    *was_trusted = trusted;
}
