//! Rules of the routing policy in the kernel: set, removed, found again. Ours carry our number (FRA_PROTOCOL).

use std::net::IpAddr;

use futures_util::StreamExt;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, IpVersion};

use super::interfaces::OUR_PROTOCOL;
use super::kernel::Refused;
use super::netlink::{refused, serialize};
use crate::model::{Prefix, Rule};

/// Sets a rule. `EEXIST`: the very same is there already and ours.
pub(super) async fn set(handle: &Handle, rule: &Rule) -> Result<(), Refused> {
    // The kernel itself takes a rule without a priority again and again, at one priority after the other.
    if ours(handle).await.map_err(refused)?.iter().any(|found| is(found, rule)) {
        return Err(Refused(libc::EEXIST));
    }
    let mut request = handle.rule().add();
    *request.message_mut() = message(rule);
    request.execute().await.map_err(refused)
}

/// Removes a rule of ours. One that is not there, or is somebody else's, is as good as removed.
pub(super) async fn remove(handle: &Handle, rule: &Rule) -> Result<(), Refused> {
    remove_message(handle, message(rule)).await
}

/// Every rule of ours, as the kernel tells it: what this run set, or what an earlier one left behind.
pub(super) async fn ours(handle: &Handle) -> Result<Vec<RuleMessage>, rtnetlink::Error> {
    let mut found = Vec::new();
    for version in [IpVersion::V4, IpVersion::V6] {
        let mut rules = std::pin::pin!(handle.rule().get(version).execute());
        while let Some(rule) = rules.next().await {
            found.extend(Some(rule?).filter(is_ours));
        }
    }
    Ok(found)
}

/// Removes a rule as the kernel told it. One that is gone meanwhile is as good as removed.
pub(super) async fn remove_message(handle: &Handle, message: RuleMessage) -> Result<(), Refused> {
    match handle.rule().del(message).execute().await.map_err(refused) {
        Err(Refused(libc::ENOENT)) => Ok(()),
        result => result,
    }
}

/// Whether this program set it.
pub(super) fn is_ours(message: &RuleMessage) -> bool {
    message.attributes.contains(&RuleAttribute::Protocol(RouteProtocol::Other(OUR_PROTOCOL)))
}

/// Whether the kernel means this rule.
pub(super) fn is(found: &RuleMessage, rule: &Rule) -> bool {
    let wanted = message(rule);
    let selects = |attribute: &&RuleAttribute| {
        use RuleAttribute::{Destination, FwMark, Iifname, Oifname, Source};
        matches!(attribute, Destination(_) | Source(_) | Iifname(_) | Oifname(_) | FwMark(_))
    };
    let all_in = |left: &RuleMessage, right: &RuleMessage| {
        left.attributes.iter().filter(selects).all(|attribute| right.attributes.contains(attribute))
    };
    let priority = rule.priority.map(RuleAttribute::Priority);
    found.header.family == wanted.header.family
        && (found.header.src_len, found.header.dst_len) == (wanted.header.src_len, wanted.header.dst_len)
        && table(found) == rule.table
        && mask(found) == mask(&wanted)
        && priority.is_none_or(|priority| found.attributes.contains(&priority))
        && all_in(found, &wanted)
        && all_in(&wanted, found)
}

/// The kernel tells of a mask wherever there is a mark.
fn mask(message: &RuleMessage) -> u32 {
    let mask = message.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::FwMask(mask) => Some(*mask),
        _ => None,
    });
    mask.unwrap_or(u32::MAX)
}

fn table(message: &RuleMessage) -> u32 {
    let long = message.attributes.iter().find_map(|attribute| match attribute {
        RuleAttribute::Table(table) => Some(*table),
        _ => None,
    });
    long.unwrap_or(u32::from(message.header.table))
}

/// A request to remove the rule, ready to be sent to the kernel.
pub(super) fn removal(rule: &Rule) -> Vec<u8> {
    serialize(RouteNetlinkMessage::DelRule(message(rule)))
}

/// The rule as it is to be; the same message removes it, and none but ours. Without an address it is about IPv4, as with
/// ip-rule(8).
fn message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    message.header.family = match rule.from.or(rule.to).map(|prefix| prefix.address) {
        Some(IpAddr::V6(_)) => AddressFamily::Inet6,
        Some(IpAddr::V4(_)) | None => AddressFamily::Inet,
    };
    message.header.action = RuleAction::ToTable;
    match u8::try_from(rule.table) {
        Ok(table) => message.header.table = table,
        Err(_) => message.attributes.push(RuleAttribute::Table(rule.table)),
    }
    let narrows = |prefix: &Prefix| prefix.length > 0;
    if let Some(from) = rule.from.filter(narrows) {
        message.header.src_len = from.length;
        message.attributes.push(RuleAttribute::Source(from.address));
    }
    if let Some(to) = rule.to.filter(narrows) {
        message.header.dst_len = to.length;
        message.attributes.push(RuleAttribute::Destination(to.address));
    }
    message.attributes.extend(rule.priority.map(RuleAttribute::Priority));
    message.attributes.extend(rule.incoming.iter().map(|name| RuleAttribute::Iifname(name.to_string())));
    message.attributes.extend(rule.outgoing.iter().map(|name| RuleAttribute::Oifname(name.to_string())));
    message.attributes.extend(rule.mark.map(RuleAttribute::FwMark));
    message.attributes.extend(rule.mark_mask.filter(|_| rule.mark.is_some()).map(RuleAttribute::FwMask));
    message.attributes.push(RuleAttribute::Protocol(RouteProtocol::Other(OUR_PROTOCOL)));
    message
}
