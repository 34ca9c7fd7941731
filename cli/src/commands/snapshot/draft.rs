//! A file in the making: under a name of its own beside the one it is to have, and gone unless it is finished.
//!
//! Only a regular file is ever replaced: a rename over a device, a pipe or a link would destroy what is not ours.

use crate::{
    failure::{Failure, Result},
    interrupt::{self, Known},
};
use node::config::random_key;
use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    path::{Path, PathBuf},
};

/// What an interruption is told it by.
const WHAT: &str = "file";

/// A file that is not whole yet.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
    target: PathBuf,
    replace: bool,
}

impl Draft {
    /// Begins a file that is to be called `target`, and gives it opened. Nothing that is there is touched.
    ///
    /// # Errors
    /// If something is there that will not be replaced, or the folder cannot be written.
    pub fn begin(target: &Path, replace: bool) -> Result<(Self, File)> {
        check(target, replace)?;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        // Random: neither another export nor anybody else's file is met, and `create_new` makes sure of it.
        let random: String = random_key()
            .address()
            .to_string()
            .chars()
            .take(12)
            .collect();
        let path = target.with_file_name(format!(".{name}.{random}.new"));
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(|error| Failure::io("cannot write", target, &error))?;
        let unfinished = Some(path.clone());
        interrupt::leaves(
            WHAT,
            Known {
                unfinished,
                ..Known::default()
            },
        );
        let target = target.to_owned();
        let draft = Self {
            path,
            target,
            replace,
        };
        Ok((draft, file))
    }

    /// Gives it its name, now that it is whole.
    ///
    /// # Errors
    /// If something else has come there meanwhile, or it cannot be renamed.
    pub fn finish(self) -> Result {
        check(&self.target, self.replace)?;
        fs::rename(&self.path, &self.target)
            .map_err(|error| Failure::io("cannot name", &self.target, &error))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // After `finish` there is nothing of this name, unless naming failed.
        let _ = fs::remove_file(&self.path);
        interrupt::leaves(WHAT, Known::default());
    }
}

/// Whether a file may be put there: where nothing is, or, if it may be replaced, over a regular file.
fn check(target: &Path, replace: bool) -> Result {
    let shown = target.display();
    // Not `exists`, which follows links and calls one that leads nowhere nothing.
    let kind = match fs::symlink_metadata(target) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::io("cannot look at", target, &error)),
    };
    if !kind.is_file() {
        let what = if kind.is_dir() {
            "a folder"
        } else if kind.is_symlink() {
            "a symbolic link"
        } else {
            "a device, pipe or socket"
        };
        let message = format!("{shown} is {what}, which no file takes the place of");
        return Err(Failure::failed("exists", message).help("name a file of its own"));
    }
    if !replace {
        let message = format!("{shown} is there already");
        return Err(Failure::failed("exists", message).help("choose another name, or --force"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, os::unix::fs::symlink};

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// A device cannot be made without privileges; a socket takes the same way.
    #[test]
    fn what_is_no_regular_file_stays_even_by_force() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("file"), "kept").unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink(at("file"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let before = names(folder.path());
        for name in ["folder", "link", "dangling", "socket"] {
            for replace in [false, true] {
                let failure = Draft::begin(&at(name), replace).unwrap_err();
                assert_eq!(failure.code, "exists", "{name}: {failure}");
            }
        }
        assert_eq!(names(folder.path()), before);
        assert!(at("link").is_symlink() && at("dangling").is_symlink());
    }

    #[test]
    fn a_file_is_replaced_by_force_only_and_by_a_whole_one_only() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("file");
        let bystander = folder.path().join("file.new");
        fs::write(&target, "old").unwrap();
        fs::write(&bystander, "not ours").unwrap();
        assert_eq!(Draft::begin(&target, false).unwrap_err().code, "exists");
        let (draft, mut file) = Draft::begin(&target, true).unwrap();
        file.write_all(b"half").unwrap();
        drop(draft);
        assert_eq!(names(folder.path()), ["file", "file.new"]);
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        let (draft, mut file) = Draft::begin(&target, true).unwrap();
        file.write_all(b"new").unwrap();
        draft.finish().unwrap();
        assert_eq!(names(folder.path()), ["file", "file.new"]);
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(fs::read_to_string(&bystander).unwrap(), "not ours");
    }

    #[test]
    fn what_came_meanwhile_stays_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("file");
        let (draft, _file) = Draft::begin(&target, false).unwrap();
        fs::write(&target, "another's").unwrap();
        assert_eq!(draft.finish().unwrap_err().code, "exists");
        assert_eq!(fs::read_to_string(&target).unwrap(), "another's");
        assert_eq!(names(folder.path()), ["file"]);
    }
}
