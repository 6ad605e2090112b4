//! Writes the custom resource definitions as YAML, one file a kind, into each of the folders that are named.

use std::{fs, path::Path};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use oauthclient_operator::api::{AuthorizationServer, ClientApproval, ClientPolicy, ClientRegistration, OAuthClient};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let crds = [
        OAuthClient::crd(),
        AuthorizationServer::crd(),
        ClientPolicy::crd(),
        ClientApproval::crd(),
        ClientRegistration::crd(),
    ];
    for folder in std::env::args().skip(1) {
        crds.iter().try_for_each(|crd| write(Path::new(&folder), crd))?;
    }
    Ok(())
}

fn write(folder: &Path, crd: &CustomResourceDefinition) -> Result<(), Box<dyn std::error::Error>> {
    let path = folder.join(format!("{}.yaml", crd.spec.names.plural));
    let yaml: String = serde_yaml::to_string(crd)?.lines().filter_map(line).collect();
    fs::write(path, format!("# Generated from src/api by `make generate`; do not edit.\n{yaml}"))?;
    Ok(())
}

/// A line as the API server reads it right: `y` and `n` are booleans in YAML 1.1, and it knows no unsigned formats.
fn line(text: &str) -> Option<String> {
    let bare = text.trim_start();
    let indent = &text[..text.len() - bare.len()];
    match bare {
        "format: uint8" | "format: uint16" | "format: uint32" => None,
        "y:" | "n:" => Some(format!("{indent}\"{}\":\n", &bare[..1])),
        _ => Some(format!("{text}\n")),
    }
}
