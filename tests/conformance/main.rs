//! One suite that every backend passes, against real servers. What a server cannot do, its backend declares; both are
//! in `docs/authorization-servers.md`, which is written from what the suite sees.
//!
//! `HYDRA_ADMIN_URL` and `HYDRA_PUBLIC_URL` name a Hydra; without them its tests are skipped by name.

mod checks;
mod consumer;
mod hydra;
mod keycloak;
mod oidc_provider;
mod results;
mod server;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use libtest_mimic::{Arguments, Trial};
use support::Bed;

/// The test bed, started by the first test that needs it.
#[derive(Clone, Default)]
struct SharedBed(Arc<OnceLock<Bed>>);

impl SharedBed {
    fn get(&self) -> &Bed {
        self.0.get_or_init(|| Bed::without_a_cluster("conformance"))
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let bed = SharedBed::default();
    let on_bed = |name: &str, test: fn(&Bed)| {
        let bed = bed.clone();
        Trial::test(name, move || {
            test(bed.get());
            Ok(())
        })
    };
    let on_hydra = |name: &str, registration: bool, test: fn(&Bed)| match hydra::lacks(registration) {
        Some(lack) => on_bed(&format!("{name}, {lack}"), test).with_ignored_flag(true),
        None => on_bed(name, test),
    };
    let tests = vec![
        on_bed("oidc_provider", oidc_provider::by_registration),
        on_bed("keycloak_by_registration", keycloak::by_registration),
        on_bed("keycloak_by_admin_api", keycloak::by_admin_api),
        on_bed("keycloak_rights", keycloak::rights),
        on_hydra("hydra_by_registration", true, hydra::by_registration),
        on_hydra("hydra_by_admin_api", false, hydra::by_admin_api),
        on_hydra("hydra_public_port", false, hydra::public_port),
        Trial::test("documented", || {
            results::documented();
            Ok(())
        }),
    ];
    let conclusion = libtest_mimic::run(&arguments, tests);
    // The last to hold the bed ends it.
    drop(bed);
    conclusion.exit_code()
}
