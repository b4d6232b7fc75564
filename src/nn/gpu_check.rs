//! The operations of a GPU beside their plain forms, on small shapes: what `doctor` runs on a card that
//! nobody has seen before, and what tests run on a software one.

use burn::tensor::{DType, Device, Distribution, Tensor, activation};

use super::attention::{sdpa, sdpa_in_slices};
use super::causal_conv3d::{CausalConv3d, FrameCache};
use super::conv::Conv2d;
use super::gpu::{self, Gate};
use super::linear::Linear;
use super::norm::{GroupNorm, LayerNorm};
use super::rms_norm::{ChannelRmsNorm, RmsNorm};
use super::rope::Rope3d;

/// How far one operation is from its plain form on the CPU.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    pub name: &'static str,
    /// ‖gpu − cpu‖ / ‖cpu‖
    pub error: f64,
    /// What rounding explains.
    pub allowed: f64,
}

impl Compared {
    pub fn is_right(&self) -> bool {
        self.error <= self.allowed
    }
}

/// Computes each operation on both devices.
///
/// # Errors
/// What the device fails with.
pub fn compare(device: &Device, dtype: DType) -> anyhow::Result<Vec<Compared>> {
    let bench = Bench {
        device: device.clone(),
        dtype,
        found: Vec::new(),
    };
    bench.norms()?.products()?.convolutions()?.attention()
}

/// A layer's form on one device: from its inputs there to its result.
type Form<'a, const D: usize> = &'a dyn Fn(&[Tensor<1>], &Device, DType) -> Tensor<D>;

struct Bench {
    device: Device,
    dtype: DType,
    found: Vec<Compared>,
}

impl Bench {
    /// Runs one form on both devices with the same random inputs of the lengths given.
    fn run<const D: usize>(
        mut self,
        name: &'static str,
        lengths: &[usize],
        form: Form<'_, D>,
    ) -> anyhow::Result<Self> {
        let cpu = Device::flex();
        let random = |n: &usize| Tensor::<1>::random([*n], Distribution::Normal(0.2, 1.0), &cpu);
        // What the GPU gets is what the CPU gets, rounded alike.
        let inputs: Vec<Tensor<1>> = lengths
            .iter()
            .map(|n| random(n).cast(self.dtype).cast(DType::F32))
            .collect();
        let there: Vec<Tensor<1>> = inputs
            .iter()
            .map(|t| {
                let there = Tensor::<1>::from_data(t.to_data(), (&self.device, DType::F32));
                there.cast(self.dtype)
            })
            .collect();
        let expected: Vec<f32> = form(&inputs, &cpu, DType::F32).try_into_vec_as()?;
        let found: Vec<f32> = form(&there, &self.device, self.dtype)
            .cast(DType::F32)
            .try_into_vec_as()?;
        let square = |v: f32| f64::from(v) * f64::from(v);
        let off: f64 = expected.iter().zip(&found).map(|(a, b)| square(a - b)).sum();
        let size: f64 = expected.iter().map(|a| square(*a)).sum();
        self.found.push(Compared {
            name,
            error: (off / size).sqrt(),
            allowed: match self.dtype {
                DType::F32 => 1e-5,
                DType::F16 => 4e-3,
                _ => 3e-2,
            },
        });
        Ok(self)
    }

    fn norms(self) -> anyhow::Result<Self> {
        self.run("layer norm", &[6 * 72, 72, 72], &|t, _, _| {
            let norm = LayerNorm::of(t[1].clone(), t[2].clone(), 1e-5);
            norm.forward(t[0].clone().reshape([2, 3, 72]))
        })?
        .run("root mean square norm", &[5 * 96, 96], &|t, _, _| {
            RmsNorm::of(t[1].clone(), 1e-6).forward(t[0].clone().reshape([5, 96]))
        })?
        .run("group norm with SiLU", &[2 * 24 * 9 * 11, 24, 24], &|t, _, _| {
            let norm = GroupNorm::of(t[1].clone(), t[2].clone(), 4, 1e-5);
            norm.forward_silu(t[0].clone().reshape([2, 24, 9, 11]))
        })?
        .run("channel norm with SiLU", &[2 * 20 * 3 * 4 * 5, 20], &|t, _, _| {
            ChannelRmsNorm::of(t[1].clone().reshape([20, 1, 1, 1]), 20)
                .forward_silu(t[0].clone().reshape([2, 20, 3, 4, 5]))
        })?
        .run(
            "norm turned by position",
            &[2 * 12 * 48, 48, 48],
            &|t, device, _| {
                let rope = Rope3d::new(24, [2, 2, 3], device);
                let x = t[0].clone().reshape([2, 12, 48]);
                let (bias, weight) = (t[1].clone(), t[2].clone());
                if gpu::serves(device) {
                    return gpu::turned_norm(x, [bias, weight], rope.tables(), 1e-6).reshape([2, 12, 2, 24]);
                }
                let normal = RmsNorm::of(weight, 1e-6).forward(x + bias.unsqueeze::<3>());
                rope.apply(normal.reshape([2, 12, 2, 24]))
            },
        )
    }

    fn products(self) -> anyhow::Result<Self> {
        self.run("linear layer", &[2 * 70 * 64, 128 * 64, 128], &|t, _, _| {
            let layer = Linear {
                weight: t[1].clone().reshape([128, 64]).into(),
                bias: Some(t[2].clone()),
            };
            layer.forward(t[0].clone().reshape([2, 70, 64]))
        })?
        .run("linear layer of one row", &[96, 40 * 96], &|t, _, _| {
            let layer = Linear {
                weight: t[1].clone().reshape([40, 96]).into(),
                bias: None,
            };
            layer.forward(t[0].clone().reshape([1, 96]))
        })?
        .run("gelu gate", &[7 * 80, 80], &|t, device, _| {
            let x: Tensor<2> = t[0].clone().reshape([7, 80]);
            if gpu::serves(device) {
                return gpu::gate(x, Some(t[1].clone()), Gate::GeluOfSecond);
            }
            let x = x + t[1].clone().unsqueeze::<2>();
            x.clone().narrow(1, 0, 40) * activation::gelu(x.narrow(1, 40, 40))
        })?
        .run("silu gate", &[7 * 72], &|t, device, _| {
            let x: Tensor<2> = t[0].clone().reshape([7, 72]);
            if gpu::serves(device) {
                return gpu::gate(x, None, Gate::SiluOfFirst);
            }
            activation::silu(x.clone().narrow(1, 0, 36)) * x.narrow(1, 36, 36)
        })
    }

    fn convolutions(self) -> anyhow::Result<Self> {
        let conv = |t: &[Tensor<1>], [out, input, side]: [usize; 3], stride| Conv2d {
            weight: t[1].clone().reshape([out, input, side, side]).into(),
            bias: t[2].clone(),
            stride,
            padding: side / 2,
        };
        self.run("convolution", &[2 * 16 * 10 * 12, 32 * 16 * 9, 32], &|t, _, _| {
            conv(t, [32, 16, 3], 1).forward(t[0].clone().reshape([2, 16, 10, 12]))
        })?
        .run(
            "convolution with stride",
            &[16 * 10 * 12, 24 * 16 * 9, 24],
            &|t, _, _| conv(t, [24, 16, 3], 2).forward(t[0].clone().reshape([1, 16, 10, 12])),
        )?
        .run("pointwise convolution", &[4 * 8 * 8, 16 * 4, 16], &|t, _, _| {
            conv(t, [16, 4, 1], 1).forward(t[0].clone().reshape([1, 4, 8, 8]))
        })?
        .run(
            "causal convolution",
            &[8 * 3 * 6 * 6, 16 * 8 * 27, 16],
            &|t, _, _| {
                let layer = CausalConv3d::of(t[1].clone().reshape([16, 8, 3, 3, 3]), t[2].clone(), [3, 3, 3]);
                let x: Tensor<5> = t[0].clone().reshape([1, 8, 3, 6, 6]);
                let mut cache = FrameCache::default();
                let first = layer.forward(x.clone().narrow(2, 0, 1), &mut cache);
                cache.next_chunk();
                let rest = layer.forward(x.narrow(2, 1, 2), &mut cache);
                Tensor::cat(vec![first, rest], 2)
            },
        )
    }

    fn attention(self) -> anyhow::Result<Vec<Compared>> {
        let heads = |t: &Tensor<1>, length: usize| -> Tensor<4> { t.clone().reshape([1, 2, length, 32]) };
        let (long, short) = (2 * 100 * 32, 2 * 20 * 32);
        Ok(self
            .run("attention", &[long, short, short], &|t, _, _| {
                sdpa(heads(&t[0], 100), heads(&t[1], 20), heads(&t[2], 20), false)
            })?
            .run("causal attention", &[long, long, long], &|t, _, _| {
                sdpa(heads(&t[0], 100), heads(&t[1], 100), heads(&t[2], 100), true)
            })?
            .run("attention in slices", &[long, short, short], &|t, _, _| {
                sdpa_in_slices(heads(&t[0], 100), heads(&t[1], 20), heads(&t[2], 20), false)
            })?
            .found)
    }
}
