//! Where denoising begins: pure noise, a picture, or what an earlier denoiser left. The draws from each
//! picture's generator come in diffusers' order.

use burn::tensor::{Device, Tensor};

use super::pictures::{self, Repaint};
use crate::media::frames::Frame;
use crate::models::sdxl_vae::{LatentDistribution, Vae};
use crate::models::sdxl_vae_tiling::Tiling;
use crate::nn::noise::TorchGenerator;
use crate::schedulers::Scheduler;

/// One generator a picture.
pub struct Generators<'a> {
    each: Vec<TorchGenerator>,
    device: &'a Device,
}

impl<'a> Generators<'a> {
    pub fn new(seeds: &[u64], device: &'a Device) -> Self {
        Self {
            each: seeds.iter().map(|&seed| TorchGenerator::new(seed)).collect(),
            device,
        }
    }

    pub fn len(&self) -> usize {
        self.each.len()
    }

    /// Standard normal values for every picture.
    ///
    /// # Shapes
    /// `shape` of one picture, `[1, ..]` → `[pictures, ..]`.
    pub fn draw(&mut self, shape: [usize; 4]) -> Tensor<4> {
        let drawn = self
            .each
            .iter_mut()
            .map(|g| g.randn_like_shape(shape, self.device));
        Tensor::cat(drawn.collect(), 0)
    }

    /// Of the first picture's generator alone.
    fn draw_first(&mut self, shape: [usize; 4]) -> Tensor<4> {
        self.each[0].randn_like_shape(shape, self.device)
    }
}

/// What denoising begins with.
pub enum Start<'a> {
    Noise,
    Pictures(Init<'a>),
    /// Latents with noise left, `[pictures, channels, h, w]`.
    Latents(Box<Tensor<4>>),
}

/// The pictures of image-to-image and inpainting.
pub struct Init<'a> {
    /// One for all, or one each; of the output's size.
    pub frames: Vec<Frame>,
    /// Share of the schedule that runs.
    pub strength: f64,
    pub repaint: Option<&'a Repaint>,
    /// False when the picture itself is at the noise level where work begins.
    pub add_noise: bool,
}

/// Latents to start from, and what inpainting puts in between steps.
pub struct Begun {
    pub latents: Tensor<4>,
    pub inpaint: Option<Inpaint>,
}

/// How the kept part stays what it was.
pub enum Inpaint {
    /// Put back after every step, with as much noise as the next one expects.
    Blend(Box<Blend>),
    /// The denoiser sees mask and masked picture as further channels, `[pictures, 5, h, w]`.
    Channels(Box<Tensor<4>>),
}

/// What the kept part is made of.
pub struct Blend {
    /// 1 where it is repainted.
    pub mask: Tensor<4>,
    pub image_latents: Tensor<4>,
    pub noise: Tensor<4>,
}

impl Blend {
    /// `latents` with the kept part as noisy as call `next` expects it, or clean behind the last one.
    pub fn put_back(
        &self,
        latents: Tensor<4>,
        scheduler: &dyn Scheduler<4>,
        next: Option<usize>,
    ) -> Tensor<4> {
        let kept = match next {
            Some(next) => scheduler.add_noise(self.image_latents.clone(), self.noise.clone(), next),
            None => self.image_latents.clone(),
        };
        kept * (self.mask.clone().neg() + 1.0) + latents * self.mask.clone()
    }
}

/// The autoencoder and how it is used.
#[derive(Clone, Copy)]
pub struct Coder<'a> {
    pub vae: &'a Vae,
    pub tiling: Option<Tiling>,
}

impl Coder<'_> {
    fn encode(&self, image: Tensor<4>) -> LatentDistribution {
        match self.tiling {
            Some(tiling) => self.vae.encode_tiled(image, tiling),
            None => self.vae.encode(image),
        }
    }

    /// Latents of the denoiser's scale to a picture.
    ///
    /// # Shapes
    /// `[1, channels, h, w]` → `[1, 3, 8 h, 8 w]`, about −1…1.
    pub fn decode(&self, latents: Tensor<4>) -> Tensor<4> {
        let latents = self.vae.unscale(latents);
        match self.tiling {
            Some(tiling) => self.vae.decode_tiled(latents, tiling),
            None => self.vae.decode(latents),
        }
    }

    /// Pictures to distributions, one at a time: encoding needs the most memory of all stages.
    fn encode_frames(&self, frames: &[Frame], device: &Device) -> LatentDistribution {
        let each: Vec<LatentDistribution> = frames
            .iter()
            .map(|frame| self.encode(pictures::to_signed(frame, device)))
            .collect();
        let all =
            |part: &dyn Fn(&LatentDistribution) -> Tensor<4>| Tensor::cat(each.iter().map(part).collect(), 0);
        LatentDistribution {
            mean: all(&|d| d.mean.clone()),
            logvar: all(&|d| d.logvar.clone()),
        }
    }
}

/// What the first latents are made with.
pub struct Beginning<'a> {
    pub coder: Coder<'a>,
    pub scheduler: &'a dyn Scheduler<4>,
    /// The call at which work begins.
    pub first: usize,
    /// One picture's, `[1, channels, h, w]`.
    pub shape: [usize; 4],
    /// The denoiser's; more than those of the latents when it was made for inpainting.
    pub in_channels: usize,
}

impl Beginning<'_> {
    /// The latents before the first call.
    pub fn latents(&self, start: Start<'_>, generators: &mut Generators<'_>) -> Begun {
        let latents = match start {
            Start::Noise => generators.draw(self.shape) * self.scheduler.init_noise_sigma(),
            Start::Latents(latents) => *latents,
            Start::Pictures(init) => match init.repaint {
                Some(repaint) => return self.inpaint(&init, repaint, generators),
                None => self.image_to_image(&init, generators),
            },
        };
        Begun {
            latents,
            inpaint: None,
        }
    }

    fn image_to_image(&self, init: &Init<'_>, generators: &mut Generators<'_>) -> Tensor<4> {
        let distribution = self.coder.encode_frames(&init.frames, generators.device);
        let sample = distribution.sample(generators.draw(self.shape));
        let latents = self.coder.vae.scale(sample);
        match init.add_noise {
            true => {
                let noise = generators.draw(self.shape);
                self.scheduler.add_noise(latents, noise, self.first)
            }
            false => latents,
        }
    }

    /// diffusers draws the posteriors of a batch from its first generator only, and shares them.
    fn inpaint(&self, init: &Init<'_>, repaint: &Repaint, generators: &mut Generators<'_>) -> Begun {
        let (device, pictures) = (generators.device, generators.len());
        let has_channels = self.in_channels > self.shape[1];
        let from_noise = init.strength >= 1.0 && init.add_noise;
        let image = pictures::to_signed(&init.frames[0], device);
        let image_latents = (!has_channels || !from_noise)
            .then(|| self.posterior(image.clone(), generators).repeat_dim(0, pictures));
        let noise = generators.draw(self.shape);
        let latents = match &image_latents {
            Some(latents) if !init.add_noise => latents.clone(),
            Some(latents) if !from_noise => {
                self.scheduler
                    .add_noise(latents.clone(), noise.clone(), self.first)
            }
            _ => noise.clone() * self.scheduler.init_noise_sigma(),
        };
        let kept = repaint.tensor(1, device).neg() + 1.0;
        let masked_latents = self.posterior(image * kept, generators);
        let mask = repaint.tensor(self.coder.vae.config.scale_factor(), device);
        let inpaint = match image_latents {
            Some(image_latents) if !has_channels => Inpaint::Blend(Box::new(Blend {
                mask,
                image_latents,
                noise,
            })),
            _ => {
                let channels = Tensor::cat(vec![mask, masked_latents], 1).repeat_dim(0, pictures);
                Inpaint::Channels(Box::new(channels))
            }
        };
        Begun {
            latents,
            inpaint: Some(inpaint),
        }
    }

    fn posterior(&self, image: Tensor<4>, generators: &mut Generators<'_>) -> Tensor<4> {
        let drawn = generators.draw_first(self.shape);
        self.coder.vae.scale(self.coder.encode(image).sample(drawn))
    }
}
