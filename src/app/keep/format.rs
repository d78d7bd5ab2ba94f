//! The file of what was learnt: a line that says what follows and proves it whole, then JSON.

use std::net::{IpAddr, SocketAddr};

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::control::operate::{PortChange, ServerState};
use crate::stats::LastCheckSnapshot;

/// What the first line begins with. Another number is another format.
const HEAD: &str = "vipgate-state 1 ";
/// The longest file, in bytes: more is neither written nor read.
pub(super) const LONGEST: u64 = 64 << 20;

/// What was learnt.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Learnt {
    /// When, in milliseconds since 1970.
    pub(super) saved: u64,
    pub(super) pools: Vec<Pool>,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pool {
    pub(super) name: String,
    /// Those of which there is something to say.
    #[serde(default)]
    pub(super) servers: Vec<Server>,
    /// The entries of its stick table, the least recently used first.
    #[serde(default)]
    pub(super) entries: Vec<Entry>,
}

/// What an operator set and the configuration does not say, what its checks found, and what its clients' tickets told.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<ServerState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) weight: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<Place>,
    /// Most connections, 0 for any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) limit: Option<u32>,
    /// What the configuration said when that was set; what it says otherwise by now holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) configured: Option<Configured>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) health: Option<Health>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) agent: Option<Agent>,
    /// The names of its TLS ticket keys, in hexadecimal, the newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) key_names: Vec<String>,
}

/// Where a server was moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Place {
    pub(super) address: IpAddr,
    /// None: as configured.
    #[serde(default)]
    pub(super) port: Option<PortChange>,
}

/// What an operator can change, as the configuration has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Configured {
    pub(super) disabled: bool,
    pub(super) weight: u16,
    pub(super) place: Place,
    #[serde(default)]
    pub(super) limit: Option<u32>,
}

/// What the checks of a server found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Health {
    pub(super) target: SocketAddr,
    /// The rise/fall counter, and whether that is up.
    pub(super) counter: u32,
    pub(super) up: bool,
    #[serde(default)]
    pub(super) stopping: bool,
    pub(super) last: LastCheckSnapshot,
    pub(super) reason: String,
    /// Since how many milliseconds it was up or down.
    pub(super) lasts: u64,
}

/// What the agent of a server said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Agent {
    pub(super) target: SocketAddr,
    /// That the server is down.
    #[serde(default)]
    pub(super) down: bool,
    /// Whose word these are: the server's state, its weight, and its limit of connections.
    #[serde(default)]
    pub(super) ordered: Ordered,
    pub(super) last: LastCheckSnapshot,
    pub(super) reason: String,
    /// Since how many milliseconds the server was up or down.
    pub(super) lasts: u64,
}

/// Of what an operator can set too, what the agent did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ordered {
    pub(super) state: bool,
    pub(super) weight: bool,
    pub(super) limit: bool,
}

/// A client as its table shows it, its server, and in milliseconds what was left of the entry's life; none: it does not expire, or was in use.
pub(super) type Entry = (String, String, Option<u64>);

/// Why a file is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("it is longer than {} MiB", LONGEST >> 20)]
    TooLong,
    #[error("it is not of this version's format")]
    Foreign,
    #[error("its checksum is wrong: it was cut off or changed")]
    Damaged,
    #[error("it cannot be understood: {0}")]
    Garbled(String),
}

/// The whole file.
pub(super) fn write(learnt: &Learnt) -> Result<Vec<u8>, serde_json::Error> {
    let body = serde_json::to_vec(learnt)?;
    let mut file = format!("{HEAD}{}\n", checksum(&body)).into_bytes();
    file.extend_from_slice(&body);
    file.push(b'\n');
    Ok(file)
}

/// What a file says.
pub(super) fn read(file: &[u8]) -> Result<Learnt, Damage> {
    if file.len() as u64 > LONGEST {
        return Err(Damage::TooLong);
    }
    let rest = file.strip_prefix(HEAD.as_bytes()).ok_or(Damage::Foreign)?;
    let end = rest.iter().position(|byte| *byte == b'\n').ok_or(Damage::Damaged)?;
    let (told, body) = rest.split_at(end);
    let body = body.strip_prefix(b"\n").and_then(|body| body.strip_suffix(b"\n")).ok_or(Damage::Damaged)?;
    if told != checksum(body).as_bytes() {
        return Err(Damage::Damaged);
    }
    serde_json::from_slice(body).map_err(|error| Damage::Garbled(error.to_string()))
}

fn checksum(body: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::CheckResult;

    fn learnt() -> Learnt {
        let entries =
            vec![("192.0.2.9".to_owned(), "s1".to_owned(), Some(1_200)), ("::".to_owned(), "s2".to_owned(), None)];
        let last = LastCheckSnapshot {
            result: CheckResult::L4Connection,
            code: None,
            detail: "Connection refused".to_owned(),
            duration_seconds: 0.25,
            ago_seconds: 1.5,
        };
        let target = ([192, 0, 2, 1], 80).into();
        let reason = "refused".to_owned();
        let ordered = Ordered { state: true, ..Ordered::default() };
        let agent = Agent { target, down: true, ordered, last: last.clone(), reason: reason.clone(), lasts: 9 };
        let (up, stopping) = (false, false);
        let health = Some(Health { target, counter: 0, up, stopping, last, reason, lasts: 9 });
        let place = Place { address: [192, 0, 2, 1].into(), port: Some(PortChange::Offset(-4)) };
        let server = Server {
            name: "s1".to_owned(),
            state: Some(ServerState::Drain),
            weight: Some(5),
            place: Some(place),
            limit: Some(0),
            configured: Some(Configured {
                disabled: false,
                weight: 7,
                place: Place { port: None, ..place },
                limit: None,
            }),
            health,
            agent: Some(agent),
            key_names: vec!["00ff".to_owned()],
        };
        let pool = Pool { name: "files".to_owned(), servers: vec![server], entries };
        Learnt { saved: 1_795_288_417_284, pools: vec![pool] }
    }

    #[test]
    fn what_is_written_is_read() {
        let file = write(&learnt()).unwrap();
        assert_eq!(read(&file), Ok(learnt()));
        assert_eq!(read(&write(&Learnt::default()).unwrap()), Ok(Learnt::default()));
    }

    #[test]
    fn every_damage_is_found() {
        let file = write(&learnt()).unwrap();
        for length in 0..file.len() {
            assert!(read(&file[..length]).is_err(), "cut off at {length}");
        }
        for position in 0..file.len() {
            let mut changed = file.clone();
            changed[position] ^= 1;
            assert!(read(&changed).is_err(), "changed at {position}");
        }
        assert_eq!(read(b"vipgate-state 2 00\n{}\n"), Err(Damage::Foreign));
        assert_eq!(read(b""), Err(Damage::Foreign));
        let body = b"{\"saved\":1,\"pools\":[],\"more\":1}";
        let garbled = [HEAD.as_bytes(), checksum(body).as_bytes(), b"\n", body, b"\n"].concat();
        assert!(matches!(read(&garbled), Err(Damage::Garbled(_))));
    }
}
