//! `models` as types.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::candidates;
use super::shared::Place;

#[derive(Debug, Args)]
pub struct Models {
    #[command(subcommand)]
    pub command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List models, where they are, and which job type uses which
    List {
        #[command(flatten)]
        place: Place,
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
    /// Write an entry into models.toml for a model folder or a checkpoint file
    Add(ModelsAdd),
    /// Check a model's files: what would load, what is missing, unused or mis-shaped
    Verify {
        #[arg(value_name = "NAME|PATH", add = candidates::models())]
        name: String,
        /// Take the configuration of a single checkpoint file from this folder
        #[arg(long, value_name = "FOLDER")]
        config_from: Option<PathBuf>,
        #[command(flatten)]
        place: Place,
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
    /// Print the manifest inside a picture as JSON
    Inspect {
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}

const ADD_HELP: &str = "\
Examples:
  ourvidz models add photo ~/checkpoints/photo_xl.safetensors
  ourvidz models add base ./stable-diffusion-xl-base-1.0 --route sdxl_image_high

What the file or folder is, is told by what it holds: SDXL, WAN 2.1 or Qwen2.5, as one file or as a
folder. An adapter, half a model, a web page or a model of another kind gets no entry, and is named.
The entry goes into the models.toml in use, or into that of the configuration folder where there is
none; what stands there, comments too, stays.";

#[derive(Debug, Args)]
#[command(after_help = ADD_HELP)]
pub struct ModelsAdd {
    /// What it shall be called
    #[arg(value_name = "NAME")]
    pub name: String,
    /// A model folder or a checkpoint file
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
    /// Take the configuration of a single checkpoint file from this folder
    #[arg(long, value_name = "FOLDER")]
    pub config_from: Option<PathBuf>,
    /// Use it for this job type, or for `enhance`; may be repeated
    #[arg(long, value_name = "TYPE", add = candidates::routes())]
    pub route: Vec<String>,
    /// Replace an entry of this name
    #[arg(long)]
    pub force: bool,
    /// The models.toml to write [default: ./models.toml, then the configuration folder's]
    #[arg(long, value_name = "FILE")]
    pub models: Option<PathBuf>,
}
