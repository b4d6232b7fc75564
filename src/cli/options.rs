//! Flags that are options of a spec: each has its field's name, and its range from the field table.

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

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
    #[arg(long, aliases = ["sampler", "sampling-method"], value_name = "NAME", help_heading = "Picture")]
    pub scheduler: Option<String>,
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
    /// Picture of what the video shows (needs a VACE model)
    #[arg(short = 'i', long = "init-img", value_name = "FILE", help_heading = "Video")]
    pub image: Option<String>,
    /// How strongly to follow the reference pictures, 0 to 1 [default: 1]
    #[arg(long, value_name = "STRENGTH", allow_negative_numbers = true, help_heading = "Video",
          value_parser = of::<f64>("reference_strength"))]
    pub reference_strength: Option<f64>,
    /// Decode in overlapping tiles: less memory
    #[arg(long, num_args = 0, default_missing_value = "true", help_heading = "Video")]
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
