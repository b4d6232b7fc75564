//! Every file that a spec names, by its field: pictures that are read, and weights beside the model.

use super::spec::{JobSpec, Options};

impl JobSpec {
    /// Every picture that the job follows, field and source; the golden picture is none.
    pub fn pictures(&self) -> Vec<(String, &str)> {
        let mut copy = self.config.clone();
        let names: Vec<String> = copy.pictures_mut().into_iter().map(|(name, _)| name).collect();
        let sources = self.config.picture_sources();
        names.into_iter().zip(sources).collect()
    }
}

impl Options {
    /// The places of every picture, with the names of their fields.
    pub fn pictures_mut(&mut self) -> Vec<(String, &mut String)> {
        let mut all: Vec<(String, &mut String)> = Vec::new();
        for (name, place) in [
            ("first_frame", &mut self.first_frame),
            ("last_frame", &mut self.last_frame),
            ("image", &mut self.image),
            ("mask_image", &mut self.mask_image),
        ] {
            all.extend(place.as_mut().map(|source| (format!("config.{name}"), source)));
        }
        for (i, control) in self.controls.iter_mut().enumerate() {
            all.push((format!("config.controls[{i}].image"), &mut control.image));
        }
        for (i, adapter) in self.ip_adapters.iter_mut().enumerate() {
            for (j, image) in adapter.image.iter_mut().enumerate() {
                all.push((format!("config.ip_adapters[{i}].image[{j}]"), image));
            }
        }
        all
    }

    /// In the order of [`Self::pictures_mut`].
    fn picture_sources(&self) -> Vec<&str> {
        let single = [&self.first_frame, &self.last_frame, &self.image, &self.mask_image];
        let single = single.into_iter().flatten().map(String::as_str);
        let controls = self.controls.iter().map(|control| control.image.as_str());
        let adapters = self.ip_adapters.iter().flat_map(|adapter| &adapter.image);
        single
            .chain(controls)
            .chain(adapters.map(String::as_str))
            .collect()
    }

    /// The places of every file of weights beside the model, with the names of their fields.
    pub fn weights_mut(&mut self) -> Vec<(String, &mut String)> {
        let mut all: Vec<(String, &mut String)> = Vec::new();
        all.extend(self.vae.as_mut().map(|path| ("config.vae".into(), path)));
        all.extend(
            self.refiner
                .as_mut()
                .map(|refiner| ("config.refiner.model".into(), &mut refiner.model)),
        );
        for (i, lora) in self.loras.iter_mut().enumerate() {
            all.push((format!("config.loras[{i}].file"), &mut lora.file));
        }
        for (i, control) in self.controls.iter_mut().enumerate() {
            all.push((format!("config.controls[{i}].model"), &mut control.model));
        }
        for (i, adapter) in self.ip_adapters.iter_mut().enumerate() {
            all.push((format!("config.ip_adapters[{i}].file"), &mut adapter.file));
            let encoder = format!("config.ip_adapters[{i}].image_encoder");
            all.push((encoder, &mut adapter.image_encoder));
        }
        all
    }
}
