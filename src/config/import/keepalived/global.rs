//! `global_defs`.

use std::time::Duration;

use super::Translator;
use super::grammar::Node;
use crate::config::raw::{self, Located, Maybe};

/// What `global_defs` says for all instances.
#[derive(Debug, Default)]
pub(super) struct Globals {
    /// `vrrp_version`.
    pub(super) version: Maybe<u64>,
    /// `vrrp_garp_*`.
    pub(super) garp: Garp,
}

/// Announcement settings, global or of one instance.
#[derive(Debug, Clone, Default)]
pub(super) struct Garp {
    pub(super) master_delay: Maybe<Duration>,
    pub(super) master_repeat: Maybe<u64>,
    pub(super) master_refresh: Maybe<Duration>,
    pub(super) master_refresh_repeat: Maybe<u64>,
    pub(super) lower_prio_repeat: Maybe<u64>,
}

impl Garp {
    /// As the raw table; none when nothing was said.
    pub(super) fn announce(&self) -> Option<raw::Announce> {
        let places = [
            self.master_delay.map(|value| value.at),
            self.master_repeat.map(|value| value.at),
            self.master_refresh.map(|value| value.at),
            self.master_refresh_repeat.map(|value| value.at),
            self.lower_prio_repeat.map(|value| value.at),
        ];
        Some(raw::Announce {
            at: places.into_iter().flatten().next()?,
            count: self.master_repeat,
            repeat_after: self.master_delay,
            repeat_count: self.master_repeat,
            refresh: self.master_refresh.filter(|refresh| !refresh.value.is_zero()),
            refresh_count: self.master_refresh_repeat,
            // keepalived: what follows a lower-priority advertisement is as many as on becoming master.
            lower_priority_count: self.lower_prio_repeat.or(self.master_repeat),
            ask: Vec::new(),
        })
    }
}

impl Translator<'_> {
    pub(super) fn global_defs(&mut self, node: &Node, globals: &mut Globals, config: &mut raw::Config) {
        for child in node.children() {
            let Some(keyword) = self.look_up("global_defs", child) else { continue };
            match keyword {
                "router_id" => {
                    if let Some(word) = self.argument(child) {
                        let name = Located::new(word.text.clone(), word.at);
                        config.global.get_or_insert_with(|| raw::Global::empty(child.at())).node = Some(name);
                    }
                }
                "vrrp_version" => globals.version = self.number(child, 2..=3, "version 2 is used"),
                "vrrp_mcast_group4" => self.standard_group(child, "224.0.0.18"),
                "vrrp_mcast_group6" => self.standard_group(child, "ff02::12"),
                "vrrp_min_garp" => {
                    if self.switch(child) {
                        let at = child.at();
                        globals.garp.master_repeat = Some(Located::new(1, at));
                        globals.garp.master_delay = Some(Located::new(Duration::ZERO, at));
                    }
                }
                keyword => self.garp(keyword.strip_prefix("vrrp_").unwrap_or(keyword), child, &mut globals.garp),
            }
        }
    }

    /// `garp_*` of an instance, `vrrp_garp_*` of `global_defs`.
    pub(super) fn garp(&mut self, keyword: &str, node: &Node, garp: &mut Garp) {
        const DEFAULT: &str = "the default is used";
        match keyword {
            "garp_master_delay" => {
                garp.master_delay = self.number(node, 0..=86_400, DEFAULT).map(|n| n.map(Duration::from_secs));
            }
            "garp_master_repeat" => garp.master_repeat = self.number(node, 1..=1000, DEFAULT),
            "garp_master_refresh" => {
                garp.master_refresh = self.number(node, 0..=86_400, DEFAULT).map(|n| n.map(Duration::from_secs));
            }
            "garp_master_refresh_repeat" => garp.master_refresh_repeat = self.number(node, 1..=1000, DEFAULT),
            "garp_lower_prio_repeat" => garp.lower_prio_repeat = self.number(node, 0..=1000, DEFAULT),
            _ => {}
        }
    }

    fn standard_group(&mut self, node: &Node, standard: &str) {
        if let Some(word) = self.argument(node).filter(|word| word.text != standard) {
            self.findings.error(
                word.at,
                format!("only {standard} is spoken: a node that hears another group would be a second master"),
            );
        }
    }
}
