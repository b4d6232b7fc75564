//! SDXL's networks as adapters see them.

use anyhow::Result;

use super::SdxlPipeline;
use crate::adapters::{Network, Part};
use crate::pipelines::loras::Lora;
use crate::pipelines::timings::Timings;

impl SdxlPipeline {
    /// Makes these adapters, and none of earlier requests, part of the weights; nothing else is
    /// loaded anew. Returns notes for the user.
    ///
    /// # Errors
    /// Files that are missing or broken; `BadInput` for an adapter of another family or width. The
    /// weights are then unchanged.
    pub(super) fn merge_loras(&mut self, loras: &[Lora], timings: &mut Timings) -> Result<Vec<String>> {
        if loras.is_empty() && self.adapters.is_empty() {
            return Ok(Vec::new());
        }
        let parts = &self.parts;
        let network = |part, parameters| Network { part, parameters };
        let mut networks = vec![
            network(Part::Unet, &parts.unet.parameters),
            network(Part::TextEncoder2, &parts.text_encoder_2.parameters),
        ];
        if let Some(first) = &parts.text_encoder {
            networks.push(network(Part::TextEncoder, &first.parameters));
        }
        let adapters = &mut self.adapters;
        timings.time("load", &self.device, || adapters.set(&networks, "SDXL", loras))
    }
}
