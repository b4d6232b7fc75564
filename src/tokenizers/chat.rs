//! Chat tokenizers: tokenizer.json for the ids and a Jinja template for the turns.

use anyhow::Result;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, Value, context};
use serde::{Deserialize, Serialize};
use tokenizers::Tokenizer;

use crate::error::{Error, ErrorKind};
use crate::fail;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    System,
    User,
    Assistant,
}

impl Role {
    /// Its name in templates and histories.
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    pub role: Role,
    pub content: String,
}

impl Message {
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self {
            role,
            content: content.into(),
        }
    }
}

const TEMPLATE: &str = "chat template";

/// The vocabulary and the chat template of a model.
#[derive(Debug)]
pub struct ChatTokenizer {
    tokenizer: Tokenizer,
    environment: Environment<'static>,
    /// Marks such as `<|im_end|>` that only the template may write.
    control_tokens: Vec<String>,
    names: SpecialNames,
}

/// The parts of tokenizer_config.json that are needed here.
#[derive(Debug, Default, Deserialize)]
struct TokenizerConfig {
    #[serde(default)]
    chat_template: Option<Templates>,
    #[serde(flatten)]
    names: SpecialNames,
}

#[derive(Debug, Default, Deserialize)]
struct SpecialNames {
    #[serde(default)]
    bos_token: Option<TokenName>,
    #[serde(default)]
    eos_token: Option<TokenName>,
    #[serde(default)]
    pad_token: Option<TokenName>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum TokenName {
    Plain(String),
    Described { content: String },
}

impl TokenName {
    fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Described { content: text } => text,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Templates {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Debug, Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl ChatTokenizer {
    /// Reads tokenizer.json, tokenizer_config.json and, where there is one, chat_template.jinja,
    /// which wins over the template inside the configuration.
    ///
    /// # Errors
    /// `BadInput` for files that do not parse, `InputMissing` when no template is given.
    pub fn new(tokenizer: &[u8], config: &[u8], template_file: Option<&[u8]>) -> Result<Self> {
        let tokenizer = Tokenizer::from_bytes(tokenizer).map_err(|e| broken("tokenizer.json", &e))?;
        let config: TokenizerConfig =
            serde_json::from_slice(config).map_err(|e| broken("tokenizer_config.json", &e))?;
        let template = match template_file {
            Some(bytes) => {
                let text = std::str::from_utf8(bytes).map_err(|e| broken("chat_template.jinja", &e))?;
                text.to_string()
            }
            None => default_template(config.chat_template)?,
        };
        let control_tokens = tokenizer
            .get_added_tokens_decoder()
            .into_values()
            .filter(|token| token.special)
            .map(|token| token.content)
            .collect();
        Ok(Self {
            tokenizer,
            environment: environment(template)?,
            control_tokens,
            names: config.names,
        })
    }

    /// The conversation as the model was trained to read it, ending where the assistant begins.
    ///
    /// Control tokens inside a message are dropped: a user cannot write turns of others.
    ///
    /// # Errors
    /// `BadInput` when the template fails on these messages.
    pub fn render(&self, messages: &[Message]) -> Result<String> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|m| {
                let content = self.without_control_tokens(&m.content);
                Value::from_pairs([("role", m.role.name()), ("content", &content)])
            })
            .collect();
        let name = |token: &Option<TokenName>| token.as_ref().map(|t| Value::from(t.text()));
        let context = context! {
            messages => messages,
            add_generation_prompt => true,
            bos_token => name(&self.names.bos_token).unwrap_or_default(),
            eos_token => name(&self.names.eos_token).unwrap_or_default(),
            pad_token => name(&self.names.pad_token).unwrap_or_default(),
        };
        self.environment
            .get_template(TEMPLATE)
            .and_then(|template| template.render(context))
            .map_err(|e| broken(TEMPLATE, &e).into())
    }

    fn without_control_tokens(&self, text: &str) -> String {
        let mut text = text.to_string();
        // Removing one may join the halves of another, so until nothing is left.
        while let Some(token) = self
            .control_tokens
            .iter()
            .find(|t| !t.is_empty() && text.contains(t.as_str()))
        {
            text = text.replace(token.as_str(), "");
        }
        text
    }

    /// The ids of a rendered text; control tokens in it count as such, none are added.
    ///
    /// # Errors
    /// `BadInput` when the tokenizer cannot encode it.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self
            .tokenizer
            .encode_fast(text, false)
            .map_err(|e| broken("tokenizer.json", &e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids, without control tokens.
    ///
    /// # Errors
    /// `BadInput` when the tokenizer cannot decode them.
    pub fn decode(&self, ids: &[u32]) -> Result<String> {
        self.tokenizer
            .decode(ids, true)
            .map_err(|e| broken("tokenizer.json", &e).into())
    }

    /// The ids that end an answer by name: the configuration's end token and ChatML's marks.
    pub fn end_ids(&self) -> Vec<u32> {
        let configured = self.names.eos_token.as_ref().map(TokenName::text);
        let mut ids: Vec<u32> = configured
            .into_iter()
            .chain(["<|im_end|>", "<|endoftext|>"])
            .filter_map(|token| self.tokenizer.token_to_id(token))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Ids that the vocabulary defines, control tokens included.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }
}

/// Turns ids into text piece by piece, holding back characters whose bytes are not all there.
#[derive(Debug, Default)]
pub struct TextStream {
    pending: Vec<u32>,
}

impl TextStream {
    /// The text that became complete with `id`; empty in the middle of a character.
    ///
    /// # Errors
    /// `BadInput` when the tokenizer cannot decode it.
    pub fn push(&mut self, tokenizer: &ChatTokenizer, id: u32) -> Result<String> {
        self.pending.push(id);
        let text = tokenizer.decode(&self.pending)?;
        // Four bytes at most make a character: more pending tokens are a broken sequence.
        if text.ends_with(char::REPLACEMENT_CHARACTER) && self.pending.len() < 4 {
            return Ok(String::new());
        }
        self.pending.clear();
        Ok(text)
    }
}

fn default_template(templates: Option<Templates>) -> Result<String> {
    let found = match templates {
        Some(Templates::One(template)) => Some(template),
        Some(Templates::Named(list)) => list.into_iter().find(|t| t.name == "default").map(|t| t.template),
        None => None,
    };
    let Some(template) = found else {
        fail!(
            InputMissing, "tokenizer_config.json has no chat_template, and there is no chat_template.jinja";
            "use an Instruct model, or put the template of its Instruct release beside the weights"
        );
    };
    Ok(template)
}

/// Jinja as transformers sets it up.
fn environment(template: String) -> Result<Environment<'static>> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .expect("Jinja's own delimiters");
    environment.set_syntax(syntax);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function(
        "raise_exception",
        |reason: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(
                minijinja::ErrorKind::InvalidOperation,
                reason,
            ))
        },
    );
    environment.add_function("strftime_now", strftime_now);
    environment
        .add_template_owned(TEMPLATE, without_generation(&template))
        .map_err(|e| broken(TEMPLATE, &e))?;
    Ok(environment)
}

/// `{% generation %}` marks what an assistant wrote, for training; the text is the same without.
fn without_generation(template: &str) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let (before, after) = (&rest[..start], &rest[start + length + 2..]);
        let tag = &rest[start + 2..start + length];
        out.push_str(before);
        // A condition that always holds keeps what the tag's own dashes do to white space.
        match tag.trim_matches(['-', '+', ' ', '\n', '\t']) {
            "generation" => out.push_str(&format!("{{%{}%}}", tag.replace("generation", "if true"))),
            "endgeneration" => out.push_str(&format!("{{%{}%}}", tag.replace("endgeneration", "endif"))),
            _ => out.push_str(&rest[start..start + length + 2]),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The time now (UTC) in a form such as `%Y-%m-%d`, which some templates tell the model.
fn strftime_now(format: String) -> Result<String, minijinja::Error> {
    jiff::fmt::strtime::format(&format, jiff::Timestamp::now()).map_err(|e| {
        minijinja::Error::new(
            minijinja::ErrorKind::InvalidOperation,
            format!("strftime_now(\"{format}\"): {e}"),
        )
    })
}

fn broken(file: &str, reason: &dyn std::fmt::Display) -> Error {
    Error::new(ErrorKind::BadInput, format!("model file `{file}`: {reason}"))
        .hint("the file does not look like the one that transformers writes; fetch it again")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str) -> Result<String> {
        let environment = environment(template.into())?;
        let template = environment.get_template(TEMPLATE).expect("just added");
        template
            .render(context! { messages => vec![context! { role => "user", content => "hi" }] })
            .map_err(|e| broken(TEMPLATE, &e).into())
    }

    /// The right sides are what transformers renders.
    #[test]
    fn generation_marks_change_nothing() {
        let plain = "{% for m in messages %}\n{{ m.content }}!\n{% endfor %}";
        let marked =
            "{% for m in messages %}\n{% generation %}\n{{ m.content }}!\n{% endgeneration %}\n{% endfor %}";
        assert_eq!(rendered(plain).unwrap(), "hi!\n");
        assert_eq!(rendered(marked).unwrap(), "hi!\n");
        let dashed = "{% for m in messages %}\n{%- generation -%}\n {{ m.content }} \n{%- endgeneration -%}\n{% endfor %}";
        assert_eq!(rendered(dashed).unwrap(), "hi");
    }

    #[test]
    fn templates_may_ask_for_the_date() {
        let date = rendered("{{ strftime_now('%Y-%m-%d') }}").unwrap();
        assert!(date.len() == 10 && date.starts_with("20"), "{date}");
        assert!(rendered("{{ strftime_now('%') }}").is_err());
    }
}
