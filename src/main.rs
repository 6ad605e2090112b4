//! The operator process.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use clap::Parser;
use kube::Config;
use kube::client::ClientBuilder;
use oauthclient_operator::controller::{
    Context, authorization_server, client, proof, registration, servers::Servers, timekeeper,
};
use oauthclient_operator::kubernetes::lease::Election;
use oauthclient_operator::kubernetes::look::explain;
use oauthclient_operator::kubernetes::{
    clock::Clock, gate::Gate, installation, scope::Scope, stamps::Stamps, workloads::Kinds,
};
use oauthclient_operator::permit::Permit;
use oauthclient_operator::telemetry::{self, Metrics, Watches, audit::Audit, traces::Traces};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

/// Gives every OAuth client an owner, a purpose, least scopes and an end, and proves that it ended.
///
/// Each flag can be given in the environment too. The cluster is the one that the process runs in, or that KUBECONFIG
/// names.
#[derive(Debug, Parser)]
#[command(version, disable_help_subcommand = true, args_conflicts_with_subcommands = true)]
struct Flags {
    #[command(subcommand)]
    command: Option<Command>,
    /// The operator's own namespace: the ledger, management Secrets and the servers' credentials.
    #[arg(long, env = "OPERATOR_NAMESPACE", value_name = "NAME", default_value = "oauthclient-system")]
    namespace: String,
    /// Namespaces whose OAuthClients are looked after, separated by commas; without it, all. OAuthClients, Secrets
    /// and workloads in other namespaces are not read.
    #[arg(long, env = "OPERATOR_WATCH_NAMESPACES", value_name = "NAMES", value_delimiter = ',')]
    watch_namespaces: Vec<String>,
    /// A further kind that workloadRef may name, as group/version/Kind or group/version/Kind/plural; repeatable. The
    /// operator must be allowed to get, list and watch it.
    #[arg(long = "workload-kind", env = "OPERATOR_WORKLOAD_KINDS", value_name = "KIND", value_delimiter = ',')]
    workload_kinds: Vec<String>,
    /// How many days ledger entries are kept after their client is gone.
    #[arg(long, env = "OPERATOR_RETENTION_DAYS", value_name = "DAYS", default_value_t = 90)]
    retention_days: u16,
    /// Where /metrics, /healthz and /readyz answer. All addresses by default, because kubelet and Prometheus come to
    /// the pod's own; nothing secret is told there. [::]:8080 where pods have IPv6 only.
    #[arg(long, env = "OPERATOR_LISTEN", value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    listen: std::net::SocketAddr,
    /// For how many seconds a replica holds the lease that lets it act, unless it renews it: for so long nothing is done
    /// after the replica that acted has died. One that cannot renew it does nothing more before that.
    #[arg(long, env = "OPERATOR_LEASE_DURATION", value_name = "SECONDS", default_value_t = 15,
        value_parser = clap::value_parser!(u16).range(3..=600))]
    lease_duration: u16,
    /// How many seconds passes under way get to finish on SIGTERM or SIGINT. Less than the pod's
    /// terminationGracePeriodSeconds (30 by default).
    #[arg(long, env = "OPERATOR_STOP_WITHIN", value_name = "SECONDS", default_value_t = 25)]
    stop_within: u16,
    /// Where the audit trail goes: one JSON object a line for every decision and effect, at the end of this file, or to
    /// stdout for `-`.
    #[arg(long, env = "OPERATOR_AUDIT_LOG", value_name = "FILE", default_value = "-")]
    audit_log: std::path::PathBuf,
    /// Where traces are sent, by OTLP over HTTP: to /v1/traces below this URL, such as http://collector.monitoring.svc:4318.
    /// Without it there are none.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", value_parser = collector)]
    otlp_endpoint: Option<url::Url>,
    /// How logs are written, to stderr.
    #[arg(long, env = "OPERATOR_LOG_FORMAT", value_name = "FORMAT", value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
    /// What is logged: a level (error, warn, info, debug, trace), or levels by target, such as
    /// info,oauthclient_operator=debug.
    #[arg(long, env = "OPERATOR_LOG", value_name = "LEVELS", default_value = "info")]
    log: String,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Asks an operator whether it is ready, and is no operator itself.
    Check {
        /// Such as http://oauthclient-operator.oauthclient-system.svc:8080/readyz.
        url: String,
    },
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

fn main() -> ExitCode {
    let mut flags = Flags::parse();
    let done = match flags.command.take() {
        Some(Command::Check { url }) => telemetry::check(&url).map(|answer| println!("{answer}")),
        None => start(flags),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            // Not by the log, which may not be set up yet.
            eprintln!("oauthclient-operator: {why}");
            ExitCode::FAILURE
        }
    }
}

/// A collector's address.
fn collector(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text).map_err(|e| e.to_string())?;
    let bare =
        url.query().is_none() && url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || !bare {
        return Err(
            "give scheme, host and port of a collector's OTLP/HTTP receiver, such as http://localhost:4318".into()
        );
    }
    Ok(url)
}

/// Runs the operator. The lease has a thread of its own, so that it is renewed however busy the others are.
fn start(flags: Flags) -> Result<(), String> {
    use tokio::runtime::Builder;
    let failed = |e: std::io::Error| format!("start threads: {e}");
    let lease = Builder::new_multi_thread().worker_threads(1).thread_name("lease").enable_all().build();
    let lease = lease.map_err(failed)?;
    let others = Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    others.block_on(run(flags, lease.handle().clone()))
}

async fn run(flags: Flags, lease: Handle) -> Result<(), String> {
    start_log(&flags)?;
    let scope = Scope::new(&flags.watch_namespaces).map_err(|e| format!("--watch-namespaces: {e}"))?;
    let kinds = Kinds::new(&flags.workload_kinds).map_err(|e| format!("--workload-kind: {e}"))?;
    let audit = Audit::open(&flags.audit_log).map_err(|e| {
        format!(
            "--audit-log {}: {e}; name a file that the operator may write to, or - for stdout",
            flags.audit_log.display()
        )
    })?;
    let listener = TcpListener::bind(flags.listen)
        .await
        .map_err(|e| format!("--listen {}: {e}; choose an address of this host and a free port", flags.listen))?;
    let clock = Clock::new();
    let config = cluster().await?;
    let address = config.cluster_url.to_string();
    let permit = Permit::none();
    let connect =
        || ClientBuilder::try_from(config.clone()).map_err(|e| format!("connect to the cluster at {address}: {e}"));
    let client = connect()?.with_layer(&Gate::new(permit.clone())).with_layer(&clock.layer()).build();
    // Without a permit: the first replica makes it.
    let free = connect()?.with_layer(&clock.layer()).build();
    let installation = installation::id(&free, &flags.namespace).await.map_err(|e| {
        format!(
            "read or make the ConfigMap with the installation's id in namespace {} at {address}: {}; apply deploy/operator.yaml, or name the right namespace with --namespace",
            flags.namespace,
            explain(&e)
        )
    })?;
    let lease_duration = Duration::from_secs(flags.lease_duration.into());
    let own = {
        // What it spawns runs there as well.
        let _there = lease.enter();
        connect()?.with_layer(&clock.layer()).build()
    };
    let election = Election::new(own, &flags.namespace, lease_duration, clock.clone(), permit.clone());
    let address = listener.local_addr().map(|a| a.to_string()).unwrap_or_default();
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        namespace = flags.namespace,
        watch_namespaces = flags.watch_namespaces.join(","),
        installation,
        identity = election.identity(),
        address,
        "started"
    );
    let traces = match &flags.otlp_endpoint {
        None => Traces::off(clock.clone()),
        Some(url) => Traces::to(url, election.identity(), clock.clone())
            .map_err(|e| format!("--otlp-endpoint {url}: {e}; name the OTLP/HTTP receiver of a collector"))?,
    };
    let (stop, told) = watch::channel(false);
    let watches = Arc::new(Watches::default());
    let metrics = Arc::new(Metrics::new(clock.clone(), scope.clone(), watches.clone(), permit.clone()));
    let answers = telemetry::routes(telemetry::Observed {
        client: client.clone(),
        clock: clock.clone(),
        watches: watches.clone(),
        metrics: metrics.clone(),
        stop: told.clone(),
    });
    let ctx = Arc::new(Context {
        client,
        permit: permit.clone(),
        namespace: flags.namespace,
        installation,
        retention: TimeDelta::days(flags.retention_days.into()),
        clock,
        kinds,
        servers: Servers::new(metrics.clone(), traces.clone(), permit),
        controls: proof::Controls::default(),
        counting: tokio::sync::Mutex::default(),
        judging: oauthclient_operator::controller::client::Judging::default(),
        stamps: Stamps::default(),
        keeping: Arc::default(),
        looked: authorization_server::Looked::default(),
        scope,
        audit,
        traces: traces.clone(),
        metrics,
        watches,
        stop: told,
        look_again: watch::channel(()).0,
    });
    // It answers until the process ends, so that the end can be watched.
    tokio::spawn(async move { axum::serve(listener, answers).await });
    let done = work(ctx, &lease, election, &stop, Duration::from_secs(flags.stop_within.into())).await;
    traces.end().await;
    done
}

/// Runs the controllers until the process is asked to stop, or may act no more.
async fn work(
    ctx: Arc<Context>,
    lease: &Handle,
    election: Election,
    stop: &watch::Sender<bool>,
    grace: Duration,
) -> Result<(), String> {
    let signal = asked_to_stop()?;
    let keeping = ctx.keeping.clone();
    let mut running = tokio::task::JoinSet::new();
    running.spawn(client::run(ctx.clone()));
    running.spawn(registration::run(ctx.clone()));
    running.spawn(authorization_server::run(ctx.clone()));
    running.spawn(timekeeper::run(ctx.clone()));
    running.spawn(async move { ctx.begin().await });
    let (let_go, told) = watch::channel(false);
    let mut held = lease.spawn(election.run(told));
    tokio::select! {
        () = signal => {}
        ended = &mut held => {
            let why = ended.map_err(|e| e.to_string()).and_then(|done| done.map_err(|lost| lost.to_string())).err();
            return Err(format!("{}; start again to wait for it", why.unwrap_or_default()));
        }
        _ = running.join_next() => return Err("a controller ended although nobody asked it to; start again".into()),
    }
    tracing::info!("stopping: passes under way are finished first");
    let _ = stop.send(true);
    let finished = async {
        running.join_all().await;
        keeping.idle().await;
    };
    if tokio::time::timeout(grace, finished).await.is_ok() {
        // Only now: whatever is still under way counts on the time that the lease has left.
        let _ = let_go.send(true);
        let _ = held.await;
        tracing::info!("stopped");
    } else {
        // Others wait until the lease is over, and no longer.
        held.abort();
        tracing::warn!(
            seconds = grace.as_secs(),
            "stopped with passes under way, as a crash would have: what they did is on record, the next start goes on"
        );
    }
    Ok(())
}

fn start_log(flags: &Flags) -> Result<(), String> {
    let filter = EnvFilter::try_new(&flags.log)
        .map_err(|e| format!("--log {:?}: {e}; give a level such as info, or target=level pairs", flags.log))?;
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match flags.log_format {
        LogFormat::Text => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().init(),
    }
    Ok(())
}

async fn cluster() -> Result<Config, String> {
    let mut config = Config::infer().await.map_err(|e| {
        format!("find the cluster: {e}; run as a pod with a ServiceAccount, or set KUBECONFIG to a file that exists")
    })?;
    config.connect_timeout = Some(Duration::from_secs(10));
    // Longer than a watch lasts.
    config.read_timeout = Some(Duration::from_secs(310));
    // By the controllers' own patience: kube's tries each request again for minutes, with its turn at the gate in hand.
    config.default_retry = false;
    Ok(config)
}

/// Done when the process is asked to stop.
fn asked_to_stop() -> Result<impl Future<Output = ()>, String> {
    use tokio::signal::unix::{SignalKind, signal};
    let handle = |kind| signal(kind).map_err(|e| format!("handle signals: {e}"));
    let (mut term, mut interrupt) = (handle(SignalKind::terminate())?, handle(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
