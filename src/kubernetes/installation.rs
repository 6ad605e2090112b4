//! The installation's id: made once, kept in the operator's namespace, part of every marker at a server.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta};
use kube::{Client, Error};

use super::look::{Look, is_conflict, look};
use super::management_secret::ROLE_LABEL;
use super::writer;

const NAME: &str = "oauthclient-operator-installation";

/// Reads the id, or makes it.
pub async fn id(client: &Client, namespace: &str) -> Result<String, Error> {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    if let Look::There(found) = look(&api, "configmaps", NAME).await
        && let Some(id) = found.data.unwrap_or_default().remove("id")
    {
        return Ok(id);
    }
    let id = crate::domain::names::hex(&rand::random::<[u8; 8]>());
    let made = ConfigMap {
        metadata: ObjectMeta {
            name: Some(NAME.into()),
            // deploy/guard.yaml keeps what has this label while clients live.
            labels: Some([(ROLE_LABEL.to_owned(), "installation".to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some([("id".to_owned(), id.clone())].into()),
        ..ConfigMap::default()
    };
    match api.create(&writer::post(), &made).await {
        Ok(_) => Ok(id),
        // Another replica was quicker: its id is the installation's.
        Err(error) if is_conflict(&error) => {
            let found = api.get(NAME).await?;
            Ok(found.data.unwrap_or_default().remove("id").unwrap_or(id))
        }
        Err(error) => Err(error),
    }
}
