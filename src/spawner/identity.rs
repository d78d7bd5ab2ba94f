//! Whom a command runs as.

use std::ffi::CString;

use nix::unistd::{Gid, Group, Uid, User, geteuid, getgrouplist};

use crate::os::child::Identity;

/// The identity of a user and a group, by name or number; none: whoever this process is already. Fails with cause and
/// remedy.
pub(super) fn resolve(user: Option<&str>, group: Option<&str>) -> Result<Option<Identity>, String> {
    let Some(name) = user else { return Ok(None) };
    let entry = lookup(User::from_name(name), name, |number| User::from_uid(Uid::from_raw(number)))
        .map_err(|cause| format!("cannot look up user {name}: {cause}"))?;
    let group = group.map(group_id).transpose()?;
    let identity = match (entry, group, name.parse::<u32>()) {
        (Some(entry), group, _) => {
            let group = group.unwrap_or(entry.gid);
            let groups = CString::new(entry.name.as_str())
                .map_err(|error| error.to_string())
                .and_then(|name| getgrouplist(&name, group).map_err(|error| error.to_string()))
                .map_err(|cause| format!("cannot look up the groups of user {name}: {cause}"))?;
            Identity { user: entry.uid, group, groups }
        }
        (None, Some(group), Ok(number)) => Identity { user: Uid::from_raw(number), group, groups: vec![group] },
        (None, None, Ok(number)) => {
            return Err(format!(
                "user {number} has no entry in the user database, so its group is unknown; name a group"
            ));
        }
        (None, _, Err(_)) => return Err(format!("there is no user {name}; create it, or name another")),
    };
    if geteuid().is_root() {
        return Ok(Some(identity));
    }
    if identity.user == geteuid() {
        Ok(None)
    } else {
        Err(format!("only root can run a command as {name}; start vipgate as root"))
    }
}

fn group_id(name: &str) -> Result<Gid, String> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => {
            name.parse().map(Gid::from_raw).map_err(|_| format!("there is no group {name}; create it, or name another"))
        }
        Err(error) => Err(format!("cannot look up group {name}: {error}")),
    }
}

/// The entry of a name, or else of the number that the name is.
fn lookup(
    by_name: nix::Result<Option<User>>,
    name: &str,
    by_number: impl FnOnce(u32) -> nix::Result<Option<User>>,
) -> nix::Result<Option<User>> {
    match (by_name?, name.parse()) {
        (Some(entry), _) => Ok(Some(entry)),
        (None, Ok(number)) => by_number(number),
        (None, Err(_)) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_users_and_groups_are_named() {
        assert_eq!(resolve(None, None), Ok(None));
        assert!(resolve(Some("no-such-user"), None).unwrap_err().contains("no user no-such-user"));
        assert!(resolve(Some("root"), Some("no-such-group")).unwrap_err().contains("no group no-such-group"));
        assert!(resolve(Some("4000000001"), None).unwrap_err().contains("name a group"));
    }

    #[test]
    fn a_number_is_an_id() {
        if !geteuid().is_root() {
            return;
        }
        let root = resolve(Some("root"), None).unwrap().unwrap();
        assert_eq!(resolve(Some("0"), Some("0")).unwrap().unwrap(), root);
        let unknown = resolve(Some("4000000001"), Some("4000000002")).unwrap().unwrap();
        assert_eq!((unknown.user.as_raw(), unknown.group.as_raw()), (4_000_000_001, 4_000_000_002));
        assert_eq!(unknown.groups, [Gid::from_raw(4_000_000_002)]);
    }
}
