//! A file in the making: under a name of its own beside the one it is to have, and gone unless it is finished.
//!
//! Only a regular file is ever replaced: a rename over a device, a pipe or a link would destroy what is not ours.

use crate::{
    failure::{Failure, Result},
    interrupt::{self, Known},
};
use std::{
    fs::{self, File, Permissions},
    io::ErrorKind,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};
use tempfile::{NamedTempFile, PersistError};

/// What an interruption is told it by.
const WHAT: &str = "file";

/// A file that is not whole yet.
#[derive(Debug)]
pub struct Draft {
    file: NamedTempFile,
    target: PathBuf,
    replace: bool,
    _told: Told,
}

/// An interruption removes the file, until this is dropped.
#[derive(Debug)]
struct Told;

impl Drop for Told {
    fn drop(&mut self) {
        interrupt::leaves(WHAT, Known::default());
    }
}

impl Draft {
    /// Begins a file that is to be called `target`. Nothing that is there is touched.
    ///
    /// # Errors
    /// If something is there that will not be replaced, or the folder cannot be written.
    pub fn begin(target: &Path, replace: bool) -> Result<Self> {
        check(target, replace)?;
        let folder = match target.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // As files are that a program makes openly; what the umask forbids stays forbidden.
        let file = tempfile::Builder::new()
            .prefix(".tintype-")
            .suffix(".new")
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(|error| Failure::io("cannot write", target, &error))?;
        let unfinished = Some(file.path().to_owned());
        interrupt::leaves(
            WHAT,
            Known {
                unfinished,
                ..Known::default()
            },
        );
        Ok(Self {
            file,
            target: target.to_owned(),
            replace,
            _told: Told,
        })
    }

    /// Where to write.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Gives it its name, now that it is whole.
    ///
    /// # Errors
    /// If something else has come there meanwhile, or it cannot be renamed.
    pub fn finish(self) -> Result {
        check(&self.target, self.replace)?;
        let named = if self.replace {
            self.file.persist(&self.target)
        } else {
            self.file.persist_noclobber(&self.target)
        };
        let unnamed = |PersistError { error, .. }: PersistError| {
            Failure::io("cannot name", &self.target, &error)
        };
        named.map_err(unnamed)?;
        Ok(())
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
        let mut draft = Draft::begin(&target, true).unwrap();
        draft.file().write_all(b"half").unwrap();
        drop(draft);
        assert_eq!(names(folder.path()), ["file", "file.new"]);
        assert_eq!(fs::read_to_string(&target).unwrap(), "old");
        let mut draft = Draft::begin(&target, true).unwrap();
        draft.file().write_all(b"new").unwrap();
        draft.finish().unwrap();
        assert_eq!(names(folder.path()), ["file", "file.new"]);
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert_eq!(fs::read_to_string(&bystander).unwrap(), "not ours");
    }

    #[test]
    fn what_came_meanwhile_stays_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("file");
        let draft = Draft::begin(&target, false).unwrap();
        fs::write(&target, "another's").unwrap();
        assert_eq!(draft.finish().unwrap_err().code, "exists");
        assert_eq!(fs::read_to_string(&target).unwrap(), "another's");
        assert_eq!(names(folder.path()), ["file"]);
    }
}
