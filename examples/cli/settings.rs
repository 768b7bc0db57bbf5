//! A provider's settings: the table as it stands in the file, made into what the library takes.
//!
//! Here secrets are read: a string, `{ file = "tsig.key" }` or `{ env = "TSIG_KEY" }`. The library gets the value
//! and reads neither files nor the environment. Relative paths start at the file's own directory.

use std::{env, fs, path::Path};

use certlife::Secret;
use serde_json::{Value, json};
use toml::Value as Toml;

use crate::config::{ConfigError, Section};

/// Settings that are paths, by role.
const PATHS: [(&str, &str); 3] = [("store", "path"), ("target", "directory"), ("target", "web_root")];
/// Settings that are PEM text, which is rather named by its file.
const PEM: [&str; 2] = ["roots", "chain"];
/// The setting that holds how to connect. What belongs there may stand beside the other settings.
const CONNECTION: &str = "http";

/// Makes a provider's settings from what is left of its table.
///
/// `schema` is that of the settings; keys that it does not know are refused with the one that may have been meant.
pub(crate) fn resolve(section: &Section, schema: &Value) -> Result<Value, ConfigError> {
    let role = section.place.split('.').next().unwrap_or_default();
    let known = properties(schema, schema);
    let connection = known.iter().find(|(name, _)| *name == CONNECTION);
    let connection = connection.map(|(_, part)| properties(schema, part)).unwrap_or_default();
    let mut settings = serde_json::Map::new();
    for (key, value) in &section.table {
        let mut value = plain(section, key, value)?;
        if PATHS.contains(&(role, key.as_str()))
            && let Value::String(path) = &value
        {
            let path = std::path::absolute(section.directory().join(path))
                .map_err(|error| section.wrong(key, format!("{path:?}: {error}")))?;
            value = Value::String(path.to_string_lossy().into_owned());
        }
        if known.iter().any(|(name, _)| name == key) {
            settings.insert(key.clone(), value);
        } else if connection.iter().any(|(name, _)| name == key) {
            let within = settings.entry(CONNECTION).or_insert_with(|| json!({}));
            if let Some(within) = within.as_object_mut() {
                within.insert(key.clone(), value);
            }
        } else {
            let names: Vec<&str> = known.iter().chain(&connection).map(|(name, _)| *name).collect();
            return Err(section.unknown(key, &names));
        }
    }
    Ok(Value::Object(settings))
}

/// The properties of a part of a schema, with a reference to another part followed.
fn properties<'a>(schema: &'a Value, part: &'a Value) -> Vec<(&'a str, &'a Value)> {
    let reference = part.get("$ref").and_then(Value::as_str);
    let part = reference.and_then(|path| schema.pointer(path.trim_start_matches('#'))).unwrap_or(part);
    let properties = part.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().map(|(name, part)| (name.as_str(), part)).collect()
}

/// A value of the file as JSON, with `{ file = … }` and `{ env = … }` replaced by what they name.
fn plain(section: &Section, key: &str, value: &Toml) -> Result<Value, ConfigError> {
    Ok(match value {
        Toml::Table(table) => match elsewhere(section, key, table)? {
            Some(text) => Value::String(text),
            None => {
                let fields = table.iter().map(|(name, value)| {
                    let value = plain(section, &format!("{key}.{name}"), value)?;
                    Ok((name.clone(), value))
                });
                Value::Object(fields.collect::<Result<_, ConfigError>>()?)
            }
        },
        Toml::Array(items) => {
            Value::Array(items.iter().map(|item| plain(section, key, item)).collect::<Result<_, _>>()?)
        }
        Toml::String(text) if is_pem_file(key, text) => Value::String(read(section, key, Path::new(text))?),
        Toml::String(text) => Value::String(text.clone()),
        Toml::Integer(number) => json!(number),
        Toml::Float(number) => json!(number),
        Toml::Boolean(flag) => json!(flag),
        Toml::Datetime(moment) => Value::String(moment.to_string()),
    })
}

fn is_pem_file(key: &str, text: &str) -> bool {
    PEM.contains(&key.rsplit('.').next().unwrap_or(key)) && !text.contains("-----BEGIN")
}

/// What a table `{ file = … }` or `{ env = … }` names; none if it is another table.
fn elsewhere(section: &Section, key: &str, table: &toml::Table) -> Result<Option<String>, ConfigError> {
    let mut entries = table.iter();
    match (entries.next(), entries.next()) {
        (Some((from, Toml::String(path))), None) if from == "file" => {
            let text = read(section, key, Path::new(path))?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        (Some((from, Toml::String(name))), None) if from == "env" => {
            #[expect(
                clippy::disallowed_methods,
                reason = "a program reads its environment; the library does not"
            )]
            let value = env::var(name);
            value
                .map(Some)
                .map_err(|error| section.wrong(key, format!("the environment variable {name}: {error}")))
        }
        _ => Ok(None),
    }
}

/// Takes a secret out of a table: as `key`, in each of its three forms, or the file that `file_key` names.
pub(crate) fn secret(
    section: &mut Section,
    key: &'static str,
    file_key: &'static str,
) -> Result<Option<Secret>, ConfigError> {
    let stated: Option<Toml> = section.take(key)?;
    let file: Option<String> = section.take(file_key)?;
    let text = match (stated, file) {
        (None, None) => return Ok(None),
        (None, Some(path)) => {
            let text = read(section, file_key, Path::new(&path))?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        (Some(Toml::String(text)), None) => text,
        (Some(Toml::Table(table)), None) => elsewhere(section, key, &table)?
            .ok_or_else(|| section.wrong(key, "write a text, { file = \"…\" } or { env = \"…\" }"))?,
        (Some(_), None) => {
            return Err(section.wrong(key, "write a text, { file = \"…\" } or { env = \"…\" }"));
        }
        (Some(_), Some(_)) => return Err(section.about(format!("say either {key} or {file_key}"))),
    };
    if text.is_empty() {
        return Err(section.about(format!("the {key} is empty")));
    }
    Ok(Some(Secret::new(text)))
}

/// Reads a file that the configuration names.
pub(crate) fn read(section: &Section, key: &str, path: &Path) -> Result<String, ConfigError> {
    let path = section.directory().join(path);
    fs::read_to_string(&path).map_err(|error| section.wrong(key, format!("{}: {error}", path.display())))
}
