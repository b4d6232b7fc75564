//! `chat` as types.

use std::path::PathBuf;

use clap::Args;

use super::candidates;
use super::options::of;
use super::shared::{Dtype, Place, Talk};

const CHAT_HELP: &str = "\
Examples:
  ourvidz chat
  ourvidz chat --once \"name three words for dusk\"
  cat questions.txt | ourvidz chat --json
  ourvidz chat --system-prompt terse.txt --temperature 0

Every line is one turn; from a file or a pipe too. The model knows the turns before it, as many as its
context holds. /reset forgets them, /quit or the end of the input ends the conversation. Nothing of it
is kept. The content rules hold for every turn and every answer.

Exit codes: 0 done; 1 some of several turns failed; 2 usage; 66 model missing; 69 device unavailable;
77 refused by the content rules; 78 configuration; 130/143 stopped.";

#[derive(Debug, Args)]
#[command(after_help = CHAT_HELP)]
pub struct Chat {
    /// Say this, print the answer, and end; - takes all of stdin as one turn
    #[arg(long, value_name = "TEXT")]
    pub once: Option<String>,
    /// Tell the model this first, instead of the operator's system message
    #[arg(long, value_name = "FILE")]
    pub system_prompt: Option<PathBuf>,

    /// Seed of the first answer; the next has the next [default: drawn]
    #[arg(short, long, value_name = "N", allow_negative_numbers = true, help_heading = "Answer",
          value_parser = of::<u64>("seed"))]
    pub seed: Option<u64>,
    /// Most tokens of an answer, 1 to 32768 [default: 512]
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Answer",
          value_parser = of::<u32>("max_tokens"))]
    pub max_tokens: Option<u32>,
    /// 0 takes the most probable token always; up to 10 [default: 0.7, 0 for the built-in model]
    #[arg(long, value_name = "T", allow_negative_numbers = true, help_heading = "Answer",
          value_parser = of::<f64>("temperature"))]
    pub temperature: Option<f64>,
    /// Draw from the tokens that reach this share, 0.001 to 1 [default: 0.9]
    #[arg(long, value_name = "P", allow_negative_numbers = true, help_heading = "Answer",
          value_parser = of::<f64>("top_p"))]
    pub top_p: Option<f64>,
    /// Draw from this many tokens, 0 for all [default: 20]
    #[arg(long, value_name = "K", allow_negative_numbers = true, help_heading = "Answer",
          value_parser = of::<u32>("top_k"))]
    pub top_k: Option<u32>,
    /// Make tokens that occurred less probable, 0.1 to 10 [default: 1.1, 1 for the built-in model]
    #[arg(long, value_name = "R", allow_negative_numbers = true, help_heading = "Answer",
          value_parser = of::<f64>("repetition_penalty"))]
    pub repetition_penalty: Option<f64>,

    /// The language model: a name from models.toml or a folder [default: the route `chat_conversation`]
    #[arg(short, long, value_name = "NAME|PATH", add = candidates::models(), help_heading = "Model")]
    pub model: Option<String>,
    /// Number format of the weights [default: the device's]
    #[arg(long, value_enum, value_name = "DTYPE", help_heading = "Model")]
    pub dtype: Option<Dtype>,
    #[command(flatten)]
    pub place: Place,
    #[command(flatten)]
    pub talk: Talk,
}
