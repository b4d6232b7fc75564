//! WAN's transformer as adapters see it.

use anyhow::Result;

use super::parts::{Networks, Target};
use crate::adapters::{Network, Part};
use crate::models::wan_transformer::WanTransformer;
use crate::pipelines::loras::{Adapters, Lora};
use crate::weights::vars::Mode;

/// The network that WAN's adapters are made for.
pub(super) fn networks(transformer: &WanTransformer) -> [Network<'_>; 1] {
    [Network {
        part: Part::WanTransformer,
        parameters: &transformer.parameters,
    }]
}

/// Makes these adapters, and none of earlier calls, part of the transformer's weights: at once if it
/// is loaded, else when it is. Returns notes for the user.
///
/// # Errors
/// Files that are missing or broken; `BadInput` for an adapter of another family or width. The
/// weights are then unchanged.
pub(super) fn set(
    adapters: &mut Adapters,
    loras: &[Lora],
    transformer: Option<&WanTransformer>,
    from: &Networks,
) -> Result<Vec<String>> {
    const FAMILY: &str = "WAN";
    if loras.is_empty() && adapters.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(transformer) = transformer {
        return adapters.set(&networks(transformer), FAMILY, loras);
    }
    let header = Target {
        mode: Mode::Verify,
        ..from.target.clone()
    };
    let (transformer, _) = from.layout.transformer(&from.configs, &header)?;
    adapters.set_later(&networks(&transformer), FAMILY, loras)
}
