//! `/metrics`: Prometheus' text format 0.0.4. Base units, one HELP and TYPE a family, no client's address anywhere.

use super::late::LateWakesSnapshot;
use super::notify::NotifySnapshot;
use super::registry::Health;
use super::router::Role;
use super::snapshot::{RouterSnapshot, ServerSnapshot, ServiceSnapshot, Snapshot};
use super::verdict::Verdict;

/// The media type of [`render`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The snapshot as metrics.
#[must_use]
pub fn render(snapshot: &Snapshot) -> String {
    let mut out = Exposition(String::new());
    process(snapshot, &mut out);
    routers(&snapshot.routers, &mut out);
    services(&snapshot.services, &mut out);
    servers(snapshot, &mut out);
    notify(&snapshot.notify, &mut out);
    out.0
}

fn process(snapshot: &Snapshot, out: &mut Exposition) {
    if let Some(version) = &snapshot.version {
        out.family("vipgate_build_info", Kind::Gauge, "The program, always 1.");
        out.sample("vipgate_build_info", &[("version", version)], 1);
    }
    out.family("vipgate_verdict", Kind::Gauge, "How the node is: 1 for the verdict that holds, 0 for the others.");
    for verdict in [Verdict::Ok, Verdict::Degraded, Verdict::Down] {
        out.sample("vipgate_verdict", &[("verdict", verdict.label())], u8::from(snapshot.verdict == verdict));
    }
    let process = &snapshot.process;
    out.single("vipgate_uptime_seconds", Kind::Gauge, "Time since the process started.", snapshot.uptime_seconds);
    out.single("vipgate_workers", Kind::Gauge, "Data-plane threads.", process.workers);
    out.single("vipgate_resident_memory_bytes", Kind::Gauge, "Resident memory.", process.resident_bytes);
    out.single("vipgate_open_fds", Kind::Gauge, "File descriptors open.", process.open_descriptors);
    out.single("vipgate_max_fds", Kind::Gauge, "File descriptors the process may open.", process.descriptor_limit);
    out.single(
        "vipgate_fd_shortages_total",
        Kind::Counter,
        "Accept calls that failed for lack of a file descriptor.",
        process.descriptor_shortages,
    );
    out.single(
        "vipgate_log_lines_lost_total",
        Kind::Counter,
        "Log lines dropped because nobody read them.",
        process.log_lines_lost,
    );
    out.single(
        "vipgate_vrrp_stray_packets_total",
        Kind::Counter,
        "Packets of protocol 112 that belong to no virtual router of this node.",
        process.stray_adverts,
    );
    late_wakes(&process.late_wakes, out);
}

fn late_wakes(wakes: &LateWakesSnapshot, out: &mut Exposition) {
    let name = "vipgate_vrrp_late_wake_seconds";
    out.family(name, Kind::Histogram, "How late the VRRP thread woke.");
    for (bound, count) in &wakes.buckets {
        out.sample(&format!("{name}_bucket"), &[("le", &bound.to_string())], *count);
    }
    out.sample(&format!("{name}_bucket"), &[("le", "+Inf")], wakes.count);
    out.sample(&format!("{name}_sum"), &[], wakes.sum_seconds);
    out.sample(&format!("{name}_count"), &[], wakes.count);
    out.single(
        "vipgate_vrrp_late_wake_max_seconds",
        Kind::Gauge,
        "The most the VRRP thread ever woke too late.",
        wakes.max_seconds,
    );
}

fn routers(routers: &[RouterSnapshot], out: &mut Exposition) {
    out.family(
        "vipgate_router_role",
        Kind::Gauge,
        "Role of the virtual router: 1 for the one it is in, 0 for the others.",
    );
    for router in routers {
        for role in Role::ALL {
            let labels = [("router", router.name.as_str()), ("role", role.label())];
            out.sample("vipgate_router_role", &labels, u8::from(router.role == role));
        }
    }
    type Figure = fn(&RouterSnapshot) -> Option<f64>;
    let gauges: [(&str, &str, Figure); 4] = [
        ("vipgate_router_role_seconds", "Time in the present role.", |router| router.since_seconds),
        ("vipgate_router_priority", "Priority it advertises or would advertise.", |router| {
            Some(f64::from(router.priority))
        }),
        ("vipgate_router_ready", "Whether the services it fronts can be served here.", |router| {
            Some(f64::from(u8::from(router.ready)))
        }),
        ("vipgate_router_heard_seconds", "Time since another router's advertisement was heard.", |router| {
            router.heard_seconds
        }),
    ];
    for (name, help, figure) in gauges {
        out.family(name, Kind::Gauge, help);
        for router in routers {
            if let Some(value) = figure(router) {
                out.sample(name, &[("router", &router.name)], value);
            }
        }
    }
    type Count = fn(&RouterSnapshot) -> u64;
    let counters: [(&str, &str, Count); 12] = [
        ("vipgate_router_adverts_sent_total", "Advertisements sent.", |router| router.sent),
        ("vipgate_router_adverts_received_total", "Advertisements accepted.", |router| router.received),
        ("vipgate_router_send_errors_total", "Sends that failed.", |router| router.send_errors),
        ("vipgate_router_sends_refused_total", "Sends that this node's firewall refused.", |router| {
            router.send_refused
        }),
        ("vipgate_router_none_heard_total", "Times it became master because nobody was heard.", |router| {
            router.none_heard
        }),
        ("vipgate_router_two_masters_total", "Times another master was heard beside this one.", |router| {
            router.two_masters
        }),
        ("vipgate_router_addresses_taken_total", "Times somebody else took an address away.", |router| {
            router.addresses_taken
        }),
        ("vipgate_router_two_announcers_total", "Times somebody else announced an address of this master.", |router| {
            router.two_announcers
        }),
        ("vipgate_router_zero_priority_sent_total", "Priority-0 advertisements sent.", |router| router.zero_sent),
        ("vipgate_router_zero_priority_received_total", "Priority-0 advertisements received.", |router| {
            router.zero_received
        }),
        ("vipgate_router_became_master_total", "Times it became master.", |router| router.became_master),
        ("vipgate_router_announcements_total", "Gratuitous ARP and neighbour advertisements sent.", |router| {
            router.announcements
        }),
    ];
    for (name, help, count) in counters {
        out.family(name, Kind::Counter, help);
        for router in routers {
            out.sample(name, &[("router", &router.name)], count(router));
        }
    }
    out.family("vipgate_router_two_masters_seconds_total", Kind::Counter, "How long two masters were heard.");
    for router in routers {
        out.sample("vipgate_router_two_masters_seconds_total", &[("router", &router.name)], router.two_masters_seconds);
    }
    out.family("vipgate_router_adverts_rejected_total", Kind::Counter, "Packets of protocol 112 not accepted.");
    for router in routers {
        for (reason, count) in &router.rejected {
            out.sample("vipgate_router_adverts_rejected_total", &[("router", &router.name), ("reason", reason)], count);
        }
    }
}

fn services(services: &[ServiceSnapshot], out: &mut Exposition) {
    type Count = fn(&ServiceSnapshot) -> u64;
    let figures: [(&str, Kind, &str, Count); 7] = [
        ("vipgate_service_ready", Kind::Gauge, "Whether a new connection would find a server.", |service| {
            u64::from(service.ready)
        }),
        ("vipgate_service_connections", Kind::Gauge, "Connections open.", |service| service.open),
        ("vipgate_service_connections_highest", Kind::Gauge, "Most connections open at once.", |service| {
            service.open_max
        }),
        ("vipgate_service_connections_total", Kind::Counter, "Connections accepted.", |service| service.accepted),
        ("vipgate_service_received_bytes_total", Kind::Counter, "Bytes from clients.", |service| service.bytes_in),
        ("vipgate_service_sent_bytes_total", Kind::Counter, "Bytes to clients.", |service| service.bytes_out),
        ("vipgate_service_limited_total", Kind::Counter, "Times a limit made it stop accepting.", |service| {
            service.limited
        }),
    ];
    for (name, kind, help, count) in figures {
        out.family(name, kind, help);
        for service in services {
            out.sample(name, &[("service", &service.name)], count(service));
        }
    }
    out.family("vipgate_service_connections_ended_total", Kind::Counter, "Connections ended, by reason.");
    for service in services {
        for (reason, count) in &service.ended {
            let labels = [("service", service.name.as_str()), ("reason", reason)];
            out.sample("vipgate_service_connections_ended_total", &labels, count);
        }
    }
}

fn servers(snapshot: &Snapshot, out: &mut Exposition) {
    type Count = fn(&ServerSnapshot) -> u64;
    let figures: [(&str, Kind, &str, Count); 15] = [
        ("vipgate_server_up", Kind::Gauge, "Whether the server passes its checks or has none.", |server| {
            u64::from(matches!(server.health, Health::Up | Health::Unchecked))
        }),
        ("vipgate_server_weight", Kind::Gauge, "Weight in force.", |server| u64::from(server.weight)),
        ("vipgate_server_connections", Kind::Gauge, "Connections open.", |server| server.open),
        ("vipgate_server_queued", Kind::Gauge, "Connections that wait for it in particular.", |server| server.queued),
        ("vipgate_server_connections_highest", Kind::Gauge, "Most connections open at once.", |server| server.open_max),
        ("vipgate_server_connections_total", Kind::Counter, "Connections given to it.", |server| server.chosen),
        ("vipgate_server_sent_bytes_total", Kind::Counter, "Bytes sent to it.", |server| server.bytes_in),
        ("vipgate_server_received_bytes_total", Kind::Counter, "Bytes received from it.", |server| server.bytes_out),
        ("vipgate_server_connect_errors_total", Kind::Counter, "Connection attempts that failed.", |server| {
            server.connect_errors
        }),
        ("vipgate_server_retries_total", Kind::Counter, "Connection attempts repeated on it.", |server| server.retries),
        (
            "vipgate_server_redispatches_total",
            Kind::Counter,
            "Connections moved away after a failed attempt.",
            |server| server.redispatches,
        ),
        ("vipgate_server_checks_total", Kind::Counter, "Health checks made.", |server| server.checks),
        (
            "vipgate_server_check_failures_total",
            Kind::Counter,
            "Health checks that failed while it was up.",
            |server| server.checks_failed,
        ),
        ("vipgate_server_downs_total", Kind::Counter, "Times it went down.", |server| server.downs),
        (
            "vipgate_server_source_port_shortages_total",
            Kind::Counter,
            "Connections for which every source port towards it was taken.",
            |server| server.portless,
        ),
    ];
    for (name, kind, help, count) in figures {
        out.family(name, kind, help);
        for (labels, server) in labelled(snapshot) {
            out.sample(name, &labels, count(server));
        }
    }
    let ports = "vipgate_server_source_ports";
    out.family(
        ports,
        Kind::Gauge,
        "Source ports towards it: so many connections may be open, or closed less than a minute ago.",
    );
    for (labels, server) in labelled(snapshot) {
        out.sample(ports, &labels, server.source_ports.unwrap_or(snapshot.process.local_ports));
    }
    let expiry = "vipgate_server_certificate_expiry_timestamp_seconds";
    out.family(expiry, Kind::Gauge, "When the certificate that the server showed to its last check expires.");
    for (labels, server) in labelled(snapshot) {
        if let Some(expires) = server.certificate_expires {
            out.sample(expiry, &labels, expires);
        }
    }
    let duration = "vipgate_server_check_duration_seconds";
    out.family(duration, Kind::Gauge, "How long the last health check took.");
    for (labels, server) in labelled(snapshot) {
        if let Some(check) = &server.last_check {
            out.sample(duration, &labels, check.duration_seconds);
        }
    }
}

/// Every server with its labels.
fn labelled(snapshot: &Snapshot) -> impl Iterator<Item = ([(&str, &str); 2], &ServerSnapshot)> {
    snapshot.pools.iter().flat_map(|pool| {
        pool.servers
            .iter()
            .map(move |server| ([("pool", pool.name.as_str()), ("server", server.name.as_str())], server))
    })
}

fn notify(told: &NotifySnapshot, out: &mut Exposition) {
    let scripts = [
        ("done", told.scripts_done),
        ("failed", told.scripts_failed),
        ("timed-out", told.scripts_timed_out),
        ("collapsed", told.scripts_collapsed),
        ("dropped", told.scripts_dropped),
    ];
    let hooks = [("done", told.hooks_done), ("failed", told.hooks_failed), ("timed-out", told.hooks_timed_out)];
    let fifo_lines = [("written", told.fifo_lines), ("lost", told.fifo_lines_lost)];
    let events = [("published", told.events), ("lost", told.events_lost)];
    let mails = [("sent", told.mails_sent), ("retried", told.mail_retries), ("failed", told.mails_failed)];
    type Family<'a> = (&'a str, &'a str, &'a [(&'a str, u64)]);
    let families: [Family<'_>; 5] = [
        ("vipgate_notify_scripts_total", "Runs of notification scripts, by how they ended.", &scripts),
        ("vipgate_notify_hooks_total", "Runs of hooks, by how they ended.", &hooks),
        ("vipgate_notify_fifo_lines_total", "Lines for named pipes.", &fifo_lines),
        ("vipgate_notify_events_total", "Events; lost are those a subscriber was too slow for.", &events),
        ("vipgate_notify_mails_total", "Mails about transitions.", &mails),
    ];
    for (name, help, results) in families {
        out.family(name, Kind::Counter, help);
        for (result, count) in results {
            out.sample(name, &[("result", result)], count);
        }
    }
    out.single(
        "vipgate_notify_mail_items_lost_total",
        Kind::Counter,
        "Transitions left out of the mail they belong in.",
        told.mail_items_lost,
    );
}

#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

struct Exposition(String);

impl Exposition {
    fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        self.0.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl ToString) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl ToString) {
        self.0.push_str(name);
        if !labels.is_empty() {
            self.0.push('{');
            for (index, (label, text)) in labels.iter().enumerate() {
                if index > 0 {
                    self.0.push(',');
                }
                self.0.push_str(label);
                self.0.push_str("=\"");
                self.push_escaped(text);
                self.0.push('"');
            }
            self.0.push('}');
        }
        self.0.push(' ');
        self.0.push_str(&value.to_string());
        self.0.push('\n');
    }

    fn push_escaped(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
    }
}
