//! Adapters into the weights of loaded networks, and out again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use anyhow::Result;
use burn::tensor::{DType, Tensor, TensorData};

use super::family;
use super::file::{Adapter, Layer};
use super::names::{Part, spellings};
use crate::fail;
use crate::nn::in_dtype;
use crate::weights::Parameters;
use crate::weights::param::Parameter;

/// An adapter and how strongly it acts; 1 is what it was trained for, and below 0 it acts backwards.
#[derive(Debug, Clone)]
pub struct ScaledAdapter {
    pub adapter: Arc<Adapter>,
    pub scale: f64,
}

impl PartialEq for ScaledAdapter {
    /// The same opened file at the same scale.
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.adapter, &other.adapter) && self.scale == other.scale
    }
}

/// A loaded network whose weights adapters may change.
#[derive(Debug, Clone, Copy)]
pub struct Network<'a> {
    pub part: Part,
    pub parameters: &'a Parameters,
}

/// What is merged into a model's networks at present.
#[derive(Debug, Default)]
pub struct Merged {
    adapters: Vec<ScaledAdapter>,
    touched: BTreeSet<(Part, String)>,
}

/// What changes one weight: each layer with its adapter and its strength.
type Terms<'a> = Vec<(&'a Adapter, &'a Layer, f64)>;
type Plan<'a> = BTreeMap<(Part, String), Terms<'a>>;

impl Merged {
    /// Makes these adapters, and no others, part of the weights. Weights that were changed before
    /// are read from their file again, so that nothing of earlier adapters is left; a call with
    /// what is merged already does nothing.
    ///
    /// Returns the names in the files that no network has.
    ///
    /// # Errors
    /// `BadInput` for an adapter of another family or width; the weights are then unchanged.
    pub fn set(
        &mut self,
        networks: &[Network],
        family: &str,
        adapters: &[ScaledAdapter],
    ) -> Result<Vec<String>> {
        let (plan, unknown) = plan(networks, family, adapters)?;
        if self.adapters == adapters {
            return Ok(unknown);
        }
        let find = |(part, name): &(Part, String)| {
            networks
                .iter()
                .find(|network| network.part == *part)
                .and_then(|network| network.parameters.get(name))
        };
        // Restored one by one, just before they change again: the peak stays near one layer.
        for key in self.touched.iter().filter(|key| !plan.contains_key(key)) {
            find(key).inspect(|parameter| parameter.restore());
        }
        for (key, terms) in &plan {
            let parameter = find(key).expect("planned from these networks");
            if self.touched.contains(key) {
                parameter.restore();
            }
            parameter.put(merged(parameter, terms));
        }
        self.touched = plan.into_keys().collect();
        self.adapters = adapters.to_vec();
        Ok(unknown)
    }

    /// What [`Merged::set`] would say, for networks of which only the header was read.
    ///
    /// # Errors
    /// As [`Merged::set`].
    pub fn check(networks: &[Network], family: &str, adapters: &[ScaledAdapter]) -> Result<Vec<String>> {
        plan(networks, family, adapters).map(|(_, unknown)| unknown)
    }

    /// Forgets what was merged, for networks that were dropped or loaded anew.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Which weight each layer of each adapter changes.
fn plan<'a>(
    networks: &[Network],
    family: &str,
    adapters: &'a [ScaledAdapter],
) -> Result<(Plan<'a>, Vec<String>)> {
    let mut table = BTreeMap::new();
    for network in networks.iter().filter(|_| !adapters.is_empty()) {
        for (spelling, name) in spellings(network.part, network.parameters) {
            let shape = network.parameters.get(&name).expect("its own name").shape();
            table.insert(spelling, (network.part, name, shape));
        }
    }
    let (mut plan, mut all_unknown) = (Plan::new(), Vec::new());
    for ScaledAdapter { adapter, scale } in adapters {
        let (mut unknown, mut wrong) = (Vec::new(), None);
        for (key, layer) in &adapter.layers {
            let Some((part, name, shape)) = table.get(key) else {
                unknown.push(key.as_str());
                continue;
            };
            if !layer.fits(shape) {
                wrong.get_or_insert_with(|| (key, layer.factors.shape(), shape.to_vec()));
            }
            let terms: &mut Terms = plan.entry((*part, name.clone())).or_default();
            terms.push((adapter, layer, *scale));
        }
        let matched = adapter.layers.len() - unknown.len();
        refuse_other_family(adapter, family, matched, &unknown)?;
        if let Some((key, found, shape)) = wrong {
            let made = found.map_or("factors that do not go together".into(), |[o, i]| {
                format!("{o}×{i}")
            });
            let [out, rest] = [shape[0], shape[1..].iter().product()];
            fail!(
                BadInput, "lora `{}` is for a model of another width: `{key}` is {made}, this model has {out}×{rest}",
                adapter.path.display();
                "use a LoRA that was trained on this model's family and size ({family})"
            );
        }
        let unknown = unknown
            .into_iter()
            .chain(adapter.unknown.iter().map(String::as_str));
        all_unknown.extend(unknown.map(|key| format!("{}: {key}", adapter.name())));
    }
    Ok((plan, all_unknown))
}

fn refuse_other_family(adapter: &Adapter, family: &str, matched: usize, unknown: &[&str]) -> Result<()> {
    let other = family::of_names(unknown.iter().copied()).filter(|found| *found != family);
    match other {
        Some(other) => fail!(
            BadInput, "lora `{}` is for {other}; this model is {family}", adapter.path.display();
            "name a LoRA for {family}, or another model with --model"
        ),
        None if matched == 0 => fail!(
            BadInput, "lora `{}`: none of its {} layers is in this {family} model; the first is `{}`",
            adapter.path.display(), adapter.layers.len(), unknown.first().unwrap_or(&"");
            "name a LoRA for {family}"
        ),
        None => Ok(()),
    }
}

impl Layer {
    /// Whether it changes a weight of this shape.
    fn fits(&self, shape: &[usize]) -> bool {
        let magnitudes = |factor: &super::factors::Factor| {
            let count: usize = factor.entry.shape.iter().product();
            count == shape[0] || count == shape[1]
        };
        self.factors.fits(shape) && self.magnitude.as_ref().is_none_or(magnitudes)
    }
}

/// The weight with all that changes it, in f32: `W + Σ strength · (scale · delta)`.
///
/// With DoRA's magnitudes the term is `strength · (m · V / ‖V‖ − W)`, `V = W + scale · delta`, as
/// in A1111, Forge and ComfyUI.
fn merged(parameter: &dyn Parameter, terms: &Terms) -> Tensor<2> {
    let shape = parameter.shape();
    let weight = in_dtype(&parameter.matrix(), DType::F32);
    let device = weight.device();
    let mut sum = weight.clone();
    for (adapter, layer, strength) in terms {
        let file = adapter.checkpoint();
        let delta = layer.factors.delta(file, shape, &device);
        sum = match &layer.magnitude {
            None => sum + delta * (layer.scale * strength),
            Some(magnitude) => {
                let directed = weight.clone() + delta * layer.scale;
                let per_output = magnitude.entry.shape.first() == Some(&shape[0]);
                let values = magnitude.values(file);
                let decomposed = with_magnitude(directed, shape, values, per_output);
                sum + (decomposed - weight.clone()) * *strength
            }
        };
    }
    sum
}

/// Scales each output, or each input channel, to a length (Liu et al. 2024, eq. 5).
///
/// # Shapes
/// `directed: [out, in · kernel]`, `shape: [out, in, ..kernel]`
fn with_magnitude(directed: Tensor<2>, shape: &[usize], lengths: Vec<f32>, per_output: bool) -> Tensor<2> {
    let dims = directed.dims();
    let device = directed.device();
    let (out, input) = (shape[0], shape[1]);
    let rows: Tensor<3> = directed.reshape([out, input, dims[1] / input]);
    let squares = rows.clone().square();
    let (norms, lengths_shape) = if per_output {
        (squares.sum_dim(2).sum_dim(1), [out, 1, 1])
    } else {
        (squares.sum_dim(2).sum_dim(0), [1, input, 1])
    };
    let lengths = Tensor::<3>::from_data(TensorData::new(lengths, lengths_shape), &device);
    (rows * (lengths / norms.sqrt())).reshape(dims)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn magnitudes_are_the_lengths_of_outputs_or_of_inputs() {
        let device = Device::flex();
        let weight = Tensor::<2>::from_floats([[3.0, 4.0], [0.0, 2.0]], &device);
        let outputs = with_magnitude(weight.clone(), &[2, 2], vec![10.0, 1.0], true);
        let values = outputs.into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(values, [6.0, 8.0, 0.0, 1.0]);
        let inputs = with_magnitude(weight, &[2, 2], vec![6.0, 20.0_f32.sqrt()], false);
        let values = inputs.into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(values[..1], [6.0]);
        assert!((values[1] - 4.0).abs() < 1e-6 && (values[3] - 2.0).abs() < 1e-6);
    }
}
