//! Whether somebody else than root could change what a path leads to (keepalived's `enable_script_security`): every
//! directory on the way and the file itself, symbolic links followed one by one.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use nix::unistd::{Gid, Group, Uid, User};

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;
/// As many as the kernel follows.
const MAX_LINKS: usize = 40;

/// What somebody else could change, and who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) why: String,
}

/// Follows the absolute `path` from `/` on. In a sticky directory (such as /tmp) everybody may create, but nobody may
/// replace what is root's; what lies in it is checked all the same.
pub(super) fn check(path: &Path) -> Result<(), Found> {
    let mut here = PathBuf::from("/");
    judge(&here, &metadata(&here)?)?;
    let mut ahead: Vec<OsString> = steps(path);
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        if step == ".." {
            here.pop();
            continue;
        }
        let next = here.join(&step);
        let found = metadata(&next)?;
        judge(&next, &found)?;
        if !found.is_symlink() {
            here = next;
            continue;
        }
        links += 1;
        let target = fs::read_link(&next)
            .ok()
            .filter(|_| links <= MAX_LINKS)
            .ok_or_else(|| Found { path: next.clone(), why: "is a symbolic link that cannot be followed".into() })?;
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        ahead.extend(steps(&target));
    }
    Ok(())
}

/// The steps of a path, the last one first.
fn steps(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .filter(|step| matches!(step, Component::Normal(_) | Component::ParentDir))
        .map(|step| step.as_os_str().to_owned())
        .collect()
}

fn metadata(path: &Path) -> Result<Metadata, Found> {
    path.symlink_metadata()
        .map_err(|error| Found { path: path.to_owned(), why: format!("cannot be checked ({error})") })
}

fn judge(path: &Path, found: &Metadata) -> Result<(), Found> {
    match culprit(found.uid(), found.gid(), found.mode(), found.is_symlink(), found.is_dir()) {
        None => Ok(()),
        Some(why) => Err(Found { path: path.to_owned(), why: why.describe() }),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Culprit {
    Owner(u32),
    Group(u32),
    Everybody,
}

fn culprit(owner: u32, group: u32, mode: u32, is_link: bool, is_directory: bool) -> Option<Culprit> {
    if owner != 0 {
        return Some(Culprit::Owner(owner));
    }
    // A link's own mode means nothing.
    let only_root_replaces = is_link || is_directory && mode & STICKY != 0;
    if only_root_replaces {
        None
    } else if mode & OTHERS_WRITE != 0 {
        Some(Culprit::Everybody)
    } else if mode & GROUP_WRITES != 0 && group != 0 {
        Some(Culprit::Group(group))
    } else {
        None
    }
}

impl Culprit {
    fn describe(&self) -> String {
        match self {
            Self::Owner(id) => {
                let name = User::from_uid(Uid::from_raw(*id)).ok().flatten().map(|user| user.name);
                format!("belongs to {} (uid {id}), not to root", name.as_deref().unwrap_or("an unknown user"))
            }
            Self::Group(id) => {
                let name = Group::from_gid(Gid::from_raw(*id)).ok().flatten().map(|group| group.name);
                format!("can be written by group {} (gid {id})", name.as_deref().unwrap_or("without a name"))
            }
            Self::Everybody => "can be written by everybody".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_root_may_write() {
        let (file, directory) = (false, true);
        for (owner, group, mode, kind, expected) in [
            (0, 0, 0o755, file, None),
            (0, 0, 0o775, file, None),
            (0, 50, 0o755, file, None),
            (0, 50, 0o775, file, Some(Culprit::Group(50))),
            (0, 0, 0o757, file, Some(Culprit::Everybody)),
            (0, 0, 0o1777, file, Some(Culprit::Everybody)),
            (0, 0, 0o777, directory, Some(Culprit::Everybody)),
            (0, 0, 0o1777, directory, None),
            (7, 0, 0o700, directory, Some(Culprit::Owner(7))),
        ] {
            assert_eq!(culprit(owner, group, mode, false, kind), expected, "{owner} {group} {mode:o}");
        }
        assert_eq!(culprit(0, 0, 0o777, true, false), None);
        assert_eq!(culprit(9, 0, 0o777, true, false), Some(Culprit::Owner(9)));
    }

    #[test]
    fn steps_come_last_first() {
        let steps: Vec<_> = steps(Path::new("/a/./b/../c")).into_iter().rev().collect();
        assert_eq!(steps, ["a", "b", "..", "c"]);
    }

    #[test]
    fn what_the_system_brings_is_safe() {
        assert_eq!(check(&fs::canonicalize("/bin/sh").unwrap()), Ok(()));
        assert_eq!(check(Path::new("/bin/sh")), Ok(()));
    }
}
