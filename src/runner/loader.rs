//! Loads models as jobs need them, within one memory budget, and knows what can be asked of one
//! without loading it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Result;
use burn::tensor::Device;

use super::needs;
use crate::config::Settings;
use crate::device::{self, DeviceChoice, Precision};
use crate::enhance::Identity;
use crate::fail;
use crate::memory::{Budget, DeviceMemory, Need, Pressure, Release, Report, Rescue, Resident, Running};
use crate::pipelines::Residency;
use crate::pipelines::qwen::TextModel;
use crate::pipelines::{self, ImagePipeline, LoadOptions, Observer, VideoPipeline};
use crate::registry::{ModelFamily, ModelSpec};

/// What a model can do, once it is in memory.
pub enum Pipeline {
    Image(Box<dyn ImagePipeline>),
    Video(Box<dyn VideoPipeline>),
    Text(Box<dyn TextModel>),
}

/// Which of its abilities a job needs of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    Image,
    Video,
    Text,
}

/// A model in memory and the facts about it that a result must name.
pub struct Loaded {
    pub pipeline: Pipeline,
    /// SHA-256 over everything that decides what it computes.
    pub hash: String,
    /// Where it computes, such as `cpu` or `cuda:0`.
    pub device: String,
    pub dtype: String,
}

/// A model in memory, and what it was opened as.
struct Kept {
    spec: ModelSpec,
    ability: Ability,
    loaded: Loaded,
}

/// An opened device with the account of its memory.
struct Desk {
    device: Device,
    /// `None` where the system does not tell its memory: models are then kept one at a time.
    budget: Option<Budget>,
}

/// What was in use when the running job began.
struct Began {
    model: String,
    /// Weights that this job reads, as the first one of its model; they are no work.
    weights_bytes: u64,
    in_use_bytes: u64,
    peak_bytes: u64,
}

/// Keeps models in memory between jobs, as far as the budget allows.
pub struct Loader {
    choice: DeviceChoice,
    /// Opened with the first model, so that a missing GPU is the job's failure and is reported.
    desk: Option<Desk>,
    /// `None` lets model and device decide.
    precision: Option<Precision>,
    cache_dir: Option<PathBuf>,
    kept: BTreeMap<String, Kept>,
    began: Option<Began>,
    /// What the first job should hear of the device.
    note: Option<String>,
}

/// A Burn device's memory, as the budget wants to know it.
struct OnDevice<'a>(&'a Device);

impl DeviceMemory for OnDevice<'_> {
    fn total_bytes(&self) -> u64 {
        device::memory(self.0).map_or(0, |m| m.total_bytes)
    }

    fn available_bytes(&self) -> u64 {
        device::memory(self.0).map_or(0, |m| m.available_bytes)
    }

    fn in_use_bytes(&self) -> u64 {
        device::memory(self.0).map_or(0, |m| m.in_use_bytes)
    }
}

impl Loader {
    /// # Errors
    /// `Usage` for a device or a number format that does not exist.
    pub fn new(settings: &Settings) -> Result<Self> {
        Ok(Self {
            choice: settings.device.parse()?,
            desk: None,
            precision: settings.dtype.as_deref().map(str::parse).transpose()?,
            cache_dir: Some(settings.cache_dir.clone()),
            kept: BTreeMap::new(),
            began: None,
            note: None,
        })
    }

    /// A loader that has this model already.
    #[cfg(test)]
    pub(super) fn holding(spec: ModelSpec, ability: Ability, loaded: Loaded) -> Self {
        let kept = Kept {
            spec,
            ability,
            loaded,
        };
        Self {
            choice: DeviceChoice::Cpu,
            desk: None,
            precision: None,
            cache_dir: None,
            kept: BTreeMap::from([(kept.spec.name.clone(), kept)]),
            began: None,
            note: None,
        }
    }

    /// The pipeline of `model`, and how long loading took if it had to be loaded.
    ///
    /// # Errors
    /// Missing or broken weights, an unavailable device, too little memory, a family that is not
    /// built, or what the observer returned.
    pub fn get(
        &mut self,
        model: &ModelSpec,
        ability: Ability,
        observer: &mut Observer<'_>,
    ) -> Result<(&mut Loaded, Option<Duration>)> {
        let name = &model.name;
        let known = self.kept.get(name);
        let (mut time, mut lazy_bytes) = (None, 0);
        if !known.is_some_and(|k| k.spec == *model && k.ability == ability) {
            self.unload(name);
            let start = Instant::now();
            let options = self.options()?;
            if let Some(note) = self.note.take() {
                observer(pipelines::Event::Note(note))?;
            }
            let residency = self.make_room(model, &options)?;
            let loaded = self.open(model, ability, residency, &options, observer)?;
            time = Some(start.elapsed());
            if ability == Ability::Video {
                // Read with the first job, and given back after each where they are loaded in turn.
                lazy_bytes = match residency {
                    Residency::Keep => pipelines::weights_bytes(model)?.total,
                    Residency::InTurn => 0,
                };
                if let Some(budget) = self.desk.as_mut().and_then(|desk| desk.budget.as_mut()) {
                    budget.weighs(name, lazy_bytes);
                }
            }
            let kept = Kept {
                spec: model.clone(),
                ability,
                loaded,
            };
            self.kept.insert(name.clone(), kept);
        }
        self.begin(name, lazy_bytes);
        let kept = self.kept.get_mut(name).expect("loaded above or before");
        Ok((&mut kept.loaded, time))
    }

    /// Bytes of the weights of every model that is loaded; 0 where the system does not tell.
    pub fn in_memory(&self) -> BTreeMap<String, u64> {
        let budget = self.desk.as_ref().and_then(|desk| desk.budget.as_ref());
        let bytes = |name: &str| budget.map_or(0, |budget| budget.need(name).weights_bytes);
        self.kept.keys().map(|name| (name.clone(), bytes(name))).collect()
    }

    /// Opens the device now, for those who want to know early, and names it.
    ///
    /// # Errors
    /// `Unavailable` when it cannot be opened.
    pub fn open_device(&mut self) -> Result<String> {
        Ok(device::name(&self.options()?.device))
    }

    /// What decides the answers of `model`, found out without loading it.
    ///
    /// # Errors
    /// Files that are missing or cannot be read, an unavailable device.
    pub fn identity(&mut self, model: &ModelSpec) -> Result<Identity> {
        model.check_files()?;
        let options = self.options()?;
        Ok(Identity {
            hash: pipelines::model_hash(model, options.cache_dir.as_deref())?,
            dtype: options.precision_for(model)?.name().into(),
        })
    }

    /// Device and number format, the device opened.
    fn options(&mut self) -> Result<LoadOptions> {
        if self.desk.is_none() {
            let device::Opened { device, note } = device::open(self.choice, self.cache_dir.as_deref())?;
            self.note = note;
            let mut budget = device::memory(&device).map(|memory| Budget::new(memory.total_bytes));
            if let (Some(budget), Some(folder)) = (&mut budget, &self.cache_dir) {
                for (name, need) in needs::read(folder, &device::name(&device)) {
                    budget.expect(&name, need);
                }
            }
            self.desk = Some(Desk { device, budget });
        }
        let desk = self.desk.as_ref().expect("opened above");
        Ok(LoadOptions {
            device: desk.device.clone(),
            precision: self.precision,
            cache_dir: self.cache_dir.clone(),
        })
    }

    /// Unloads idle models, least recently used first, until `model` fits; tells whether its
    /// networks fit together or must be loaded in turn.
    fn make_room(&mut self, model: &ModelSpec, options: &LoadOptions) -> Result<Residency> {
        let weights = pipelines::weights_bytes(model)?;
        let Some(Desk {
            device,
            budget: Some(budget),
        }) = &mut self.desk
        else {
            self.kept.clear();
            return Ok(Residency::Keep);
        };
        let memory = OnDevice(device);
        let together = Need {
            weights_bytes: weights.total,
            work_bytes: model
                .memory_bytes
                .unwrap_or_default()
                .saturating_sub(weights.total),
        };
        let mut residency = Residency::Keep;
        if model.family == ModelFamily::Wan && !budget.fits_alone(&memory, together) {
            residency = Residency::InTurn;
            budget.expect(
                &model.name,
                Need {
                    weights_bytes: weights.largest,
                    ..together
                },
            );
        }
        budget.expect(&model.name, together);
        let kept = &mut self.kept;
        let room = budget.make_room(&memory, &model.name, &mut |what| {
            release(kept, device, what);
            Ok(())
        });
        match room {
            // On the CPU large weights stay in their file and are paged in: too much is slow, not wrong.
            Err(_) if device::is_cpu(&options.device) => Ok(residency),
            other => other.map(|()| residency),
        }
    }

    fn open(
        &mut self,
        model: &ModelSpec,
        ability: Ability,
        residency: Residency,
        options: &LoadOptions,
        observer: &mut Observer<'_>,
    ) -> Result<Loaded> {
        let mut load = || -> Result<Loaded> {
            let pipeline = match ability {
                Ability::Image => Pipeline::Image(pipelines::open(model, options, observer)?),
                Ability::Video => {
                    Pipeline::Video(pipelines::open_video(model, options, residency, observer)?)
                }
                Ability::Text => Pipeline::Text(pipelines::open_text(model, options, observer)?),
            };
            Ok(Loaded {
                pipeline,
                hash: pipelines::model_hash(model, options.cache_dir.as_deref())?,
                device: device::name(&options.device),
                dtype: options.precision_for(model)?.name().to_string(),
            })
        };
        match &mut self.desk {
            Some(Desk {
                device,
                budget: Some(budget),
            }) => budget.load(&OnDevice(device), &model.name, resident(model.family), load),
            _ => load(),
        }
    }

    /// Notes that a job of `model` starts now.
    fn begin(&mut self, model: &str, weights_bytes: u64) {
        let Some(Desk {
            device,
            budget: Some(budget),
        }) = &mut self.desk
        else {
            return;
        };
        budget.touch(model);
        self.began = device::memory(device).map(|memory| Began {
            model: model.into(),
            weights_bytes,
            in_use_bytes: memory.in_use_bytes,
            peak_bytes: memory.peak_bytes,
        });
    }

    /// Notes that the running job is over: what it took is remembered, also for later runs.
    pub fn job_over(&mut self) {
        let Some(Desk {
            device,
            budget: Some(budget),
        }) = &mut self.desk
        else {
            return;
        };
        if let (Some(began), Some(now)) = (self.began.take(), device::memory(device)) {
            // The peak is the process's own: one that did not rise says nothing of this job.
            if now.peak_bytes > began.peak_bytes {
                let rise = now.peak_bytes.saturating_sub(began.in_use_bytes);
                budget.worked(&began.model, rise.saturating_sub(began.weights_bytes));
            }
        }
        if let Some(folder) = &self.cache_dir {
            needs::write(folder, &device::name(device), budget.needs());
        }
    }

    /// What could be tried after running out of memory in a job of `model`, in order.
    pub fn rescues(&self, model: &str, can_tile: bool, batch: usize) -> Vec<Rescue> {
        let budget = self.desk.as_ref().and_then(|desk| desk.budget.as_ref());
        let running = Running {
            model,
            can_tile,
            batch,
        };
        budget.map_or_else(
            || Budget::new(0).rescue(&running),
            |budget| budget.rescue(&running),
        )
    }

    /// Gives memory back.
    pub fn release(&mut self, what: &Release) {
        if let Some(desk) = &mut self.desk {
            release(&mut self.kept, &desk.device, what);
            if let (Some(budget), Release::Model(name)) = (&mut desk.budget, what) {
                budget.unloaded(name);
            }
        }
    }

    /// How scarce memory is; `None` before a device is open or where it does not tell.
    pub fn pressure(&self) -> Option<Pressure> {
        let desk = self.desk.as_ref()?;
        Some(desk.budget.as_ref()?.pressure(&OnDevice(&desk.device)))
    }

    /// The budget in numbers, with every model of `models` in it.
    ///
    /// # Errors
    /// `Unavailable` when the device cannot be opened or does not tell its memory.
    pub fn report<'m>(&mut self, models: impl Iterator<Item = &'m ModelSpec>) -> Result<Report> {
        self.options()?;
        let Some(Desk {
            device,
            budget: Some(budget),
        }) = &mut self.desk
        else {
            fail!(Unavailable, "this system does not tell how much memory it has");
        };
        for model in models {
            // A model whose files are not there needs nothing here.
            if let Ok(weights) = pipelines::weights_bytes(model) {
                let work_bytes = model
                    .memory_bytes
                    .unwrap_or_default()
                    .saturating_sub(weights.total);
                budget.expect(
                    &model.name,
                    Need {
                        weights_bytes: weights.total,
                        work_bytes,
                    },
                );
            }
        }
        Ok(budget.report(&OnDevice(device)))
    }

    fn unload(&mut self, name: &str) {
        if self.kept.remove(name).is_some()
            && let Some(Desk {
                device,
                budget: Some(budget),
            }) = &mut self.desk
        {
            budget.unloaded(name);
            device::release_pools(device);
        }
    }

    /// Drops every model, whatever state they are in.
    pub fn forget(&mut self) {
        let names: Vec<String> = self.kept.keys().cloned().collect();
        names.iter().for_each(|name| self.unload(name));
    }
}

fn release(kept: &mut BTreeMap<String, Kept>, device: &Device, what: &Release) {
    if let Release::Model(name) = what {
        kept.remove(name);
    }
    device::release_pools(device);
}

fn resident(family: ModelFamily) -> Resident {
    match family {
        ModelFamily::Qwen => Resident::Chat,
        ModelFamily::Wan => Resident::Wan,
        ModelFamily::Sdxl | ModelFamily::Mock => Resident::Sdxl,
    }
}

/// A model's tokenizers, as a function from a text to its number of tokens.
type Counter = Box<dyn Fn(&str) -> Result<usize>>;

/// Counts tokens with each model's own tokenizers, read once.
#[derive(Default)]
pub struct TokenCounters {
    known: RefCell<HashMap<String, Counter>>,
}

impl TokenCounters {
    /// Tokens of `text` without begin and end marks.
    ///
    /// # Errors
    /// When the vocabulary cannot be read.
    pub fn count(&self, model: &ModelSpec, text: &str) -> Result<usize> {
        let mut known = self.known.borrow_mut();
        if !known.contains_key(&model.name) {
            known.insert(model.name.clone(), pipelines::token_counter(model)?);
        }
        known[&model.name](text)
    }
}

/// The entry with the size its files tell, where models.toml does not.
///
/// # Errors
/// When the model's configuration cannot be read.
pub fn with_native_size(mut model: ModelSpec) -> Result<ModelSpec> {
    let untold = model.width.is_none() && model.height.is_none();
    if untold && model.family == ModelFamily::Sdxl {
        let native = pipelines::native_size_px(&model)?.and_then(|px| u32::try_from(px).ok());
        (model.width, model.height) = (native, native);
    }
    Ok(model)
}
