//! What is made of a reference picture: a start, or a prompt for an adapter that the model's entry has.

use std::path::Path;

use anyhow::Result;

use super::asked::Asked;
use crate::config::shown;
use crate::fail;
use crate::job::settled::Follow;
use crate::job::spec::Options;
use crate::job::spec_parts::{Control, IpAdapter, IpScale};

/// How closely a reference is followed when nobody says.
const DEFAULT_REFERENCE_STRENGTH: f64 = 0.5;
/// Without adapters, an arrangement is kept by starting nearer to the picture.
const COMPOSITION_MORE: f64 = 0.2;
const COMPOSITION_MOST: f64 = 0.9;
/// diffusers' default for inpainting.
const INPAINT_STRENGTH: f64 = 0.9999;

/// The settled references of a job.
#[derive(Debug, Default)]
pub struct Followed {
    pub follow: Option<Follow>,
    pub controls: Vec<Control>,
    pub ip_adapters: Vec<IpAdapter>,
    /// The result has the picture's size unless the spec says one.
    pub own_size: bool,
}

/// # Errors
/// `InvalidSpec` for an unknown type, or strengths that contradict each other.
pub fn follow(asked: &Asked<'_>, notes: &mut Vec<String>) -> Result<Followed> {
    let config = &asked.spec.config;
    let mut followed = Followed {
        controls: controls(config),
        ip_adapters: config.ip_adapters.clone(),
        ..Followed::default()
    };
    if config.strength.is_some() && config.reference_strength.is_some() {
        fail!(InvalidSpec, "config.strength and config.reference_strength are both given";
            "give one: reference_strength is 1 - strength");
    }
    let Some(image) = &config.image else {
        return Ok(followed);
    };
    let strength = config.strength.or(config.reference_strength.map(|r| 1.0 - r));
    let start = |strength, mode| {
        Some(Follow::Start {
            strength,
            fitted: false,
            mode,
        })
    };
    let copies = config.exact_copy_mode == Some(true) || config.reference_mode.as_deref() == Some("copy");
    if config.mask_image.is_some() {
        followed.follow = start(strength.unwrap_or(INPAINT_STRENGTH), "inpaint");
        followed.own_size = true;
    } else if copies {
        // The smallest strength: one step always runs.
        followed.follow = start(0.0, "copy");
        followed.own_size = true;
    } else if let Some(kind) = &config.reference_type {
        let closeness = 1.0 - strength.unwrap_or(1.0 - DEFAULT_REFERENCE_STRENGTH);
        if closeness <= 0.0 {
            notes.push("reference_strength is 0: the picture is not followed".into());
            return Ok(followed);
        }
        by_type(asked, image, kind, closeness, &mut followed)?;
    } else {
        followed.follow = start(
            strength.unwrap_or(1.0 - DEFAULT_REFERENCE_STRENGTH),
            "image-to-image",
        );
        followed.own_size = true;
    }
    Ok(followed)
}

/// The spec's own ControlNets, with what is made of their pictures.
fn controls(config: &Options) -> Vec<Control> {
    let with_default = |control: &Control| Control {
        preprocess: control.preprocess.clone().or(config.control_preprocess.clone()),
        ..control.clone()
    };
    config.controls.iter().map(with_default).collect()
}

/// By what the model's entry has: `style` and `character` read the picture, `composition` its edges;
/// without adapters it is where denoising starts.
fn by_type(
    asked: &Asked<'_>,
    image: &str,
    kind: &str,
    closeness: f64,
    followed: &mut Followed,
) -> Result<()> {
    let entry = &asked.model.sdxl;
    let text = |path: &Path| path.display().to_string();
    let adapter = |file: Option<&std::path::PathBuf>, scale| {
        let (file, encoder) = (file?, entry.image_encoder.as_ref()?);
        Some(IpAdapter {
            file: text(file),
            image_encoder: text(encoder),
            image: vec![image.into()],
            scale,
        })
    };
    let plain = entry.ip_adapter.as_ref();
    let (found, mode, more) = match kind {
        "style" => (
            adapter(plain, IpScale::style(closeness)),
            "style: ip-adapter",
            0.0,
        ),
        "character" => {
            let face = entry.ip_adapter_face.as_ref().or(plain);
            (
                adapter(face, IpScale::All(closeness)),
                "character: ip-adapter",
                0.0,
            )
        }
        "composition" => {
            if let Some(net) = &entry.controlnet {
                followed.controls.push(Control {
                    model: text(net),
                    image: image.into(),
                    scale: closeness,
                    start: 0.0,
                    end: 1.0,
                    guess_mode: false,
                    preprocess: Some("canny".into()),
                });
                followed.follow = Some(Follow::Adapter("composition: controlnet"));
                return Ok(());
            }
            let scale = IpScale::layout(closeness);
            (adapter(plain, scale), "composition: ip-adapter", COMPOSITION_MORE)
        }
        other => fail!(
            InvalidSpec,
            "config.reference_type is `{}`, it must be one of style, composition, character",
            shown(other)
        ),
    };
    followed.follow = match found {
        Some(adapter) => {
            followed.ip_adapters.push(adapter);
            Some(Follow::Adapter(mode))
        }
        None => {
            let closeness = match more > 0.0 {
                true => (closeness + more).min(COMPOSITION_MOST),
                false => closeness,
            };
            Some(Follow::Start {
                strength: 1.0 - closeness,
                fitted: true,
                mode: match kind {
                    "style" => "style: image-to-image",
                    "character" => "character: image-to-image",
                    _ => "composition: image-to-image",
                },
            })
        }
    };
    Ok(())
}
