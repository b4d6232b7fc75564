//! What was found in a text of another program, on its way to becoming a spec.

use serde_json::{Map, Value};

use crate::schedulers::combine;

/// A recognised text of another program.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreign {
    /// What it is, such as `a ComfyUI graph`.
    pub what: &'static str,
    /// The recognised part as a spec.
    pub spec: Map<String, Value>,
    /// The model it names: a file of that program's own folders.
    pub model: Option<String>,
    /// The rest, each item with its reason where there is one.
    pub left_out: Vec<String>,
}

impl Foreign {
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            spec: Map::new(),
            model: None,
            left_out: Vec::new(),
        }
    }

    pub(super) fn top(&mut self, field: &str, value: impl Into<Value>) {
        self.spec.insert(field.into(), value.into());
    }

    pub(super) fn option(&mut self, field: &str, value: impl Into<Value>) {
        let options = self.spec.entry("config").or_insert_with(|| Map::new().into());
        options[field] = value.into();
    }

    pub(super) fn leave_out(&mut self, item: impl Into<String>) {
        let item = item.into();
        if !self.left_out.contains(&item) {
            self.left_out.push(item);
        }
    }

    /// A sampler and a schedule by their names there.
    pub(super) fn scheduler(&mut self, sampler: &str, schedule: &str, flow: bool) {
        let sampler = sampler.strip_suffix("_gpu").unwrap_or(sampler);
        let found = match flow {
            true => flow_sampler(sampler),
            false => combine(sampler, schedule).ok(),
        };
        match found {
            Some(name) => self.option("scheduler", name),
            None => self.leave_out(format!(
                "sampler `{sampler}` with schedule `{schedule}`, which is not known here"
            )),
        }
    }
}

/// The samplers of a flow model go by other names.
fn flow_sampler(sampler: &str) -> Option<String> {
    let name = match sampler {
        "euler" => "flow-euler",
        "uni_pc" | "uni_pc_bh2" => "flow-unipc",
        "dpmpp_2m" => "flow-dpmpp",
        _ => return None,
    };
    Some(name.into())
}

/// The name of a LoRA as a tag in the prompt gives it: the file without folder and ending.
pub(super) fn lora_tag(file: &str, scale: f64) -> String {
    let name = file.rsplit(['/', '\\']).next().unwrap_or(file);
    let name = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    format!("<lora:{name}:{scale}>")
}
