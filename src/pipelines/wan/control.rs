//! VACE's control video: what is given, what is to be made, and a mask that tells them apart; as
//! diffusers' `WanVACEPipeline` prepares it.

use burn::tensor::{Device, Tensor};

use crate::media::frames::Frame;
use crate::models::wan_vae::WanVae;
use crate::pipelines::video::{References, VideoRequest};

/// Mid-grey as an 8-bit picture has it: what VACE was shown in place of frames to be made.
const GREY: f32 = 128.0 / 255.0 * 2.0 - 1.0;

/// Latents of the given frames, of the others, and the mask, one behind the other in channels. A
/// subject picture stands before the first frame.
///
/// # Shapes
/// → `[1, 2 · z_dim + 64, frames, height / 8, width / 8]`, one latent frame more with a subject.
pub fn control_latents(vae: &WanVae, request: &VideoRequest, device: &Device) -> Tensor<5> {
    let references = &request.references;
    let given = given_frames(references, request.num_frames);
    let (height, width) = (request.height_px, request.width_px);
    let plain = |value: f32| Tensor::<5>::full([1, 3, 1, height, width], value, device);
    let encode = |frames: Vec<Tensor<5>>| vae.scale(vae.encode(Tensor::cat(frames, 2)));

    let inactive = encode(
        given
            .iter()
            .map(|frame| frame.map_or_else(|| plain(0.0), |f| to_tensor(f, device)))
            .collect(),
    );
    let reactive = match given.iter().any(Option::is_some) {
        true => encode(
            given
                .iter()
                .map(|frame| plain(if frame.is_some() { 0.0 } else { GREY }))
                .collect(),
        ),
        // Without a given frame diffusers makes the control video from nothing, not from grey: the
        // same frames as the inactive ones.
        false => inactive.clone(),
    };
    let made: Vec<bool> = given.iter().map(Option::is_none).collect();
    let mask = mask_latents(vae, &made, inactive.dims(), device);
    let control = Tensor::cat(vec![inactive, reactive, mask], 1);
    match &references.subject {
        None => control,
        Some(subject) => {
            let latent = encode(vec![to_tensor(subject, device)]);
            let [_, channels, _, h, w] = control.dims();
            let zeros = Tensor::zeros([1, channels - vae.config.z_dim, 1, h, w], device);
            Tensor::cat(vec![Tensor::cat(vec![latent, zeros], 1), control], 2)
        }
    }
}

/// The picture that each frame is to be, where one is given.
fn given_frames(references: &References, num_frames: usize) -> Vec<Option<&Frame>> {
    let mut given = vec![None; num_frames];
    if let Some(first) = &references.first_frame {
        given[0] = Some(first);
    }
    if let Some(last) = &references.last_frame {
        given[num_frames - 1] = Some(last);
    }
    given
}

/// 1 where a frame is to be made, for each pixel of a latent and each latent frame.
fn mask_latents(vae: &WanVae, made: &[bool], latents: [usize; 5], device: &Device) -> Tensor<5> {
    let [_, _, frames, height, width] = latents;
    let channels = vae.config.scale_factor_spatial().pow(2);
    let planes = (0..frames)
        .map(|i| {
            let value = if made[nearest_exact(i, made.len(), frames)] {
                1.0
            } else {
                0.0
            };
            Tensor::full([1, channels, 1, height, width], value, device)
        })
        .collect();
    Tensor::cat(planes, 2)
}

/// Where `torch.nn.functional.interpolate(mode="nearest-exact")` from `input` to `output` values
/// takes value `i`, in f32 as there.
fn nearest_exact(i: usize, input: usize, output: usize) -> usize {
    let scale = input as f32 / output as f32;
    (((i as f32 + 0.5) * scale) as usize).min(input - 1)
}

/// `[1, 3, 1, height, width]` in −1…1.
fn to_tensor(frame: &Frame, device: &Device) -> Tensor<5> {
    let (width, height) = (frame.width as usize, frame.height as usize);
    let values: Vec<f32> = frame
        .rgb
        .iter()
        .map(|&v| f32::from(v) / 255.0 * 2.0 - 1.0)
        .collect();
    Tensor::<1>::from_floats(values.as_slice(), device)
        .reshape([1, 1, height, width, 3])
        .permute([0, 4, 1, 2, 3])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_shrink_as_in_torch() {
        let places = |input, output| {
            (0..output)
                .map(|i| nearest_exact(i, input, output))
                .collect::<Vec<_>>()
        };
        assert_eq!(places(9, 3), [1, 4, 7]);
        assert_eq!(places(5, 2), [1, 3]);
        assert_eq!(places(1, 1), [0]);
        assert_eq!(
            places(81, 21),
            [
                1, 5, 9, 13, 17, 21, 25, 28, 32, 36, 40, 44, 48, 52, 55, 59, 63, 67, 71, 75, 79
            ]
        );
    }
}
