//! In whose name things are written: one field manager for everything, so that `managedFields` tell what is the operator's.

use kube::api::{PatchParams, PostParams};

use crate::api::MANAGER;

/// For creating and replacing.
pub fn post() -> PostParams {
    PostParams { field_manager: Some(MANAGER.into()), ..PostParams::default() }
}

/// For patches.
pub fn patch() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() }
}
