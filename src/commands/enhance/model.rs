//! The language model of the command, loaded when the first prompt needs it.

use anyhow::Result;

use crate::config::Settings;
use crate::device;
use crate::enhance::{Identity, ModelSource};
use crate::error::Error;
use crate::fail;
use crate::pipelines::qwen::TextModel;
use crate::pipelines::{self, LoadOptions};
use crate::registry::{self, ModelFamily, ModelSpec, Registry, Source};

/// A registry entry on its way to becoming a model.
pub struct Language {
    spec: ModelSpec,
    options: LoadOptions,
    identity: Option<Identity>,
    loaded: Option<Box<dyn TextModel>>,
    /// Loading that failed once is not tried again for every prompt.
    failure: Option<Error>,
}

impl Language {
    /// The model that the flag names, else the one routed to `enhance`; `None` without either.
    ///
    /// # Errors
    /// `InputMissing` for a name or path that does not exist, `Usage` for a model of another
    /// family, `Unavailable` for a device. Files of a routed model that are missing are found later:
    /// then the rules take over.
    pub fn choose(named: Option<&str>, registry: &Registry, settings: &Settings) -> Result<Option<Self>> {
        let spec = match named {
            Some(name) => registry.find(name)?,
            None => {
                let routed = registry.route(registry::ENHANCE);
                let Some(spec) = routed.and_then(|name| registry.entry(name)) else {
                    return Ok(None);
                };
                spec.clone()
            }
        };
        if !matches!(spec.family, ModelFamily::Qwen | ModelFamily::Mock) {
            fail!(
                Usage, "model `{}` is of family {}; prompts are enhanced by a language model (qwen)", spec.name, spec.family.name();
                "leave --model out for the route `enhance` of models.toml"
            );
        }
        let options = LoadOptions {
            device: device::open(settings.device.parse()?)?,
            precision: settings.dtype.as_deref().map(str::parse).transpose()?,
            cache_dir: Some(settings.cache_dir.clone()),
        };
        Ok(Some(Self {
            spec,
            options,
            identity: None,
            loaded: None,
            failure: None,
        }))
    }

    fn identify(&self) -> Result<Identity> {
        self.spec.check_files()?;
        Ok(Identity {
            hash: pipelines::model_hash(&self.spec, self.options.cache_dir.as_deref())?,
            dtype: self.options.precision_for(&self.spec)?.name().into(),
        })
    }

    /// Runs `attempt` unless an earlier one failed.
    fn once<T>(&mut self, attempt: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let attempted = match &self.failure {
            Some(earlier) => Err(earlier.again().into()),
            None => attempt(self),
        };
        attempted.inspect_err(|e| self.failure = Some(Error::summary(e)))
    }
}

impl ModelSource for Language {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn identity(&mut self) -> Result<Identity> {
        if let Some(identity) = &self.identity {
            return Ok(identity.clone());
        }
        let identity = self.once(Self::identify)?;
        Ok(self.identity.insert(identity).clone())
    }

    fn is_micro(&self) -> bool {
        self.spec.source == Source::Embedded && self.spec.family == ModelFamily::Qwen
    }

    fn open(&mut self) -> Result<&mut dyn TextModel> {
        if self.loaded.is_none() {
            let open = |this: &Self| pipelines::open_text(&this.spec, &this.options, &mut |_| Ok(()));
            let loaded = self.once(open)?;
            self.loaded = Some(loaded);
        }
        Ok(&mut **self.loaded.as_mut().expect("loaded above or before"))
    }
}
