//! The JSON Schema of a spec, from the table that the parser reads.

use serde_json::{Map, Value as Json, json};

use super::fields::{EXPECT, FIELDS, Field, Home};
use super::kinds;

/// Every field with its aliases, where it may stand, for editors and producers. What depends on the
/// job type is for the resolver to say.
pub fn schema() -> Json {
    let in_maps = FIELDS.iter().filter(|field| field.anywhere);
    let config = properties(in_maps);
    let mut top = properties(FIELDS.iter());
    top.insert("type".into(), types());
    top.insert(
        "config".into(),
        json!({"type": ["object", "null"], "properties": config, "additionalProperties": false}),
    );
    top.insert(
        "metadata".into(),
        json!({"type": ["object", "null"], "properties": config, "additionalProperties": true}),
    );
    top.insert("expect".into(), EXPECT.schema());
    let job = json!({"type": "object", "properties": top, "additionalProperties": false});
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "ourvidz job",
        "$defs": {"job": job},
        "anyOf": [
            {"$ref": "#/$defs/job"},
            {"type": "array", "items": {"$ref": "#/$defs/job"}},
        ],
    })
}

fn properties<'f>(fields: impl Iterator<Item = &'f Field>) -> Map<String, Json> {
    let mut properties = Map::new();
    for field in fields {
        let mut schema = field.content.schema();
        let home = match field.home {
            Home::Top => "",
            Home::Config => " (in config)",
            Home::Metadata => " (in metadata)",
        };
        for name in field.names() {
            schema["description"] = match name == field.name {
                true => format!("{}{home}", field.about),
                false => format!("The same as `{}`", field.name),
            }
            .into();
            properties.insert(name.into(), schema.clone());
        }
    }
    properties
}

fn types() -> Json {
    json!({"enum": kinds::all_names(), "description": "Job type; by the model if it is left out"})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_the_table_is_in_the_schema_with_its_range() {
        let schema = schema();
        let job = &schema["$defs"]["job"]["properties"];
        for field in FIELDS {
            for name in field.names() {
                assert!(job.get(name).is_some(), "{name}");
                assert_eq!(
                    job["config"]["properties"].get(name).is_some(),
                    field.anywhere,
                    "{name}"
                );
            }
        }
        assert_eq!(job["steps"]["maximum"], 150);
        assert_eq!(job["width"]["multipleOf"], 8);
    }
}
