//! Whether a workload has ended, read from its status.

use serde_json::Value;

/// What is known of the workload that bounds a client's life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Workload {
    /// None is referenced.
    NotReferenced,
    /// There is no object of that name (said by the API server of that very object).
    Missing,
    /// It is there.
    Present {
        /// Its UID.
        uid: String,
        /// Why it has ended, when it has.
        finished: Option<String>,
    },
    /// Its kind may not be watched here.
    NotAllowed {
        /// What to do about it.
        message: String,
    },
    /// Nothing can be said now.
    Unknown,
}

/// Whether a workload of this kind ends by itself. A Deployment whose roll-out failed, a ReplicaSet, a DaemonSet and the like
/// go on until they are deleted.
pub fn runs_to_completion(kind: &str) -> bool {
    !matches!(kind, "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "CronJob")
}

/// Why this workload has ended, or `None` while it goes on: conditions Complete, Failed or Succeeded that are
/// True (Job, PipelineRun, Workflow), or a phase that is final (Pod, Workflow).
pub fn finished(kind: &str, status: &Value) -> Option<String> {
    if !runs_to_completion(kind) {
        return None;
    }
    let conditions = status.get("conditions").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten() {
        let text = |key: &str| condition.get(key).and_then(Value::as_str).unwrap_or_default();
        let ended = match text("type") {
            "Complete" | "Completed" | "Failed" => text("status") == "True",
            // Tekton: Succeeded is Unknown while running, then True or False.
            "Succeeded" => matches!(text("status"), "True" | "False"),
            _ => false,
        };
        if ended {
            return Some(format!("condition {} is {}", text("type"), text("status")));
        }
    }
    let phase = status.get("phase").and_then(Value::as_str)?;
    matches!(phase, "Succeeded" | "Failed" | "Error" | "Completed" | "Complete").then(|| format!("phase is {phase}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::finished;

    #[rstest::rstest]
    #[case("Job", json!({"conditions": [{"type": "Complete", "status": "True"}]}), true)]
    #[case("Job", json!({"conditions": [{"type": "Failed", "status": "True"}]}), true)]
    #[case("Job", json!({"conditions": [{"type": "Complete", "status": "False"}]}), false)]
    #[case("Job", json!({"conditions": [{"type": "Suspended", "status": "True"}]}), false)]
    #[case("Job", json!({"active": 1}), false)]
    #[case("Pod", json!({"phase": "Succeeded"}), true)]
    #[case("Pod", json!({"phase": "Failed"}), true)]
    #[case("Pod", json!({"phase": "Running"}), false)]
    #[case("Pod", json!({"phase": "Unknown"}), false)]
    #[case("PipelineRun", json!({"conditions": [{"type": "Succeeded", "status": "Unknown"}]}), false)]
    #[case("PipelineRun", json!({"conditions": [{"type": "Succeeded", "status": "False"}]}), true)]
    #[case("Workflow", json!({"phase": "Error"}), true)]
    #[case("Deployment", json!({"conditions": [{"type": "Failed", "status": "True"}]}), false)]
    #[case("Thing", json!(null), false)]
    fn ends(#[case] kind: &str, #[case] status: serde_json::Value, #[case] ended: bool) {
        assert_eq!(finished(kind, &status).is_some(), ended);
    }
}
