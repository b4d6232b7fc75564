//! The factors of an adapter's layer, and what they multiply to.
//!
//! LoRA (Hu et al. 2021), LoCon, LoHa (Hyeon-Woo et al. 2021, FedPara) and LoKr (Edalati et al.
//! 2022, KronA) with Tucker cores for convolutions, in the names of kohya's sd-scripts, PEFT and
//! LyCORIS. Weights are matrices here: outputs by everything else.

use burn::tensor::{Device, Tensor, TensorData};

use crate::weights::Checkpoint;
use crate::weights::Entry;

/// What a tensor is to its layer, by the end of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Alpha,
    Magnitude,
    Down,
    Up,
    Mid,
    HadaW1A,
    HadaW1B,
    HadaW2A,
    HadaW2B,
    HadaT1,
    HadaT2,
    LokrW1,
    LokrW1A,
    LokrW1B,
    LokrW2,
    LokrW2A,
    LokrW2B,
    LokrT2,
    Diff,
}

/// Ends of names and what they mean; `_lora.` and `.lora.` differ in what belongs to the layer.
const ENDS: &[(&str, Role)] = &[
    (".alpha", Role::Alpha),
    (".dora_scale", Role::Magnitude),
    (".lora_magnitude_vector", Role::Magnitude),
    (".lora_magnitude_vector.weight", Role::Magnitude),
    (".lora_magnitude_vector.default.weight", Role::Magnitude),
    (".lora_down.weight", Role::Down),
    (".lora_up.weight", Role::Up),
    (".lora_mid.weight", Role::Mid),
    (".lora_A.weight", Role::Down),
    (".lora_B.weight", Role::Up),
    (".lora_A.default.weight", Role::Down),
    (".lora_B.default.weight", Role::Up),
    (".lora_A", Role::Down),
    (".lora_B", Role::Up),
    (".lora.down.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    (".hada_w1_a", Role::HadaW1A),
    (".hada_w1_b", Role::HadaW1B),
    (".hada_w2_a", Role::HadaW2A),
    (".hada_w2_b", Role::HadaW2B),
    (".hada_t1", Role::HadaT1),
    (".hada_t2", Role::HadaT2),
    (".lokr_w1", Role::LokrW1),
    (".lokr_w1_a", Role::LokrW1A),
    (".lokr_w1_b", Role::LokrW1B),
    (".lokr_w2", Role::LokrW2),
    (".lokr_w2_a", Role::LokrW2A),
    (".lokr_w2_b", Role::LokrW2B),
    (".lokr_t2", Role::LokrT2),
    (".diff", Role::Diff),
];

/// Ends whose `_lora` stays with the layer, see `file::plain_layer`.
const PROCESSOR_ENDS: &[(&str, Role)] = &[("_lora.down.weight", Role::Down), ("_lora.up.weight", Role::Up)];

impl Role {
    /// The layer that a tensor belongs to, and what it is there.
    pub fn of(name: &str) -> Option<(&str, Role)> {
        let end = |(end, role): &(&str, Role)| Some((name.strip_suffix(end)?, *role));
        let processor = |(end, role): &(&str, Role)| {
            let kept = "_lora".len();
            name.ends_with(end)
                .then(|| (&name[..name.len() - end.len() + kept], *role))
        };
        ENDS.iter()
            .find_map(end)
            .or_else(|| PROCESSOR_ENDS.iter().find_map(processor))
    }
}

/// One stored matrix or core.
#[derive(Debug, Clone)]
pub struct Factor {
    pub entry: Entry,
}

/// One side of a Kronecker product.
#[derive(Debug, Clone)]
pub enum Half {
    Whole(Factor),
    Product {
        a: Factor,
        b: Factor,
        core: Option<Factor>,
    },
}

/// How a layer's change is stored.
#[derive(Debug, Clone)]
pub enum Factors {
    /// LoRA, and with `mid` LoCon's convolution between two pointwise ones.
    LowRank {
        down: Factor,
        up: Factor,
        mid: Option<Factor>,
    },
    /// LoHa: the product, element by element, of two low-rank matrices, each `(a, b, core)`.
    Hadamard([(Factor, Factor, Option<Factor>); 2]),
    /// LoKr.
    Kronecker { w1: Half, w2: Half },
    /// The whole difference.
    Full(Factor),
}

impl Factors {
    /// The kind of adapter that a layer's tensors make; `None` if they make none.
    pub fn of(factor: &dyn Fn(Role) -> Option<Factor>) -> Option<Self> {
        use Role::*;
        if let (Some(down), Some(up)) = (factor(Down), factor(Up)) {
            return Some(Self::LowRank {
                down,
                up,
                mid: factor(Mid),
            });
        }
        if let Some(first) = factor(HadaW1A) {
            return Some(Self::Hadamard([
                (first, factor(HadaW1B)?, factor(HadaT1)),
                (factor(HadaW2A)?, factor(HadaW2B)?, factor(HadaT2)),
            ]));
        }
        if let Some(full) = factor(Diff) {
            return Some(Self::Full(full));
        }
        let half = |whole, a, b, core| match factor(whole) {
            Some(whole) => Some(Half::Whole(whole)),
            None => Some(Half::Product {
                a: factor(a)?,
                b: factor(b)?,
                core,
            }),
        };
        Some(Self::Kronecker {
            w1: half(LokrW1, LokrW1A, LokrW1B, None)?,
            w2: half(LokrW2, LokrW2A, LokrW2B, factor(LokrT2))?,
        })
    }

    /// What alpha is divided by; `None` where the scale is 1 whatever alpha says.
    pub fn rank(&self) -> Option<usize> {
        match self {
            Self::LowRank { down, .. } => Some(down.dim(0)),
            Self::Hadamard([(_, b, _), _]) => Some(b.dim(0)),
            Self::Kronecker { w1, w2 } => match (w1, w2) {
                (Half::Product { b, .. }, _) | (_, Half::Product { b, .. }) => Some(b.dim(0)),
                _ => None,
            },
            Self::Full(_) => None,
        }
    }

    /// Whether the product has the shape of a weight `[out, in, ..kernel]`.
    pub fn fits(&self, shape: &[usize]) -> bool {
        self.shape().is_some_and(|[out, rest]| {
            let matrix = [shape[0], shape[1..].iter().product()];
            [out, rest] == matrix && self.channels().is_none_or(|channels| channels == shape[1])
        })
    }

    /// Outputs, and inputs times kernel, of the product; `None` if the factors do not go together.
    pub fn shape(&self) -> Option<[usize; 2]> {
        match self {
            Self::Full(diff) => Some([diff.dim(0), diff.rest()]),
            Self::LowRank { down, up, mid: None } => {
                (up.rest() == down.dim(0)).then(|| [up.dim(0), down.rest()])
            }
            Self::LowRank {
                down,
                up,
                mid: Some(mid),
            } => tucker_shape(mid, [up.rest(), up.dim(0)], [down.dim(0), down.rest()]),
            Self::Hadamard([first, second]) => {
                let one = |(a, b, core): &(Factor, Factor, Option<Factor>)| match core {
                    Some(core) => tucker_shape(core, [a.dim(0), a.rest()], [b.dim(0), b.rest()]),
                    None => (a.rest() == b.dim(0)).then(|| [a.dim(0), b.rest()]),
                };
                one(first).filter(|shape| one(second).as_ref() == Some(shape))
            }
            Self::Kronecker { w1, w2 } => {
                let ([out_1, in_1], [out_2, in_2]) = (w1.shape()?, w2.shape()?);
                Some([out_1 * out_2, in_1 * in_2])
            }
        }
    }

    /// Input channels, where the factors tell them apart from the kernel.
    fn channels(&self) -> Option<usize> {
        match self {
            Self::LowRank { down, .. } => Some(down.dim(1)),
            Self::Full(diff) => Some(diff.dim(1)),
            Self::Hadamard([(_, b, Some(_)), _]) => Some(b.dim(1)),
            _ => None,
        }
    }

    /// The product, before any scale.
    ///
    /// # Shapes
    /// `shape: [out, in, ..kernel]`, which [`Factors::fits`] → `[out, in · kernel]`, f32.
    pub fn delta(&self, file: &Checkpoint, shape: &[usize], device: &Device) -> Tensor<2> {
        let matrix = |factor: &Factor| factor.matrix(file, device);
        match self {
            Self::Full(diff) => matrix(diff),
            Self::LowRank { down, up, mid: None } => matrix(up).matmul(matrix(down)),
            Self::LowRank {
                down,
                up,
                mid: Some(mid),
            } => tucker(mid.core(file, device), matrix(up), matrix(down)),
            Self::Hadamard(pairs) => {
                let [first, second] = pairs.each_ref().map(|(a, b, core)| match core {
                    Some(core) => tucker(core.core(file, device), matrix(a).transpose(), matrix(b)),
                    None => matrix(a).matmul(matrix(b)),
                });
                first * second
            }
            Self::Kronecker { w1, w2 } => {
                let kernel = shape[2..].iter().product();
                kronecker(w1.matrix(file, device), w2.matrix(file, device), kernel)
            }
        }
    }
}

impl Half {
    fn shape(&self) -> Option<[usize; 2]> {
        match self {
            Self::Whole(whole) => Some([whole.dim(0), whole.rest()]),
            Self::Product { a, b, core: None } => (a.rest() == b.dim(0)).then(|| [a.dim(0), b.rest()]),
            Self::Product {
                a,
                b,
                core: Some(core),
            } => tucker_shape(core, [a.dim(0), a.rest()], [b.dim(0), b.rest()]),
        }
    }

    fn matrix(&self, file: &Checkpoint, device: &Device) -> Tensor<2> {
        let matrix = |factor: &Factor| factor.matrix(file, device);
        match self {
            Self::Whole(whole) => matrix(whole),
            Self::Product { a, b, core: None } => matrix(a).matmul(matrix(b)),
            Self::Product {
                a,
                b,
                core: Some(core),
            } => tucker(core.core(file, device), matrix(a).transpose(), matrix(b)),
        }
    }
}

impl Factor {
    fn dim(&self, axis: usize) -> usize {
        self.entry.shape.get(axis).copied().unwrap_or(1)
    }

    /// Elements of a row.
    fn rest(&self) -> usize {
        self.entry.shape.iter().skip(1).product()
    }

    /// All its numbers, in the order they are stored.
    pub fn values(&self, file: &Checkpoint) -> Vec<f32> {
        file.floats(&self.entry)
            .expect("the header was checked for floats")
    }

    fn matrix(&self, file: &Checkpoint, device: &Device) -> Tensor<2> {
        let data = TensorData::new(self.values(file), [self.dim(0), self.rest()]);
        Tensor::from_data(data, device)
    }

    /// `[rows, columns, kernel]`
    fn core(&self, file: &Checkpoint, device: &Device) -> Tensor<3> {
        let (rows, columns) = (self.dim(0), self.dim(1));
        let kernel = self.rest() / columns.max(1);
        Tensor::from_data(
            TensorData::new(self.values(file), [rows, columns, kernel]),
            device,
        )
    }
}

/// The shape of [`tucker`]: `a` as `[rank, out]`, `b` as `[rank, in]`.
fn tucker_shape(core: &Factor, a: [usize; 2], b: [usize; 2]) -> Option<[usize; 2]> {
    let kernel = core.rest() / core.dim(1).max(1);
    (core.dim(0) == a[0] && core.dim(1) == b[0]).then(|| [a[1], b[1] * kernel])
}

/// Tucker decomposition of a convolution: `Σ a[o, p] · core[p, q, ..] · b[q, i]`.
///
/// # Shapes
/// `core: [p, q, kernel]`, `a: [out, p]`, `b: [q, in]` → `[out, in · kernel]`
fn tucker(core: Tensor<3>, a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let [p, q, kernel] = core.dims();
    let ([out, _], [_, input]) = (a.dims(), b.dims());
    let left = a.matmul(core.reshape([p, q * kernel])).reshape([out, q, kernel]);
    left.swap_dims(1, 2)
        .reshape([out * kernel, q])
        .matmul(b)
        .reshape([out, kernel, input])
        .swap_dims(1, 2)
        .reshape([out, input * kernel])
}

/// Kronecker product; the second factor carries the kernel.
///
/// # Shapes
/// `w1: [o1, i1]`, `w2: [o2, i2 · kernel]` → `[o1 · o2, i1 · i2 · kernel]`
fn kronecker(w1: Tensor<2>, w2: Tensor<2>, kernel: usize) -> Tensor<2> {
    let ([out_1, in_1], [out_2, in_2]) = (w1.dims(), w2.dims());
    debug_assert!(
        in_2.is_multiple_of(kernel),
        "a row of {in_2} for kernels of {kernel}"
    );
    let product = w1.reshape([out_1, 1, in_1, 1]) * w2.reshape([1, out_2, 1, in_2]);
    product.reshape([out_1 * out_2, in_1 * in_2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor<const D: usize>(values: &[f32], shape: [usize; D]) -> Tensor<D> {
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    }

    fn values(t: Tensor<2>) -> Vec<f32> {
        t.into_data().try_into_vec::<f32>().unwrap()
    }

    #[test]
    fn kronecker_keeps_each_kernel_together() {
        let product = kronecker(
            tensor(&[1.0, 10.0], [1, 2]),
            tensor(&[1.0, 2.0, 3.0, 4.0], [2, 2]),
            2,
        );
        assert_eq!(product.dims(), [2, 4]);
        assert_eq!(values(product), [1.0, 2.0, 10.0, 20.0, 3.0, 4.0, 30.0, 40.0]);
    }

    #[test]
    fn tucker_sums_over_both_ranks() {
        // One rank on each side: an outer product with the kernel innermost.
        let core = tensor(&[1.0, 2.0], [1, 1, 2]);
        let product = tucker(core, tensor(&[1.0, 3.0], [2, 1]), tensor(&[1.0, 5.0], [1, 2]));
        assert_eq!(values(product), [1.0, 2.0, 5.0, 10.0, 3.0, 6.0, 15.0, 30.0]);
    }

    #[test]
    fn roles_end_names() {
        let of = |name| Role::of(name).map(|(layer, role)| (layer.to_string(), role));
        let is = |layer: &str, role| Some((layer.to_string(), role));
        assert_eq!(of("lora_unet_a.lora_down.weight"), is("lora_unet_a", Role::Down));
        assert_eq!(of("unet.a.to_q.lora_B.weight"), is("unet.a.to_q", Role::Up));
        assert_eq!(
            of("unet.a.processor.to_q_lora.up.weight"),
            is("unet.a.processor.to_q_lora", Role::Up)
        );
        assert_eq!(of("unet.a.to_q.lora.up.weight"), is("unet.a.to_q", Role::Up));
        assert_eq!(of("a.lokr_w1_a"), is("a", Role::LokrW1A));
        assert_eq!(of("a.oft_blocks"), None);
    }
}
