//! `enhance` as types.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use super::options::of;
use super::shared::{Dtype, Place, Talk};

/// The job types whose prompts can be enhanced, aliases included.
pub const ENHANCE_TYPES: &[&str] = &[
    "sdxl_image_fast",
    "sdxl_image_high",
    "image_fast",
    "image_high",
    "video_fast",
    "video_high",
    "image7b_fast_enhanced",
    "image7b_high_enhanced",
    "video7b_fast_enhanced",
    "video7b_high_enhanced",
    "wan_video_fast",
    "wan_video_high",
];

const ENHANCE_HELP: &str = "\
Examples:
  ourvidz enhance \"red circle\"
  ourvidz enhance \"a cat on a roof\" --for video_high --style cinematic --json
  ourvidz enhance --file prompts.txt > richer.txt
  cat prompts.txt | ourvidz enhance --json
  ourvidz generate \"$(ourvidz enhance \"red circle\")\"

Output: one enhanced prompt a line on stdout, in the order of the prompts; a prompt that failed leaves
an empty line. With --json one object a line instead: original_prompt, enhanced_prompt,
enhancement_source (model, rules or original), enhancement_time, quality_score, quality_criteria, model
and notes; for a failure code, message and hint.

Who answers: the model that models.toml routes to `enhance`; where it is missing, fails or takes too
long, rules that add the type's quality words; where they have nothing to add, the prompt stays as it
is. Model answers are kept on disk, and the same request gets the same answer without the model.

Exit codes: 0 done (rules and originals included); 1 some of several prompts failed; 2 usage; 65 empty
or oversized prompt; 66 file or model missing; 69 device unavailable; 74 I/O; 77 refused by the content
rules; 78 configuration; 130/143 stopped.";

/// The manner of an enhanced prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Style {
    #[default]
    #[value(alias = "base")]
    Manual,
    Cinematic,
    Custom,
}

#[derive(Debug, Args)]
#[command(after_help = ENHANCE_HELP)]
pub struct Enhance {
    /// The prompt; or a .txt file with one prompt a line, or - for stdin with the same
    #[arg(value_name = "PROMPT")]
    pub input: Vec<String>,
    /// The prompt as a flag; - reads prompts from stdin
    #[arg(
        short,
        long,
        value_name = "TEXT",
        conflicts_with = "input",
        help_heading = "Prompt"
    )]
    pub prompt: Option<String>,
    /// Read prompts from this file, one a line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["input", "prompt"], help_heading = "Prompt")]
    pub file: Option<PathBuf>,
    /// The job type that the prompt is for
    #[arg(long = "for", value_name = "TYPE", default_value = "sdxl_image_fast", help_heading = "Prompt",
          value_parser = PossibleValuesParser::new(ENHANCE_TYPES))]
    pub job_type: String,
    /// Manner of the enhanced prompt
    #[arg(
        long,
        value_enum,
        value_name = "STYLE",
        default_value = "manual",
        help_heading = "Prompt"
    )]
    pub style: Style,
    /// Tell the model this instead of the type's system message
    #[arg(long, value_name = "FILE", help_heading = "Prompt")]
    pub system_prompt: Option<PathBuf>,

    /// Seed of the answer
    #[arg(short, long, value_name = "N", default_value = "0", allow_negative_numbers = true, help_heading = "Answer",
          value_parser = of::<u64>("seed"))]
    pub seed: u64,
    /// Most tokens that the model may write, 1 to 32768
    #[arg(long, value_name = "N", default_value = "200", allow_negative_numbers = true, help_heading = "Answer",
          value_parser = of::<u32>("max_tokens"))]
    pub max_tokens: u32,
    /// 0 takes the most probable token always; up to 10 [default: 0.7, 0 for the built-in model]
    #[arg(long, value_name = "T", allow_negative_numbers = true, help_heading = "Answer",
          value_parser = of::<f32>("temperature"))]
    pub temperature: Option<f32>,
    /// Draw from the tokens that reach this share, 0.001 to 1 [default: 0.9]
    #[arg(long, value_name = "P", allow_negative_numbers = true, help_heading = "Answer",
          value_parser = of::<f32>("top_p"))]
    pub top_p: Option<f32>,
    /// Draw from this many tokens, 0 for all [default: 20]
    #[arg(long, value_name = "K", allow_negative_numbers = true, help_heading = "Answer",
          value_parser = of::<u32>("top_k"))]
    pub top_k: Option<u32>,
    /// Make tokens that occurred less probable, 0.1 to 10 [default: 1.1, 1 for the built-in model]
    #[arg(long, value_name = "R", allow_negative_numbers = true, help_heading = "Answer",
          value_parser = of::<f32>("repetition_penalty"))]
    pub repetition_penalty: Option<f32>,
    /// Most seconds for one answer, 0 to 3600 [default: 60]
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true, help_heading = "Answer",
          value_parser = seconds)]
    pub time_limit: Option<f32>,
    /// Print the model's answer as it is
    #[arg(long, help_heading = "Answer")]
    pub raw: bool,

    /// Neither look into the cache nor fill it
    #[arg(long, help_heading = "Cache")]
    pub no_cache: bool,
    /// Remove every kept answer first; without a prompt, do nothing else
    #[arg(long, help_heading = "Cache")]
    pub clear_cache: bool,

    /// The language model: a name from models.toml or a folder [default: the route `enhance`]
    #[arg(short, long, value_name = "NAME|PATH", help_heading = "Model")]
    pub model: Option<String>,
    /// Number format of the weights [default: the device's]
    #[arg(long, value_enum, value_name = "DTYPE", help_heading = "Model")]
    pub dtype: Option<Dtype>,
    #[command(flatten)]
    pub place: Place,

    /// Name sources as older producers do: edge_function, worker_fallback, emergency_fallback
    #[arg(long, requires = "json", help_heading = "Messages")]
    pub legacy_names: bool,
    #[command(flatten)]
    pub talk: Talk,
}

fn seconds(text: &str) -> Result<f32, String> {
    /// An hour.
    const MOST: f32 = 3600.0;
    match text.parse::<f32>() {
        Ok(value) if (0.0..=MOST).contains(&value) => Ok(value),
        _ => Err(format!("must be a number from 0 to {MOST}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Cli, Command};
    use super::*;
    use clap::Parser;

    fn enhance(args: &[&str]) -> Result<Box<Enhance>, clap::Error> {
        match Cli::try_parse_from(["ourvidz", "enhance"].iter().chain(args))?.command {
            Command::Enhance(enhance) => Ok(enhance),
            other => panic!("parsed as {other:?}"),
        }
    }

    #[test]
    fn values_out_of_range_are_refused_with_their_range() {
        for (flag, value, range) in [
            ("--temperature", "11", "0 to 10"),
            ("--temperature", "-1", "0 to 10"),
            ("--temperature", "NaN", "0 to 10"),
            ("--top-p", "0", "0.001 to 1"),
            ("--top-p", "1.1", "0.001 to 1"),
            ("--top-k", "-1", "0 to 1000000"),
            ("--repetition-penalty", "0", "0.1 to 10"),
            ("--max-tokens", "0", "1 to 32768"),
            ("--time-limit", "3601", "0 to 3600"),
            ("--seed", "-1", "9223372036854775807"),
            ("--for", "chat_enhance", "video_high"),
            ("--style", "epic", "cinematic"),
        ] {
            let message = enhance(&["x", flag, value]).unwrap_err().to_string();
            assert!(
                message.contains(range) && message.contains(value),
                "{flag}: {message}"
            );
        }
    }

    #[test]
    fn one_source_of_prompts_is_enough() {
        assert!(enhance(&["x", "-p", "y"]).is_err());
        assert!(enhance(&["--file", "a", "-p", "y"]).is_err());
        assert!(enhance(&["x", "--file", "a"]).is_err());
        assert!(
            enhance(&["x", "--legacy-names"]).is_err(),
            "names occur in JSON only"
        );
        assert_eq!(enhance(&["x", "--style", "base"]).unwrap().style, Style::Manual);
    }
}
