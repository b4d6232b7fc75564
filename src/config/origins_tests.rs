//! The table of settings against what the parsers read.

use super::*;
use crate::error::hint_of;

fn loaded(file: &str, variables: &[(&str, &str)]) -> (Result<Settings>, Vec<Settled>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.toml"), file).unwrap();
    for secret in ["webhook.secret", "callback.token"] {
        std::fs::write(folder.path().join(secret), "canary").unwrap();
    }
    let home = folder.path().display().to_string();
    let env = |name: &str| match name {
        "OURVIDZ_CONFIG_DIR" | "OURVIDZ_CACHE_DIR" => Some(home.clone()),
        _ => variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.to_string()),
    };
    let settings = Settings::load_with(&env);
    let origins = settings.as_ref().map(|s| s.origins(&env).unwrap());
    let origins = origins.unwrap_or_default();
    (settings, origins)
}

/// The starter file with every setting taken out of its comment.
fn everything() -> String {
    let is_setting = |line: &str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let uncommented = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if is_setting(rest) => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    starter().lines().map(uncommented).collect()
}

#[test]
fn a_starter_file_changes_nothing_and_is_good_line_by_line() {
    let (settings, origins) = loaded(&starter(), &[]);
    let settings = settings.unwrap();
    let untouched = Settings::with_folders(&settings.config_dir, &settings.cache_dir);
    assert_eq!(settings.queue, untouched.queue);
    assert!(origins.iter().all(|settled| settled.origin == Origin::Default));
    let (settings, origins) = loaded(&everything(), &[]);
    settings.unwrap();
    for settled in origins {
        assert!(matches!(settled.origin, Origin::File(_)), "{}", settled.key);
        assert!(
            !settled.value.is_null() || settled.key == "time_limit",
            "{}",
            settled.key
        );
        assert!(!settled.value.to_string().contains("canary"), "{}", settled.key);
    }
}

#[test]
fn every_key_that_a_file_may_have_is_in_the_table() {
    for (table, ours) in [
        ("", 7),
        ("policy", 2),
        ("callback", 5),
        ("storage", 9),
        ("enhance", 3),
        ("queue", 16),
    ] {
        let file = match table {
            "" => "qqqqqqqqqq = 1".to_string(),
            table => format!("[{table}]\nqqqqqqqqqq = 1"),
        };
        let error = loaded(&file, &[]).0.unwrap_err();
        let hint = hint_of(&error).unwrap().to_string();
        let known = hint.strip_prefix("known keys are ").unwrap();
        let mut count = 0;
        for key in known.split(", ") {
            let full = if table.is_empty() {
                key.to_string()
            } else {
                format!("{table}.{key}")
            };
            let is_table = SETTINGS.iter().any(|s| s.key.starts_with(&format!("{full}.")));
            if !is_table {
                assert!(SETTINGS.iter().any(|s| s.key == full), "{full} is missing");
                count += 1;
            }
        }
        assert_eq!(count, ours, "{table}: {known}");
    }
}

#[test]
fn every_variable_of_the_table_is_one_that_is_read() {
    for setting in SETTINGS {
        for variable in setting.variables {
            let sample = setting.sample.trim_matches(['"', '[', ']']);
            let (_, before) = loaded("", &[]);
            let (settings, after) = loaded("", &[(variable, sample)]);
            let find = |all: &[Settled]| {
                let settled = all.iter().find(|settled| settled.key == setting.key);
                settled.map(|s| (s.value.clone(), s.origin.clone()))
            };
            match settings {
                // A file of secrets that is not there: the variable was read.
                Err(error) => assert!(format!("{error:#}").contains(variable), "{error:#}"),
                Ok(_) => {
                    let (_, origin) = find(&after).unwrap();
                    assert_eq!(origin, Origin::Variable(variable));
                    let other = match sample {
                        "false" => "true",
                        "0" | "3" => "7",
                        _ => sample,
                    };
                    let (settings, changed) = loaded("", &[(variable, other)]);
                    settings.unwrap();
                    let same_as_default = ["auto", "sfw", "standard", "15m", "60s", "right", "7d"];
                    let is_default = same_as_default.contains(&sample) || sample.contains("sdxl_queue");
                    assert!(
                        is_default || find(&changed).unwrap().0 != find(&before).unwrap().0,
                        "{variable} changes nothing"
                    );
                }
            }
        }
    }
}

#[test]
fn a_password_in_an_address_is_not_shown() {
    let (_, origins) = loaded("", &[("OURVIDZ_QUEUE", "redis://u:canary@h/0")]);
    let queue = origins.iter().find(|settled| settled.key == "queue.url").unwrap();
    assert_eq!(queue.value, "redis://u:***@h/0");
}
