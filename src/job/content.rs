//! What a field of a spec may hold.

use std::ops::RangeInclusive;

use serde_json::{Map, Value as Json, json};

use crate::limits;

/// The values that a field takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Content {
    Text,
    /// `[A-Za-z0-9_-]{1,128}`: it becomes part of file names and object keys.
    Id,
    Bool,
    Whole {
        min: u64,
        max: u64,
        multiple_of: u64,
    },
    Real {
        min: f64,
        max: f64,
    },
    /// Above `min`.
    Above {
        min: f64,
        max: f64,
    },
    Choice(&'static [&'static str]),
    /// A list; one value alone counts as a list of one.
    List(&'static Content),
    /// Exactly so many of them.
    Tuple(&'static Content, usize),
    Map(&'static [Key]),
    /// The first that fits.
    Either(&'static [Content]),
    /// The turns of a conversation.
    Messages,
    /// A LoRA: `FILE[:SCALE]`, or a map of both.
    Lora,
}

/// One key of a map.
#[derive(Debug, PartialEq)]
pub struct Key {
    pub name: &'static str,
    pub content: Content,
    pub needed: bool,
}

/// A LoRA that is written as a map.
pub const LORA_KEYS: &[Key] = &[
    Key {
        name: "file",
        content: Content::Text,
        needed: true,
    },
    Key {
        name: "scale",
        content: Content::real(&limits::LORA_SCALE),
        needed: false,
    },
];

impl Content {
    pub const fn whole(range: &RangeInclusive<u64>) -> Self {
        Self::multiple(range, 1)
    }

    pub const fn multiple(range: &RangeInclusive<u64>, multiple_of: u64) -> Self {
        Self::Whole {
            min: *range.start(),
            max: *range.end(),
            multiple_of,
        }
    }

    pub const fn real(range: &RangeInclusive<f64>) -> Self {
        Self::Real {
            min: *range.start(),
            max: *range.end(),
        }
    }

    pub fn is_number(self) -> bool {
        matches!(self, Self::Whole { .. } | Self::Real { .. } | Self::Above { .. })
    }

    /// The allowed values, for messages.
    pub fn allowed(self) -> String {
        match self {
            Self::Text => "text".into(),
            Self::Id => format!(
                "{} to {} of the characters A-Z a-z 0-9 _ -",
                limits::ID_CHARS.start(),
                limits::ID_CHARS.end()
            ),
            Self::Bool => "true or false".into(),
            Self::Whole {
                min,
                max,
                multiple_of: 1,
            } => format!("a whole number from {min} to {max}"),
            Self::Whole {
                min,
                max,
                multiple_of,
            } => format!("a multiple of {multiple_of} from {min} to {max}"),
            Self::Real { min, max } => format!("a number from {min} to {max}"),
            Self::Above { min, max } => format!("a number above {min} up to {max}"),
            Self::Choice(names) => format!("one of {}", names.join(", ")),
            Self::List(Self::Text) => "text or a list of texts".into(),
            Self::List(item) => format!("a list, each {}", item.allowed()),
            Self::Tuple(item, count) => format!("a list of {count}, each {}", item.allowed()),
            Self::Map(keys) => {
                let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
                format!("a map of {}", names.join(", "))
            }
            Self::Either(contents) => {
                let all: Vec<String> = contents.iter().map(|content| content.allowed()).collect();
                all.join(", or ")
            }
            Self::Messages => "a list of {role, content}".into(),
            Self::Lora => "FILE[:SCALE] or {file, scale}".into(),
        }
    }

    /// The same as a JSON Schema.
    pub fn schema(self) -> Json {
        match self {
            Self::Text => json!({"type": "string"}),
            Self::Id => json!({"type": "string", "pattern": format!(
                "^[A-Za-z0-9_-]{{{},{}}}$", limits::ID_CHARS.start(), limits::ID_CHARS.end())}),
            Self::Bool => json!({"type": "boolean"}),
            Self::Whole {
                min,
                max,
                multiple_of,
            } => {
                let mut schema = json!({"type": "integer", "minimum": min, "maximum": max});
                if multiple_of > 1 {
                    schema["multipleOf"] = multiple_of.into();
                }
                schema
            }
            Self::Real { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
            Self::Above { min, max } => json!({"type": "number", "exclusiveMinimum": min, "maximum": max}),
            Self::Choice(names) => json!({"enum": names}),
            Self::List(item) => json!({"anyOf": [
                {"type": "array", "items": item.schema()}, item.schema(),
            ]}),
            Self::Tuple(item, count) => {
                json!({"type": "array", "items": item.schema(), "minItems": count, "maxItems": count})
            }
            Self::Map(keys) => map_schema(keys),
            Self::Either(contents) => {
                let all: Vec<Json> = contents.iter().map(|content| content.schema()).collect();
                json!({"anyOf": all})
            }
            Self::Lora => json!({"anyOf": [{"type": "string"}, map_schema(LORA_KEYS)]}),
            Self::Messages => json!({"type": "array", "items": {
                "type": "object",
                "properties": {"role": {"enum": ["system", "user", "assistant"]}, "content": {"type": "string"}},
                "required": ["role", "content"],
                "additionalProperties": false,
            }}),
        }
    }
}

fn map_schema(keys: &[Key]) -> Json {
    let properties: Map<String, Json> = keys
        .iter()
        .map(|key| (key.name.to_string(), key.content.schema()))
        .collect();
    let needed: Vec<&str> = keys.iter().filter(|key| key.needed).map(|key| key.name).collect();
    json!({"type": "object", "properties": properties, "required": needed, "additionalProperties": false})
}
