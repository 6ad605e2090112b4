//! The operator process.

use std::sync::Arc;

use chrono::TimeDelta;
use clap::Parser;
use kube::client::ClientBuilder;
use kube::runtime::events::{Recorder, Reporter};
use kube::{Client, Config};
use oauthclient_operator::controller::{Context, authorization_server, client, proof, registration, servers::Servers};
use oauthclient_operator::kubernetes::{clock::Clock, installation, workloads::Kinds};
use tracing_subscriber::EnvFilter;

/// Gives every OAuth client an owner, a purpose, least scopes and an end, and proves that it ended.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    /// The operator's own namespace: the ledger, management Secrets and the servers' credentials.
    #[arg(long, env = "OPERATOR_NAMESPACE", default_value = "oauthclient-system")]
    namespace: String,
    /// A further kind that workloadRef may name, as group/version/Kind or group/version/Kind/plural; repeatable.
    #[arg(long = "workload-kind", env = "OPERATOR_WORKLOAD_KINDS", value_delimiter = ',')]
    workload_kinds: Vec<String>,
    /// How many days final ledger entries are kept.
    #[arg(long, env = "OPERATOR_RETENTION_DAYS", default_value_t = 90)]
    retention_days: u16,
    /// Where /healthz and /readyz answer.
    #[arg(long, env = "OPERATOR_LISTEN", default_value = "127.0.0.1:8080")]
    listen: std::net::SocketAddr,
    /// How logs are written.
    #[arg(long, env = "OPERATOR_LOG_FORMAT", value_enum, default_value_t = LogFormat::Json)]
    log_format: LogFormat,
    /// What is logged: a level, or levels by target.
    #[arg(long, env = "OPERATOR_LOG", default_value = "info")]
    log: String,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let flags = Flags::parse();
    let logs = tracing_subscriber::fmt().with_env_filter(EnvFilter::try_new(&flags.log)?).with_writer(std::io::stderr);
    match flags.log_format {
        LogFormat::Text => logs.with_ansi(false).init(),
        LogFormat::Json => logs.json().init(),
    }
    let clock = Clock::new();
    let mut config = Config::infer().await?;
    config.connect_timeout = Some(std::time::Duration::from_secs(10));
    // Longer than a watch lasts.
    config.read_timeout = Some(std::time::Duration::from_secs(310));
    let kube: Client = ClientBuilder::try_from(config)?.with_layer(&clock.layer()).build();
    let installation = installation::id(&kube, &flags.namespace).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), namespace = flags.namespace, installation, "started");
    let ctx = Arc::new(Context {
        recorder: Recorder::new(kube.clone(), Reporter { controller: "oauthclient-operator".into(), instance: None }),
        client: kube,
        namespace: flags.namespace,
        installation,
        retention: TimeDelta::days(flags.retention_days.into()),
        clock,
        kinds: Kinds::new(&flags.workload_kinds)?,
        servers: Servers::default(),
        controls: proof::Controls::default(),
        looked: authorization_server::Looked::default(),
    });
    let (tell, told) = tokio::sync::watch::channel(false);
    let stop = || {
        let mut told = told.clone();
        async move {
            let _ = told.wait_for(|stop| *stop).await;
        }
    };
    let health = axum::Router::new()
        .route("/healthz", axum::routing::get(|| async { "ok" }))
        .route("/readyz", axum::routing::get(|| async { "ok" }));
    let listener = tokio::net::TcpListener::bind(flags.listen).await?;
    tracing::info!(address = %listener.local_addr()?, "listening");
    let serve = axum::serve(listener, health).with_graceful_shutdown(stop());
    let signals = async {
        let mut term = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            _ = term.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        tracing::info!("stopping: passes under way are finished first");
        let _ = tell.send(true);
        Ok::<_, std::io::Error>(())
    };
    let ((), (), (), served, signalled) = tokio::join!(
        client::run(ctx.clone(), stop()),
        registration::run(ctx.clone(), stop()),
        authorization_server::run(ctx, stop()),
        async { serve.await },
        signals
    );
    served?;
    signalled?;
    Ok(())
}
