//! The language model of the command, loaded when the first prompt needs it.

use anyhow::Result;

use crate::config::Settings;
use crate::enhance::{Identity, ModelSource};
use crate::error::Error;
use crate::fail;
use crate::pipelines::qwen::TextModel;
use crate::registry::{self, ModelFamily, ModelSpec, Registry};
use crate::runner::language::{is_micro, text_model};
use crate::runner::loader::{Ability, Loader};

/// A registry entry on its way to becoming a model.
pub struct Language {
    spec: ModelSpec,
    loader: Loader,
    identity: Option<Identity>,
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
        let mut loader = Loader::new(settings)?;
        loader.open_device()?;
        Ok(Some(Self {
            spec,
            loader,
            identity: None,
            failure: None,
        }))
    }

    /// Runs `attempt` unless an earlier one failed.
    fn once<T>(&mut self, attempt: impl FnOnce(&mut Loader, &ModelSpec) -> Result<T>) -> Result<T> {
        let attempted = match &self.failure {
            Some(earlier) => Err(earlier.again().into()),
            None => attempt(&mut self.loader, &self.spec),
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
        let identity = self.once(Loader::identity)?;
        Ok(self.identity.insert(identity).clone())
    }

    fn is_micro(&self) -> bool {
        is_micro(&self.spec)
    }

    fn open(&mut self) -> Result<&mut dyn TextModel> {
        self.once(|loader, spec| loader.get(spec, Ability::Text, &mut |_| Ok(())).map(drop))?;
        // Loaded by now, so this one only hands it out.
        let (loaded, _) = self.loader.get(&self.spec, Ability::Text, &mut |_| Ok(()))?;
        text_model(&mut loaded.pipeline, &self.spec)
    }
}
