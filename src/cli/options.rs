//! Flags that are options of a spec: each has its field's name, and its range from the field table.

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::candidates;
use crate::job::fields::field;
use crate::job::parse::values::from_text;

/// The text of a flag under the rules of the spec's field `name`.
pub(super) fn of<T: DeserializeOwned>(name: &'static str) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |text| {
        let value = from_text(field(name).content, text)?;
        serde_json::from_value(value).map_err(|e| e.to_string())
    }
}

/// A seed, or -1.
fn seed(text: &str) -> Result<i64, String> {
    if text.trim() == "-1" {
        return Ok(-1);
    }
    of::<i64>("seed")(text).map_err(|e| format!("{e}, or -1 to draw one"))
}

/// Two shares of the schedule.
pub type Interval = [f64; 2];

/// `START:END`.
fn interval(text: &str) -> Result<Interval, String> {
    let (start, end) = text
        .split_once(':')
        .ok_or("it must be START:END, such as 0.2:0.8")?;
    let share = of::<f64>("strength");
    let (start, end) = (share(start)?, share(end)?);
    match start < end {
        true => Ok([start, end]),
        false => Err("its start must lie before its end".into()),
    }
}

/// Laid over `config` of every spec: a flag that was not given says nothing.
#[derive(Debug, Args, Default, Clone, Serialize)]
pub struct Options {
    /// First seed; image i uses SEED+i; -1 draws one [default: drawn and reported]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, help_heading = "Picture",
          value_parser = seed)]
    pub seed: Option<i64>,
    /// Denoising steps, 1 to 150
    #[arg(long, alias = "num-inference-steps", value_name = "N", allow_negative_numbers = true,
          help_heading = "Picture", value_parser = of::<u32>("steps"))]
    pub steps: Option<u32>,
    /// How closely to follow the prompt, 0 to 30
    #[arg(long = "cfg-scale", aliases = ["guidance-scale", "cfg", "cfg_scale"], value_name = "SCALE",
          allow_negative_numbers = true, help_heading = "Picture", value_parser = of::<f64>("guidance_scale"))]
    pub guidance_scale: Option<f64>,
    /// Width in pixels, a multiple of 8 (of 16 for WAN)
    #[arg(
        short = 'W',
        long,
        value_name = "PX",
        allow_negative_numbers = true,
        help_heading = "Picture"
    )]
    pub width: Option<u32>,
    /// Height in pixels, a multiple of 8 (of 16 for WAN)
    #[arg(
        short = 'H',
        long,
        value_name = "PX",
        allow_negative_numbers = true,
        help_heading = "Picture"
    )]
    pub height: Option<u32>,
    /// Images to make, 1 to 64
    #[arg(short = 'b', long = "batch-count", value_name = "N", allow_negative_numbers = true,
          help_heading = "Picture", value_parser = of::<u32>("num_images"))]
    pub num_images: Option<u32>,
    /// Sampling method [default: the model's own]
    ///
    /// Names: euler, euler-ancestral, heun, dpm2, dpm2-ancestral, lms, ddim, pndm, dpmpp-2m,
    /// dpmpp-2m-sde, dpmpp-3m, dpmpp-3m-sde, dpmpp-2s, dpmpp-2s-ancestral, dpmpp-sde, deis, unipc,
    /// lcm, tcd; for WAN flow-unipc, flow-dpmpp, flow-euler. A schedule may follow where it applies:
    /// -karras, -exponential, -beta, -kl-optimal, -trailing, -leading, -linspace, -simple. The
    /// spellings of other tools are known too.
    #[arg(long, aliases = ["sampler", "sampling-method"], value_name = "NAME", add = candidates::schedulers(),
          help_heading = "Picture")]
    pub scheduler: Option<String>,
    /// How noise levels are spread, such as karras, sgm_uniform or beta
    #[arg(long, value_name = "NAME", add = candidates::schedules(), help_heading = "Picture")]
    pub schedule: Option<String>,
    /// Sampler, steps and guidance of a distilled model: turbo, lightning-4, lightning-8, lcm, hyper
    #[arg(long, value_name = "NAME", help_heading = "Picture")]
    pub preset: Option<String>,
    /// What the model predicts, where its files do not say
    #[arg(long, value_name = "TYPE", value_parser = ["epsilon", "v_prediction", "sample"], help_heading = "Picture")]
    pub prediction_type: Option<String>,
    /// For models that were trained on pure noise as well
    #[arg(
        long = "zero-snr",
        num_args = 0,
        default_missing_value = "true",
        help_heading = "Picture"
    )]
    pub rescale_betas_zero_snr: Option<bool>,
    /// Share of fresh noise in each step of ddim, tcd and the ancestral samplers, 0 to 1
    #[arg(long, value_name = "F", allow_negative_numbers = true, help_heading = "Picture", value_parser = of::<f64>("eta"))]
    pub eta: Option<f64>,
    /// How far guidance is brought back to the deviation of the prediction, 0 to 1
    #[arg(long, value_name = "F", allow_negative_numbers = true, help_heading = "Picture",
          value_parser = of::<f64>("guidance_rescale"))]
    pub guidance_rescale: Option<f64>,
    /// The part of the schedule that has guidance, such as 0.2:0.8
    #[arg(long, value_name = "START:END", help_heading = "Picture", value_parser = interval)]
    pub cfg_interval: Option<Interval>,
    /// Layers of the text encoders to skip besides the last
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Picture",
          value_parser = of::<u32>("clip_skip"))]
    pub clip_skip: Option<u32>,
    /// The prompt of the second text encoder [default: the same]
    #[arg(long = "prompt-2", value_name = "TEXT", help_heading = "Picture")]
    pub prompt_2: Option<String>,
    /// The negative prompt of the second text encoder [default: the same]
    #[arg(long = "negative-prompt-2", value_name = "TEXT", help_heading = "Picture")]
    pub negative_prompt_2: Option<String>,
    /// An autoencoder in place of the model's own: a folder or a .safetensors file
    #[arg(long, value_name = "FILE", help_heading = "Picture")]
    pub vae: Option<String>,
    /// What is made of every control picture
    #[arg(long, value_name = "HOW", value_parser = ["none", "canny"], help_heading = "Adapters")]
    pub control_preprocess: Option<String>,
    /// Give the model only the negative prompt of the job
    #[arg(
        long = "no-auto-negative",
        num_args = 0,
        default_missing_value = "false",
        help_heading = "Picture"
    )]
    pub auto_negative: Option<bool>,
    /// Cut prompts at 77 tokens, as diffusers does
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Picture")]
    pub truncate_prompt: Option<bool>,
    /// Compute images one by one: the same bits in any batch
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Picture")]
    pub deterministic: Option<bool>,

    /// Frames of a video, 4n+1 [default: 81, or what the model is made for]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Video",
          value_parser = of::<u32>("frames"))]
    pub frames: Option<u32>,
    /// Frames a second, 1 to 120 [default: 16]
    #[arg(long, value_name = "FPS", allow_negative_numbers = true, help_heading = "Video",
          value_parser = of::<f64>("fps"))]
    pub fps: Option<f64>,
    /// Shift of the noise levels, above 0 [default: the model's own, 5 without one]
    #[arg(long, value_name = "SHIFT", allow_negative_numbers = true, help_heading = "Video",
          value_parser = of::<f64>("flow_shift"))]
    pub flow_shift: Option<f64>,
    /// Picture that the video begins with (needs a VACE model)
    #[arg(long, value_name = "FILE", help_heading = "Video")]
    pub first_frame: Option<String>,
    /// Picture that the video ends with (needs a VACE model)
    #[arg(long, value_name = "FILE", help_heading = "Video")]
    pub last_frame: Option<String>,
    /// Picture to start from, or to follow (a video needs a VACE model)
    #[arg(
        short = 'i',
        long = "init-img",
        value_name = "FILE",
        help_heading = "Picture to picture"
    )]
    pub image: Option<String>,
    /// How far to go from the picture, 0 to 1, as diffusers counts [default: 0.5; with a mask 0.9999]
    #[arg(long, value_name = "STRENGTH", allow_negative_numbers = true, help_heading = "Picture to picture",
          value_parser = of::<f64>("strength"))]
    pub strength: Option<f64>,
    /// What of the picture to paint anew: white
    #[arg(long = "mask", value_name = "FILE", help_heading = "Picture to picture")]
    pub mask_image: Option<String>,
    /// Leave the part that the mask keeps as the model made it
    #[arg(
        long,
        num_args = 0,
        default_missing_value = "true",
        help_heading = "Picture to picture"
    )]
    pub no_paste: Option<bool>,
    /// How weights are written in prompts: a1111, comfy, compel or plain [default: a1111]
    ///
    /// a1111: (word:1.3) (word) [word] BREAK; comfy: (word:1.3) (word); compel: word++ (two
    /// words)1.3 and its .and() and .blend(); plain: brackets are text, as in diffusers.
    #[arg(long, value_name = "NAME", help_heading = "Picture")]
    pub prompt_syntax: Option<String>,
    /// What of the picture to follow: style, composition or character
    #[arg(long, value_name = "TYPE", help_heading = "Picture to picture")]
    pub reference_type: Option<String>,
    /// How strongly to follow the reference pictures, 0 to 1 [default: 0.5; videos 1]
    #[arg(long, value_name = "STRENGTH", allow_negative_numbers = true, help_heading = "Picture to picture",
          value_parser = of::<f64>("reference_strength"))]
    pub reference_strength: Option<f64>,
    /// Encode and decode in overlapping tiles: less memory
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Picture")]
    pub vae_tiling: Option<bool>,
    /// png, mp4, webm, gif or png-frames [default: by job type]
    #[arg(long, value_name = "FORMAT", value_parser = ["png", "mp4", "webm", "gif", "png-frames"],
          help_heading = "Video")]
    pub format: Option<String>,
}

impl Options {
    /// The options that were given, by their names in a spec; the seed -1 is null there.
    ///
    /// # Panics
    /// Never: they are plain data.
    pub fn given(&self) -> serde_json::Map<String, serde_json::Value> {
        let Ok(serde_json::Value::Object(mut all)) = serde_json::to_value(self) else {
            unreachable!("a struct of plain data");
        };
        all.retain(|_, value| !value.is_null());
        if self.seed == Some(-1) {
            all.insert("seed".into(), serde_json::Value::Null);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::fields::{FIELDS, Home};

    #[test]
    fn every_flag_has_the_name_of_an_option() {
        let serde_json::Value::Object(all) = serde_json::to_value(Options::default()).unwrap() else {
            panic!("no object");
        };
        for name in all.keys() {
            let field = FIELDS.iter().find(|field| field.name == name);
            assert!(field.is_some_and(|field| field.home == Home::Config), "{name}");
        }
    }
}
