//! Plays the scripts that place and remove challenge files.

use serde_json::json;

use super::{
    super::script::SCRIPTS,
    contract::Challenge,
    machine::{Directory, Machine},
    play::{Played, failed},
};

impl Machine {
    pub(super) async fn put_challenge(&self, wanted: &Challenge) -> Played {
        self.world().check_site(&wanted.site)?;
        let mut marked = false;
        for directory in directories(&wanted.segments) {
            let mark = format!("{directory}/.certlife");
            let exists = {
                let mut world = self.world();
                let site = world.site(&wanted.site).unwrap();
                if site.directories.get(&directory).is_some_and(|found| found.is_link) {
                    return failed("conflict", format!("{directory} is a link; a directory is wanted"));
                }
                site.directories.contains_key(&directory)
            };
            if !exists {
                self.step().await?;
                let mut world = self.world();
                let site = world.site(&wanted.site).unwrap();
                site.directories.insert(directory.clone(), Directory::default());
                site.files.insert(mark.clone(), String::new());
                site.files.insert(format!("{directory}/web.config"), web_config());
            }
            marked = self.world().site(&wanted.site).unwrap().files.contains_key(&mark);
        }
        self.step().await?;
        let mut world = self.world();
        let site = world.site(&wanted.site).unwrap();
        let path = wanted.segments.join("/");
        let extension = wanted.segments.last().unwrap().contains('.');
        let (directory, _) = path.rsplit_once('/').unwrap();
        if !marked && !extension && !site.files.contains_key(&format!("{directory}/web.config")) {
            return failed(
                "conflict",
                format!("IIS does not show files without an extension in {directory}"),
            );
        }
        match site.files.get(&path) {
            Some(found) if *found != wanted.body => {
                failed("conflict", format!("{path} exists with another content"))
            }
            _ => {
                site.files.insert(path, wanted.body.clone());
                Ok(json!({}))
            }
        }
    }

    pub(super) async fn remove_challenge(&self, wanted: &Challenge) -> Played {
        self.world().check_site(&wanted.site)?;
        let directories = directories(&wanted.segments);
        for directory in &directories {
            match self.world().site(&wanted.site).unwrap().directories.get(directory) {
                None => return Ok(json!({})),
                Some(found) if found.is_link => return failed("conflict", format!("{directory} is a link")),
                Some(_) => {}
            }
        }
        self.step().await?;
        let path = wanted.segments.join("/");
        {
            let mut world = self.world();
            let site = world.site(&wanted.site).unwrap();
            if site.files.get(&path) == Some(&wanted.body) {
                site.files.remove(&path);
            }
        }
        for directory in directories.iter().rev() {
            self.step().await?;
            let mut world = self.world();
            let site = world.site(&wanted.site).unwrap();
            let ours = ["web.config", ".certlife"].map(|name| format!("{directory}/{name}"));
            let below = format!("{directory}/");
            let mut all = site.files.keys().chain(site.directories.keys());
            let others = all.any(|path| path.starts_with(&below) && !ours.contains(path));
            if others || !site.files.contains_key(&ours[1]) {
                break;
            }
            site.files.retain(|path, _| !ours.contains(path));
            site.directories.remove(directory);
        }
        Ok(json!({}))
    }
}

/// The directories that a file is in, outermost first.
fn directories(segments: &[String]) -> Vec<String> {
    (1..segments.len()).map(|length| segments[..length].join("/")).collect()
}

/// The text that the script writes.
fn web_config() -> String {
    let script = SCRIPTS.iter().find(|script| script.name == "put-challenge").unwrap().text;
    let (_, rest) = script.split_once("@'\n").unwrap();
    rest.split_once("\n'@").unwrap().0.to_owned()
}
