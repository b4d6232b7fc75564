//! A graph of ComfyUI in one form, whichever it came in: as its interface saves it (`nodes` and
//! `links`, values by position) or as its API takes it (values and links by name).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// One node.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    pub class: String,
    /// Plain values by name.
    pub values: Map<String, Value>,
    /// Where an input comes from.
    pub links: BTreeMap<String, Link>,
}

/// The output of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub node: String,
    pub slot: u64,
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    pub nodes: BTreeMap<String, Node>,
}

/// More hops than a graph that people draw has; one may run in a circle.
const LONGEST_WAY: usize = 200;

/// The values of the nodes that are read, in the order in which the interface keeps them.
const WIDGETS: &[(&str, &[&str])] = &[
    (
        "KSampler",
        &["seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"],
    ),
    (
        "KSamplerAdvanced",
        &[
            "add_noise",
            "noise_seed",
            "",
            "steps",
            "cfg",
            "sampler_name",
            "scheduler",
            "start_at_step",
            "end_at_step",
            "return_with_leftover_noise",
        ],
    ),
    ("SamplerCustom", &["add_noise", "noise_seed", "", "cfg"]),
    ("RandomNoise", &["noise_seed", ""]),
    ("KSamplerSelect", &["sampler_name"]),
    ("BasicScheduler", &["scheduler", "steps", "denoise"]),
    ("SDTurboScheduler", &["steps", "denoise"]),
    ("CFGGuider", &["cfg"]),
    ("CLIPTextEncode", &["text"]),
    (
        "CLIPTextEncodeSDXL",
        &[
            "width",
            "height",
            "crop_w",
            "crop_h",
            "target_width",
            "target_height",
            "text_g",
            "text_l",
        ],
    ),
    ("EmptyLatentImage", &["width", "height", "batch_size"]),
    ("EmptySD3LatentImage", &["width", "height", "batch_size"]),
    (
        "EmptyHunyuanLatentVideo",
        &["width", "height", "length", "batch_size"],
    ),
    ("CheckpointLoaderSimple", &["ckpt_name"]),
    ("UNETLoader", &["unet_name", "weight_dtype"]),
    ("LoraLoader", &["lora_name", "strength_model", "strength_clip"]),
    ("LoraLoaderModelOnly", &["lora_name", "strength_model"]),
    ("CLIPSetLastLayer", &["stop_at_clip_layer"]),
    ("ModelSamplingSD3", &["shift"]),
    ("ModelSamplingDiscrete", &["sampling", "zsnr"]),
    ("VAELoader", &["vae_name"]),
    ("LatentUpscaleBy", &["upscale_method", "scale_by"]),
    ("LatentUpscale", &["upscale_method", "width", "height", "crop"]),
    ("LoadImage", &["image"]),
    ("PrimitiveString", &["value"]),
    ("PrimitiveStringMultiline", &["value"]),
    ("PrimitiveInt", &["value"]),
    ("PrimitiveFloat", &["value"]),
];

/// Nodes that are switched off in the interface: muted, and passed through.
const MUTED: u64 = 2;
const BYPASSED: u64 = 4;

impl Graph {
    /// `None` for JSON that is no graph.
    pub fn of(json: &Value) -> Option<Self> {
        let object = json.as_object()?;
        // What goes to the API is wrapped in `prompt`; some save it so.
        if let Some(inner) = object.get("prompt").filter(|inner| inner.is_object()) {
            return Self::of_api(inner.as_object()?);
        }
        match (object.get("nodes"), object.get("links")) {
            (Some(Value::Array(nodes)), Some(Value::Array(links))) => Some(Self::of_interface(nodes, links)),
            _ => Self::of_api(object),
        }
    }

    fn of_api(object: &Map<String, Value>) -> Option<Self> {
        let mut graph = Self::default();
        for (id, node) in object {
            // Beside nodes some keep notes of their own.
            let Some(class) = node.get("class_type").and_then(Value::as_str) else {
                continue;
            };
            let mut read = Node {
                class: class.into(),
                ..Node::default()
            };
            for (name, value) in node
                .get("inputs")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                match link_of(value) {
                    Some(link) => drop(read.links.insert(name.clone(), link)),
                    None => drop(read.values.insert(name.clone(), value.clone())),
                }
            }
            graph.nodes.insert(id.clone(), read);
        }
        (!graph.nodes.is_empty()).then_some(graph)
    }

    fn of_interface(nodes: &[Value], links: &[Value]) -> Self {
        let ends = link_ends(links);
        let mut graph = Self::default();
        for node in nodes {
            let mode = node["mode"].as_u64().unwrap_or_default();
            let (Some(id), Some(class)) = (id_of(&node["id"]), node["type"].as_str()) else {
                continue;
            };
            if mode == MUTED {
                continue;
            }
            let mut read = Node {
                class: if mode == BYPASSED {
                    PASS.into()
                } else {
                    class.into()
                },
                values: widgets(class, &node["widgets_values"]),
                ..Node::default()
            };
            for input in node["inputs"].as_array().into_iter().flatten() {
                let link = input["link"].as_u64().and_then(|link| ends.get(&link));
                if let (Some(name), Some(link)) = (input["name"].as_str(), link) {
                    read.links.insert(name.to_string(), link.clone());
                    read.values.remove(name);
                }
            }
            graph.nodes.insert(id, read);
        }
        graph
    }

    /// The node behind an input, past nodes that only hand on.
    pub fn behind(&self, node: &Node, input: &str) -> Option<(&Node, u64)> {
        let mut link = node.links.get(input)?;
        for _ in 0..LONGEST_WAY {
            let found = self.nodes.get(&link.node)?;
            if found.class != PASS && found.class != "Reroute" {
                return Some((found, link.slot));
            }
            // A switched-off node hands on the first input of the kind; names tell kinds well enough.
            link = found.links.get(input).or_else(|| found.links.values().next())?;
        }
        None
    }

    /// A value of a node, also one that another node holds.
    pub fn value<'g>(&'g self, node: &'g Node, name: &str) -> Option<&'g Value> {
        if let Some(value) = node.values.get(name) {
            return Some(value);
        }
        let (source, _) = self.behind(node, name)?;
        ["value", "text", "string", "seed"]
            .iter()
            .find_map(|key| source.values.get(*key))
    }

    pub fn text(&self, node: &Node, name: &str) -> Option<String> {
        self.value(node, name)?.as_str().map(String::from)
    }

    pub fn real(&self, node: &Node, name: &str) -> Option<f64> {
        self.value(node, name)?.as_f64()
    }

    pub fn whole(&self, node: &Node, name: &str) -> Option<u64> {
        self.value(node, name)?.as_u64()
    }

    /// The nodes along `input`, from the nearest on, while `input` leads further.
    pub fn chain(&self, node: &Node, input: &str) -> Vec<&Node> {
        let mut found = Vec::new();
        let mut from = node;
        while let Some((next, _)) = self.behind(from, input) {
            found.push(next);
            from = next;
            if found.len() > LONGEST_WAY {
                break;
            }
        }
        found
    }
}

/// What stands for the class of a node that is passed through.
const PASS: &str = "(passed through)";

/// `["4", 0]`.
fn link_of(value: &Value) -> Option<Link> {
    match value.as_array()?.as_slice() {
        [node, slot] => Some(Link {
            node: id_of(node)?,
            slot: slot.as_u64()?,
        }),
        _ => None,
    }
}

fn id_of(value: &Value) -> Option<String> {
    match value {
        Value::String(id) => Some(id.clone()),
        Value::Number(id) => Some(id.to_string()),
        _ => None,
    }
}

/// Where each link begins: `[id, from, slot, to, slot, type]`, or the same by name.
fn link_ends(links: &[Value]) -> BTreeMap<u64, Link> {
    let end = |link: &Value| {
        let (id, node, slot) = match link {
            Value::Array(parts) => (parts.first()?, parts.get(1)?, parts.get(2)?),
            named => (
                named.get("id")?,
                named.get("origin_id")?,
                named.get("origin_slot")?,
            ),
        };
        let end = Link {
            node: id_of(node)?,
            slot: slot.as_u64()?,
        };
        Some((id.as_u64()?, end))
    };
    links.iter().filter_map(end).collect()
}

/// Values by position, or by name where a node keeps them so.
fn widgets(class: &str, values: &Value) -> Map<String, Value> {
    if let Some(named) = values.as_object() {
        return named.clone();
    }
    let names = WIDGETS
        .iter()
        .find(|(known, _)| *known == class)
        .map(|(_, names)| *names);
    let pairs = names
        .into_iter()
        .flatten()
        .zip(values.as_array().into_iter().flatten());
    pairs
        .filter(|(name, _)| !name.is_empty())
        .map(|(name, value)| (name.to_string(), value.clone()))
        .collect()
}
