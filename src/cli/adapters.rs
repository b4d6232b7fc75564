//! Flags that describe adapters and passes of SDXL: together they make the maps and lists of a spec.

use clap::Args;
use serde_json::{Map, Value, json};

use super::options::of;
use crate::job::spec_parts::LoraSpec;

/// Laid over `config` of every spec.
#[derive(Debug, Args, Default, Clone)]
pub struct Adapters {
    /// A LoRA and its scale, repeatable: a file, or a name in lora_dir [scale: 1]
    #[arg(long, value_name = "FILE[:SCALE]", help_heading = "Adapters", value_parser = lora)]
    lora: Vec<LoraSpec>,
    /// ControlNet: a diffusers folder or a .safetensors file; may be given several times
    #[arg(long = "control", value_name = "MODEL", help_heading = "Adapters")]
    control: Vec<String>,
    /// The picture of a --control, in the same order
    #[arg(long, value_name = "IMG", help_heading = "Adapters")]
    control_image: Vec<String>,
    /// How strongly a --control works, in the same order [default: 1]
    #[arg(long, value_name = "F", allow_negative_numbers = true, help_heading = "Adapters", value_parser = scale)]
    control_scale: Vec<f64>,
    /// The share of the schedule at which a --control begins [default: 0]
    #[arg(long, value_name = "F", allow_negative_numbers = true, help_heading = "Adapters", value_parser = of::<f64>("strength"))]
    control_start: Vec<f64>,
    /// The share of the schedule at which a --control ends [default: 1]
    #[arg(long, value_name = "F", allow_negative_numbers = true, help_heading = "Adapters", value_parser = of::<f64>("strength"))]
    control_end: Vec<f64>,
    /// Let every --control guess what its picture shows, without help of the prompt
    #[arg(long, help_heading = "Adapters")]
    control_guess_mode: bool,
    /// IP-Adapter, plain or plus; may be given several times
    #[arg(
        long,
        value_name = "FILE",
        requires = "image_encoder",
        help_heading = "Adapters"
    )]
    ip_adapter: Vec<String>,
    /// Folder of the CLIP vision model that the --ip-adapter reads with
    #[arg(long, value_name = "FOLDER", help_heading = "Adapters")]
    image_encoder: Vec<String>,
    /// Picture for the --ip-adapter; several for one adapter, or one for each [default: -i]
    #[arg(long, value_name = "IMG", help_heading = "Adapters")]
    ip_adapter_image: Vec<String>,
    /// How strongly an --ip-adapter works, in the same order [default: 1]
    #[arg(long, value_name = "F", allow_negative_numbers = true, help_heading = "Adapters", value_parser = scale)]
    ip_adapter_scale: Vec<f64>,
    /// Where it works: everywhere, or only where colours or the arrangement come from
    #[arg(long, value_name = "BLOCKS", value_parser = ["all", "style", "layout"], help_heading = "Adapters")]
    ip_adapter_blocks: Option<String>,
    /// A second model for the last part of the schedule: a name from models.toml, a folder or a file
    #[arg(long, value_name = "MODEL", help_heading = "Adapters")]
    refiner: Option<String>,
    /// The share of the schedule at which the refiner takes over [default: 0.8]
    #[arg(long, value_name = "F", requires = "refiner", help_heading = "Adapters")]
    refiner_start: Option<f64>,
    /// Enlarge the picture by this factor and refine it
    #[arg(long, value_name = "F", help_heading = "Adapters")]
    hires_scale: Option<f64>,
    /// Denoising strength of that refining [default: 0.5]
    #[arg(long, value_name = "F", requires = "hires_scale", help_heading = "Adapters")]
    hires_strength: Option<f64>,
}

fn lora(text: &str) -> Result<LoraSpec, String> {
    of::<[LoraSpec; 1]>("loras")(text).map(|[lora]| lora)
}

fn scale(text: &str) -> Result<f64, String> {
    let number: f64 = text
        .trim()
        .parse()
        .map_err(|_| "it must be a number".to_string())?;
    match crate::limits::ADAPTER_SCALE.contains(&number) {
        true => Ok(number),
        false => Err(format!(
            "it must be a number from 0 to {}",
            crate::limits::ADAPTER_SCALE.end()
        )),
    }
}

/// A list of flags that go with another, longer or shorter than it.
fn paired(name: &str, given: usize, of: &str, wanted: usize) -> Result<(), String> {
    match given == wanted {
        true => Ok(()),
        false => Err(format!(
            "{name} is given {given} times and {of} {wanted} times; give one for each"
        )),
    }
}

impl Adapters {
    /// What was given, by the names of a spec's options. `image` is the picture of `-i`, which an
    /// adapter without one of its own takes.
    ///
    /// # Errors
    /// When lists of flags that belong together differ in length.
    pub fn given(&self, image: Option<&str>) -> Result<Map<String, Value>, String> {
        let mut all = Map::new();
        if !self.lora.is_empty() {
            all.insert("loras".into(), json!(self.lora));
        }
        if !self.control.is_empty() || !self.control_image.is_empty() {
            all.insert("controls".into(), self.controls()?.into());
        }
        if !self.ip_adapter.is_empty() {
            all.insert("ip_adapters".into(), self.ip_adapters(image)?.into());
        }
        if let Some(model) = &self.refiner {
            let mut refiner = json!({"model": model});
            put(&mut refiner, "start", self.refiner_start);
            all.insert("refiner".into(), refiner);
        }
        if let Some(scale) = self.hires_scale {
            let mut hires = json!({"scale": scale});
            put(&mut hires, "strength", self.hires_strength);
            all.insert("hires".into(), hires);
        }
        Ok(all)
    }

    /// Whether an adapter takes the picture of `-i`, which is then no start.
    pub fn takes_image(&self) -> bool {
        !self.ip_adapter.is_empty() && self.ip_adapter_image.is_empty()
    }

    fn controls(&self) -> Result<Vec<Value>, String> {
        let count = self.control.len();
        paired("--control-image", self.control_image.len(), "--control", count)?;
        let pairs = self.control.iter().zip(&self.control_image).enumerate();
        let control = |(i, (model, image)): (usize, (&String, &String))| {
            let mut control = json!({"model": model, "image": image});
            put(&mut control, "scale", nth(&self.control_scale, i));
            put(&mut control, "start", nth(&self.control_start, i));
            put(&mut control, "end", nth(&self.control_end, i));
            if self.control_guess_mode {
                control["guess_mode"] = true.into();
            }
            control
        };
        Ok(pairs.map(control).collect())
    }

    fn ip_adapters(&self, image: Option<&str>) -> Result<Vec<Value>, String> {
        let count = self.ip_adapter.len();
        if self.image_encoder.len() != 1 {
            paired("--image-encoder", self.image_encoder.len(), "--ip-adapter", count)?;
        }
        let images: Vec<&str> = match (self.ip_adapter_image.is_empty(), image) {
            (true, Some(image)) => vec![image],
            (true, None) => return Err("--ip-adapter has no picture: give --ip-adapter-image or -i".into()),
            (false, _) => self.ip_adapter_image.iter().map(String::as_str).collect(),
        };
        if count > 1 && images.len() > 1 {
            paired("--ip-adapter-image", images.len(), "--ip-adapter", count)?;
        }
        let adapter = |(i, file): (usize, &String)| {
            let own = match (count, images.len()) {
                (1, _) => json!(images),
                (_, 1) => json!([images[0]]),
                _ => json!([images[i]]),
            };
            let scale = nth(&self.ip_adapter_scale, i).unwrap_or(1.0);
            json!({
                "file": file,
                "image_encoder": self.image_encoder.get(i).or(self.image_encoder.first()),
                "image": own,
                "scale": match self.ip_adapter_blocks.as_deref() {
                    Some("style") => json!({"up": {"block_0": [0.0, scale, 0.0]}}),
                    Some("layout") => json!({"down": {"block_2": [0.0, scale]}}),
                    _ => json!(scale),
                },
            })
        };
        Ok(self.ip_adapter.iter().enumerate().map(adapter).collect())
    }
}

/// The value of the i-th flag; a single one holds for all.
fn nth(values: &[f64], i: usize) -> Option<f64> {
    match values.len() {
        1 => values.first().copied(),
        _ => values.get(i).copied(),
    }
}

fn put(map: &mut Value, name: &str, value: Option<f64>) {
    if let Some(value) = value {
        map[name] = value.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_that_belong_together_make_one_entry_each() {
        let flags = Adapters {
            control: vec!["a".into(), "b".into()],
            control_image: vec!["x.png".into(), "y.png".into()],
            control_scale: vec![0.5],
            control_end: vec![0.8, 1.0],
            ..Adapters::default()
        };
        let given = flags.given(None).unwrap();
        assert_eq!(
            given["controls"],
            json!([
                {"model": "a", "image": "x.png", "scale": 0.5, "end": 0.8},
                {"model": "b", "image": "y.png", "scale": 0.5, "end": 1.0},
            ])
        );
        let short = Adapters {
            control: vec!["a".into(), "b".into()],
            control_image: vec!["x.png".into()],
            ..Adapters::default()
        };
        assert!(
            short
                .given(None)
                .unwrap_err()
                .contains("--control-image is given 1 times")
        );
    }

    #[test]
    fn an_ip_adapter_without_a_picture_takes_that_of_i() {
        let flags = Adapters {
            ip_adapter: vec!["ip.safetensors".into()],
            image_encoder: vec!["encoder".into()],
            ip_adapter_blocks: Some("style".into()),
            ip_adapter_scale: vec![0.7],
            ..Adapters::default()
        };
        let given = flags.given(Some("me.png")).unwrap();
        assert_eq!(given["ip_adapters"][0]["image"], json!(["me.png"]));
        assert_eq!(
            given["ip_adapters"][0]["scale"],
            json!({"up": {"block_0": [0.0, 0.7, 0.0]}})
        );
        assert!(flags.takes_image() && flags.given(None).is_err());
    }
}
