//! The command line as types. Parsing has no effects; `commands` gives the words their meaning.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod adapters;
mod bench;
mod candidates;
mod chat;
mod enhance;
mod models;
mod options;
mod queue;
mod shared;

pub use adapters::Adapters;
pub use bench::Bench;
pub use chat::Chat;
pub use enhance::{ENHANCE_TYPES, Enhance, Style};
pub use models::{Models, ModelsAdd, ModelsCommand};
pub use options::Options;
pub use queue::{
    Names, Queue, QueueAdd, QueueCancel, QueueCommand, QueueDeliver, QueueDrain, QueuePurge, QueueRetry,
    QueueStatus, Redis, Worker,
};
pub use shared::{CallbackFormat, Dtype, Loudness, Place, Talk};

#[derive(Debug, Parser)]
#[command(
    name = "ourvidz",
    version,
    about = "Images from prompts and job specs, and better prompts, on your own machine"
)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub loudness: Loudness,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make pictures from a prompt, from job specs or from an earlier picture
    Generate(Box<Generate>),
    /// Turn short prompts into richer ones
    Enhance(Box<Enhance>),
    /// Talk with a language model
    Chat(Box<Chat>),
    /// Run the jobs of a queue: a folder or Redis
    QueueDrain(Box<QueueDrain>),
    /// Fill, look at and tidy a queue
    Queue(Queue),
    #[command(hide = true)]
    Worker(Worker),
    /// Look at models and at what made a picture
    Models(Models),
    /// Show devices, memory, configuration and what this build can do
    Doctor(Doctor),
    /// Measure stages and whole jobs, also of full-size models that nobody has downloaded
    Bench(Box<Bench>),
    /// Show the settings and where each value came from
    Config(Config),
    /// Print the JSON Schema of job specs, for editors and producers
    Schema,
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print a manual page
    Man(Man),
}

const GENERATE_HELP: &str = "\
Examples:
  ourvidz generate \"a red circle on a white background\"
  ourvidz generate -p \"a blue star\" -s 7 -b 3 -o star.png
  ourvidz generate jobs/*.yaml --json
  cat job.json | ourvidz generate -
  ourvidz generate --from star-0.png --steps 25

Files: without --output a job writes ourvidz-out/ID/INDEX.png and callback.json beside it. With
`-o file.png` several images get -0, -1, … before the extension; with `-o folder/` they are
folder/ID-INDEX.png. A different file in the way is kept and the job refused, unless --output names
that one file and it is a picture of ours, or --force is given. callback.json of another job is
kept too: this job's then is ID.callback.json.

Exit codes: 0 done; 1 some of several jobs failed; 2 usage; 65 invalid spec; 66 input or model
missing; 69 unavailable or not built; 70 internal; 73 cannot write; 74 I/O; 77 refused; 78
configuration; 130/143 stopped. One job: its own code. Several: the worst of 70, 78, 74, 73, 69, 1.";

#[derive(Debug, Args, Default)]
#[command(after_help = GENERATE_HELP)]
pub struct Generate {
    /// Spec files (or - for stdin), or one prompt
    ///
    /// A word that is an existing file or ends in .yaml, .yml or .json is a spec file; - is a spec
    /// on stdin; anything else is the prompt. Flags given beside specs override their values.
    #[arg(value_name = "SPEC|PROMPT")]
    pub input: Vec<String>,

    /// What to draw; - reads it from stdin
    #[arg(short, long, value_name = "TEXT", help_heading = "Picture")]
    pub prompt: Option<String>,
    /// What not to draw; an empty one counts as given
    #[arg(short, long, value_name = "TEXT", help_heading = "Picture")]
    pub negative_prompt: Option<String>,
    #[command(flatten)]
    pub options: Options,
    #[command(flatten)]
    pub adapters: Adapters,

    /// Job type [default: by model; sdxl_image_fast, or video_fast for WAN models]
    #[arg(long = "type", value_name = "TYPE", add = candidates::job_types(), help_heading = "Job")]
    pub job_type: Option<String>,
    /// Replay the job that made this picture or video
    ///
    /// Also what of a picture's papers is ours when A1111 or ComfyUI made it, of their parameters in a
    /// text file or their graph in a JSON file, and the job of a callback.json.
    #[arg(long, value_name = "FILE", conflicts_with = "input", help_heading = "Job")]
    pub from: Option<PathBuf>,
    /// Where pictures go: a file, a folder with a trailing /, or a template with {id} {seed}
    /// {index} {prompt} {date}
    #[arg(short, long, value_name = "PATH", help_heading = "Job")]
    pub output: Option<String>,
    /// Overwrite whatever is at the output path
    #[arg(long, help_heading = "Job")]
    pub force: bool,
    /// Leave out jobs whose results are there already
    #[arg(long, conflicts_with = "force", help_heading = "Job")]
    pub skip_existing: bool,
    /// Let a replayed file name model paths, local files and callback addresses
    #[arg(long, requires = "from", help_heading = "Job")]
    pub trust_paths: bool,
    /// Fail when a replay has other weights or other pixels than the file it replays
    #[arg(long, requires = "from", help_heading = "Job")]
    pub strict: bool,
    /// Show every finished picture in the terminal
    #[arg(long, help_heading = "Job")]
    pub preview: bool,
    /// Write all pictures of the run, small and with their seeds, on one sheet
    #[arg(long, value_name = "FILE", help_heading = "Job")]
    pub sheet: Option<PathBuf>,
    /// Write the callback to this file (may contain {id}) [default: callback.json beside the pictures]
    #[arg(long, value_name = "FILE", help_heading = "Job")]
    pub callback: Option<String>,
    /// Post the callback to this address
    #[arg(long, value_name = "URL", help_heading = "Job")]
    pub callback_url: Option<String>,
    /// Shape of the callback [default: standard]
    #[arg(long, value_name = "FORMAT", value_enum, help_heading = "Job")]
    pub callback_format: Option<CallbackFormat>,
    /// Run the valid jobs even when others are invalid
    #[arg(long, help_heading = "Job")]
    pub keep_going: bool,
    /// Stop a job between two steps after this many seconds; 0: never [default: never]
    #[arg(long, value_name = "SECONDS", help_heading = "Job")]
    pub time_limit: Option<u64>,
    /// Show every resolved value and load nothing
    #[arg(long, help_heading = "Job")]
    pub dry_run: bool,

    /// A name from models.toml, a model folder or a checkpoint file
    #[arg(short, long, value_name = "NAME|PATH", add = candidates::models(), help_heading = "Model")]
    pub model: Option<String>,
    /// Take the configuration of a single checkpoint file from this folder
    #[arg(long, value_name = "FOLDER", requires = "model", help_heading = "Model")]
    pub config_from: Option<PathBuf>,
    /// Number format of the weights [default: the device's]
    #[arg(long, value_enum, value_name = "DTYPE", help_heading = "Model")]
    pub dtype: Option<Dtype>,
    #[command(flatten)]
    pub place: Place,

    #[command(flatten)]
    pub talk: Talk,
}

#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pub place: Place,
    #[arg(long, help = "Print JSON")]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Config {
    #[command(subcommand)]
    pub command: Option<ConfigCommand>,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Every setting, its value, and whether a file, a variable or the default gives it
    Show {
        #[arg(long, help = "Print JSON")]
        json: bool,
    },
    /// Print where config.toml is looked for
    Path,
    /// Write a config.toml in which every setting stands, commented out, with its default
    Init,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  source <(ourvidz completions bash --dynamic)
  ourvidz completions zsh > ~/.zfunc/_ourvidz

With --dynamic the script asks ourvidz itself at every press of the key, and so offers what is there:
names of the models in models.toml, job types, schedulers, files.";

#[derive(Debug, Args)]
#[command(after_help = COMPLETIONS_HELP)]
pub struct Completions {
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
    /// A script that asks ourvidz for the candidates
    #[arg(long)]
    pub dynamic: bool,
}

const MAN_HELP: &str = "\
Examples:
  ourvidz man | man -l -
  ourvidz man queue add | man -l -
  ourvidz man --all ~/.local/share/man/man1";

#[derive(Debug, Args)]
#[command(after_help = MAN_HELP)]
pub struct Man {
    /// The command that the page is about [default: ourvidz itself]
    #[arg(value_name = "COMMAND")]
    pub command: Vec<String>,
    /// Write the pages of all commands into this folder
    #[arg(long, value_name = "FOLDER", conflicts_with = "command")]
    pub all: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn generate(args: &[&str]) -> Result<Box<Generate>, clap::Error> {
        let cli = Cli::try_parse_from(["ourvidz", "generate"].iter().chain(args))?;
        match cli.command {
            Command::Generate(generate) => Ok(generate),
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn height_has_its_letter_and_help_keeps_the_small_one() {
        let flags = generate(&["-W", "64", "-H", "96", "x"]).unwrap();
        assert_eq!((flags.options.width, flags.options.height), (Some(64), Some(96)));
        assert_eq!(
            generate(&["-h"]).unwrap_err().kind(),
            clap::error::ErrorKind::DisplayHelp
        );
    }

    #[test]
    fn values_out_of_range_are_refused_with_their_range() {
        for (args, range) in [
            (["--steps", "151"], "1 to 150"),
            (["--steps", "-1"], "1 to 150"),
            (["--cfg-scale", "31"], "0 to 30"),
            (["--cfg-scale", "NaN"], "0 to 30"),
            (["--cfg-scale", "-1"], "0 to 30"),
            (["-b", "65"], "1 to 64"),
            (["-b", "0"], "1 to 64"),
            (["-s", "9223372036854775808"], "9223372036854775807"),
        ] {
            let message = generate(&args).unwrap_err().to_string();
            assert!(message.contains(range), "{args:?}: {message}");
            assert!(message.contains(args[1]), "{args:?}: {message}");
        }
    }

    #[test]
    fn an_empty_negative_prompt_is_not_an_absent_one() {
        assert_eq!(
            generate(&["-n", ""]).unwrap().negative_prompt.as_deref(),
            Some("")
        );
        assert_eq!(generate(&["x"]).unwrap().negative_prompt, None);
    }

    #[test]
    fn guidance_scale_is_the_other_name_of_cfg_scale() {
        assert_eq!(
            generate(&["--guidance-scale", "7.5"])
                .unwrap()
                .options
                .guidance_scale,
            Some(7.5)
        );
    }
}
