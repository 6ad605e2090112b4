//! What `crds/` holds besides the rules: `kubectl explain` is the manual, and `kubectl get` answers whether a thing works,
//! until when, and whose it is.

use serde_json::Value;

fn crd(plural: &str) -> Value {
    let text = std::fs::read_to_string(format!("crds/{plural}.yaml")).expect("a custom resource definition");
    serde_yaml::from_str(&text).expect("YAML")
}

/// Members of an object, and of what is in its lists and maps, that say nothing of themselves.
fn silent(schema: &Value, path: &str, into: &mut Vec<String>) {
    for (name, member) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let said = member["description"].as_str().unwrap_or_default();
        if said.trim().is_empty() {
            into.push(path.clone());
        }
        silent(member, &path, into);
    }
    for inner in ["items", "additionalProperties"].map(|inner| &schema[inner]).into_iter().filter(|i| i.is_object()) {
        silent(inner, path, into);
    }
}

#[rstest::rstest]
#[case("oauthclients", "oac", &["all", "oauth"], &["Ready", "State", "Until", "Durability", "Owner", "Server", "Age"])]
#[case("authorizationservers", "authserver", &["oauth"], &["Ready", "Reason", "Issuer", "Age"])]
#[case("clientregistrations", "oacreg", &["oauth"], &["Namespace", "Client", "Server", "Phase", "Until", "Ended", "Evidence", "Owner", "Age"])]
fn kinds_explain_themselves(
    #[case] plural: &str,
    #[case] short: &str,
    #[case] categories: &[&str],
    #[case] columns: &[&str],
) {
    let crd = crd(plural);
    let names = &crd["spec"]["names"];
    assert_eq!(names["shortNames"], serde_json::json!([short]));
    assert_eq!(names["categories"], serde_json::json!(categories));
    let version = &crd["spec"]["versions"][0];
    let printed = version["additionalPrinterColumns"].as_array().expect("columns");
    let shown: Vec<&str> =
        printed.iter().filter(|c| c["priority"].is_null()).map(|c| c["name"].as_str().expect("a name")).collect();
    assert_eq!(shown, columns);
    let schema = &version["schema"]["openAPIV3Schema"];
    for column in printed {
        let path = column["jsonPath"].as_str().expect("a path");
        assert!(path.starts_with(".metadata.") || leads_somewhere(schema, path), "{path} is no field");
    }
    let mut found = Vec::new();
    silent(schema, "", &mut found);
    assert!(found.is_empty(), "fields without a description: {found:#?}");
}

/// Whether a column's path names fields that there are; of a list, those of its items.
fn leads_somewhere(schema: &Value, path: &str) -> bool {
    let mut at = schema;
    for step in path.replace("[?(@.type=='Ready')]", "[]").split('.').filter(|step| !step.is_empty()) {
        at = &at["properties"][step.split('[').next().unwrap_or(step)];
        if step.contains('[') {
            at = &at["items"];
        }
        if at.is_null() {
            return false;
        }
    }
    true
}
