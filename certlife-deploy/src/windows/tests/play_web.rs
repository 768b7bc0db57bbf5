//! Plays the scripts that place and remove challenge files, line by line as in `play`.

use serde_json::json;

use super::{
    super::script::SCRIPTS,
    console::{Console, Played, failed},
    contract::Challenge,
    machine::{Directory, Site},
};

impl Console {
    pub(super) async fn put_challenge(&self, wanted: &Challenge) -> Played {
        self.world(|world| world.check_site(&wanted.site))?;
        let site = wanted.site.as_str();
        let mut marked = false;
        for directory in directories(&wanted.segments) {
            if !self.site(site, |site| site.is_real_directory(&directory))? {
                let made = made_for(&directory);
                self.remove_own_directory(site, &made).await?;
                self.step().await;
                self.site(site, |site| site.directories.insert(made.clone(), Directory::default()));
                for (name, content) in [(".certlife", String::new()), ("web.config.new", web_config())] {
                    self.step().await;
                    self.site(site, |site| site.files.insert(format!("{made}/{name}"), content));
                }
                self.step().await;
                self.site(site, |site| {
                    site.rename(&format!("{made}/web.config.new"), &format!("{made}/web.config"));
                });
                self.step().await;
                self.site(site, |site| site.rename(&made, &directory));
            }
            marked = self.site(site, |site| site.files.contains_key(&format!("{directory}/.certlife")));
        }
        let path = wanted.segments.join("/");
        let extension = wanted.segments.last().unwrap().contains('.');
        let (directory, _) = path.rsplit_once('/').unwrap();
        let shown = self.site(site, |site| site.files.contains_key(&format!("{directory}/web.config")));
        if !marked && !extension && !shown {
            return failed(
                "conflict",
                format!("IIS does not show files without an extension in {directory}"),
            );
        }
        match self.site(site, |site| site.files.get(&path).cloned()) {
            Some(found) if found == wanted.body => return Ok(json!({})),
            Some(_) => return failed("conflict", format!("{path} exists with another content")),
            None if self.site(site, |site| site.directories.contains_key(&path)) => {
                return failed("conflict", format!("{path} is a directory"));
            }
            None => {}
        }
        let new = format!("{directory}/.certlife-new");
        self.step().await;
        self.site(site, |site| site.files.insert(new.clone(), wanted.body.clone()));
        self.step().await;
        self.site(site, |site| site.rename(&new, &path));
        Ok(json!({}))
    }

    pub(super) async fn remove_challenge(&self, wanted: &Challenge) -> Played {
        self.world(|world| world.check_site(&wanted.site))?;
        let site = wanted.site.as_str();
        let directories = directories(&wanted.segments);
        let mut existing = 0;
        while existing < directories.len()
            && self.site(site, |site| site.is_real_directory(&directories[existing]))?
        {
            existing += 1;
        }
        if existing == directories.len() {
            let path = wanted.segments.join("/");
            if self.site(site, |site| site.files.get(&path) == Some(&wanted.body)) {
                self.step().await;
                self.site(site, |site| site.files.remove(&path));
            }
            self.delete(site, &format!("{}/.certlife-new", directories[existing - 1])).await;
        }
        for (at, directory) in directories.iter().enumerate().take(existing + 1).rev() {
            let made = made_for(directory);
            self.remove_own_directory(site, &made).await?;
            if at == existing {
                continue;
            }
            let ours = [".certlife", ".certlife-made", ".certlife-new", "web.config"];
            let (marked, entries) = self.site(site, |site| {
                (site.files.contains_key(&format!("{directory}/.certlife")), site.entries(directory))
            });
            if !marked || entries.iter().any(|name| !ours.contains(&name.as_str())) {
                break;
            }
            self.step().await;
            self.site(site, |site| site.rename(directory, &made));
            self.remove_own_directory(site, &made).await?;
        }
        Ok(json!({}))
    }

    /// Removes a directory that is about to get its name, or has just lost it, and first the one of that kind in it.
    async fn remove_own_directory(&self, site: &str, path: &str) -> Played<()> {
        let mut nested = Vec::new();
        let mut next = path.to_owned();
        while self.site(site, |site| site.is_real_directory(&next))? {
            nested.push(next.clone());
            next.push_str("/.certlife-made");
        }
        for directory in nested.iter().rev() {
            for name in [".certlife-new", "web.config.new", "web.config", ".certlife"] {
                self.delete(site, &format!("{directory}/{name}")).await;
            }
            if !self.site(site, |site| site.entries(directory)).is_empty() {
                return failed("failed", "The directory is not empty.");
            }
            self.step().await;
            self.site(site, |site| site.directories.remove(directory));
        }
        Ok(())
    }

    /// Deletes a file, if it is there.
    async fn delete(&self, site: &str, path: &str) {
        if self.site(site, |site| site.files.contains_key(path)) {
            self.step().await;
            self.site(site, |site| site.files.remove(path));
        }
    }

    fn site<T>(&self, name: &str, use_it: impl FnOnce(&mut Site) -> T) -> T {
        self.world(|world| use_it(world.site(name).unwrap()))
    }
}

impl Site {
    fn is_real_directory(&self, path: &str) -> Played<bool> {
        match self.directories.get(path) {
            Some(found) if found.is_link => {
                failed("conflict", format!("{path} is a link; a directory is wanted"))
            }
            None if self.files.contains_key(path) => failed("conflict", format!("{path} is not a directory")),
            found => Ok(found.is_some()),
        }
    }

    /// The names in a directory.
    fn entries(&self, directory: &str) -> Vec<String> {
        let paths = self.files.keys().chain(self.directories.keys());
        let names = paths.filter_map(|path| path.strip_prefix(directory)?.strip_prefix('/'));
        names.filter(|name| !name.contains('/')).map(str::to_owned).collect()
    }

    /// Gives a file, or a directory with all that is in it, another name.
    fn rename(&mut self, from: &str, to: &str) {
        let renamed = |path: String| match path.strip_prefix(from) {
            Some(rest) if rest.is_empty() || rest.starts_with('/') => format!("{to}{rest}"),
            _ => path,
        };
        self.files = std::mem::take(&mut self.files).into_iter().map(|(at, it)| (renamed(at), it)).collect();
        let directories = std::mem::take(&mut self.directories).into_iter();
        self.directories = directories.map(|(at, it)| (renamed(at), it)).collect();
    }
}

/// The directories that a file is in, outermost first.
fn directories(segments: &[String]) -> Vec<String> {
    (1..segments.len()).map(|length| segments[..length].join("/")).collect()
}

/// What a directory is called before it has its name.
fn made_for(directory: &str) -> String {
    let parent = directory.rfind('/').map_or("", |slash| &directory[..=slash]);
    format!("{parent}.certlife-made")
}

/// The text that the script writes.
fn web_config() -> String {
    let script = SCRIPTS.iter().find(|script| script.name == "put-challenge").unwrap().text;
    let (_, rest) = script.split_once("@'\n").unwrap();
    rest.split_once("\n'@").unwrap().0.to_owned()
}
