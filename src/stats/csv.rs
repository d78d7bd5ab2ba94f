//! HAProxy's `;csv`, for the tools that read it: its columns in its order (management guide, section 9.1), empty
//! where there is nothing to tell.

use super::check::LastCheckSnapshot;
use super::registry::{EndReason, Health};
use super::snapshot::{Counter, PoolSnapshot, ServerSnapshot, ServiceSnapshot, Snapshot};

/// The columns of HAProxy 2.6 that every proxy type shares.
const COLUMNS: &str = "pxname,svname,qcur,qmax,scur,smax,slim,stot,bin,bout,dreq,dresp,ereq,econ,eresp,wretr,wredis,\
    status,weight,act,bck,chkfail,chkdown,lastchg,downtime,qlimit,pid,iid,sid,throttle,lbtot,tracked,type,rate,\
    rate_lim,rate_max,check_status,check_code,check_duration,hrsp_1xx,hrsp_2xx,hrsp_3xx,hrsp_4xx,hrsp_5xx,hrsp_other,\
    hanafail,req_rate,req_rate_max,req_tot,cli_abrt,srv_abrt,comp_in,comp_out,comp_byp,comp_rsp,lastsess,last_chk,\
    last_agt,qtime,ctime,rtime,ttime,agent_status,agent_code,agent_duration,check_desc,agent_desc,check_rise,\
    check_fall,check_health,agent_rise,agent_fall,agent_health,addr,cookie,mode,algo,conn_rate,conn_rate_max,conn_tot,\
    intercepted,dcon,dses,wrew,connect,reuse,cache_lookups,cache_hits,srv_icur,src_ilim,qtime_max,ctime_max,rtime_max,\
    ttime_max,eint,idle_conn_cur,safe_conn_cur,used_conn_cur,need_conn_est,uweight";

/// The snapshot as HAProxy's CSV.
#[must_use]
pub(super) fn render(snapshot: &Snapshot) -> String {
    let mut out = format!("# {COLUMNS},\n");
    let mut iid = 0;
    for service in &snapshot.services {
        iid += 1;
        frontend(service, iid).write(&mut out);
        // HAProxy's `listen`: both halves under one name stand together.
        if let Some(pool) = snapshot.pools.iter().find(|pool| pool.name == service.name) {
            write_pool(pool, iid, &mut out);
        }
    }
    for pool in snapshot.pools.iter().filter(|pool| !snapshot.services.iter().any(|service| service.name == pool.name))
    {
        iid += 1;
        write_pool(pool, iid, &mut out);
    }
    out
}

fn write_pool(pool: &PoolSnapshot, iid: usize, out: &mut String) {
    for (index, one) in pool.servers.iter().enumerate() {
        server(pool, one, iid, index + 1).write(out);
    }
    backend(pool, iid).write(out);
}

fn frontend(service: &ServiceSnapshot, iid: usize) -> Row {
    let ended = |reason: EndReason| service.ended.get(reason.label()).copied().unwrap_or(0);
    let mut row = Row::new(&service.name, "FRONTEND", iid, 0, 0);
    row.set("scur", service.open);
    row.set("smax", service.open_max);
    row.set("slim", service.max_connections.map_or(String::new(), |limit| limit.to_string()));
    // Sessions are the connections that rules let in.
    let refused =
        [EndReason::DeniedConnection, EndReason::SourceLimit, EndReason::DeniedSession].map(ended).iter().sum();
    row.set("stot", service.accepted.saturating_sub(refused));
    row.set("conn_tot", service.accepted);
    row.set("bin", service.bytes_in);
    row.set("bout", service.bytes_out);
    row.set("dreq", ended(EndReason::DeniedContent));
    row.set("dcon", ended(EndReason::DeniedConnection) + ended(EndReason::SourceLimit));
    row.set("dses", ended(EndReason::DeniedSession));
    row.set("dresp", 0);
    row.set("ereq", 0);
    row.set("status", "OPEN");
    row.set("cli_abrt", ended(EndReason::ClientAborted));
    row.set("srv_abrt", ended(EndReason::ServerAborted));
    row
}

fn server(pool: &PoolSnapshot, server: &ServerSnapshot, iid: usize, sid: usize) -> Row {
    let mut row = Row::new(&pool.name, &server.name, iid, sid, 2);
    row.set("qcur", server.queued);
    row.set("qmax", server.queued_max);
    row.set("scur", server.open);
    row.set("smax", server.open_max);
    row.set("slim", server.max_connections.map_or(String::new(), |limit| limit.to_string()));
    row.set("stot", server.chosen);
    row.set("lbtot", server.chosen);
    row.set("bin", server.bytes_in);
    row.set("bout", server.bytes_out);
    row.set("dresp", 0);
    row.set("econ", server.connect_errors);
    row.set("eresp", 0);
    row.set("wretr", server.retries);
    row.set("wredis", server.redispatches);
    row.set("status", status(server));
    row.set("weight", server.weight);
    row.set("uweight", server.weight);
    row.set("act", u8::from(!server.backup));
    row.set("bck", u8::from(server.backup));
    row.set("lastchg", server.since_seconds.map_or(String::new(), whole_seconds));
    row.set("addr", &server.address);
    if let Some(counter) = server.counter {
        row.set("chkfail", server.checks_failed);
        row.set("chkdown", server.downs);
        row.set("check_rise", counter.rise);
        row.set("check_fall", counter.fall);
        row.set("check_health", counter.now);
    }
    if let Some(check) = &server.last_check {
        row.checked(check, ["check_status", "check_code", "check_duration", "check_desc", "last_chk"]);
    }
    if let Some(said) = &server.agent {
        row.checked(said, ["agent_status", "agent_code", "agent_duration", "agent_desc", "last_agt"]);
        row.set("agent_rise", 1);
        row.set("agent_fall", 1);
        row.set("agent_health", u8::from(!server.agent_down));
    }
    row
}

fn backend(pool: &PoolSnapshot, iid: usize) -> Row {
    let (active, backup) = pool.usable();
    let total = |figure: fn(&ServerSnapshot) -> u64| pool.servers.iter().map(figure).sum::<u64>();
    let weight: u64 = pool
        .servers
        .iter()
        .filter(|server| server.usable() && (server.backup == (active == 0)))
        .map(|server| u64::from(server.weight))
        .sum();
    let mut row = Row::new(&pool.name, "BACKEND", iid, 0, 1);
    row.set("qcur", pool.queued);
    row.set("qmax", pool.queued_max);
    row.set("scur", total(|server| server.open));
    row.set("stot", total(|server| server.chosen));
    row.set("lbtot", total(|server| server.chosen));
    row.set("bin", total(|server| server.bytes_in));
    row.set("bout", total(|server| server.bytes_out));
    row.set("dreq", 0);
    row.set("dresp", 0);
    row.set("econ", total(|server| server.connect_errors));
    row.set("eresp", 0);
    row.set("wretr", total(|server| server.retries));
    row.set("wredis", total(|server| server.redispatches));
    row.set("status", if active + backup > 0 { "UP" } else { "DOWN" });
    row.set("weight", weight);
    row.set("act", active);
    row.set("bck", backup);
    row.set("algo", &pool.algorithm);
    row
}

/// `UP`, `UP 2/3` on its way down, `DOWN 1/2` on its way up, as HAProxy counts it.
fn status(server: &ServerSnapshot) -> String {
    match (server.health, server.counter) {
        (Health::Disabled, _) => "MAINT".to_owned(),
        (Health::Down, _) if server.agent_down => "DOWN (agent)".to_owned(),
        (Health::Up, _) if server.stopping => "NOLB".to_owned(),
        (Health::Up | Health::Unchecked, _) if server.draining => "DRAIN".to_owned(),
        (Health::Unchecked, _) => "no check".to_owned(),
        (Health::Up, Some(Counter { now, rise, fall })) if now + 1 < rise + fall => {
            format!("UP {}/{fall}", (now + 1).saturating_sub(rise))
        }
        (Health::Up, _) => "UP".to_owned(),
        (Health::Down, Some(Counter { now, rise, fall: _ })) if now > 0 => format!("DOWN {now}/{rise}"),
        (Health::Down, _) => "DOWN".to_owned(),
    }
}

fn whole_seconds(seconds: f64) -> String {
    format!("{:.0}", seconds.floor())
}

/// One line, by column name.
struct Row(Vec<(&'static str, String)>);

impl Row {
    fn new(pxname: &str, svname: &str, iid: usize, sid: usize, kind: u8) -> Self {
        let mut row = Self(COLUMNS.split(',').map(|column| (column, String::new())).collect());
        row.set("pxname", pxname);
        row.set("svname", svname);
        row.set("pid", 1);
        row.set("iid", iid);
        row.set("sid", sid);
        row.set("type", kind);
        row.set("mode", "tcp");
        row
    }

    fn set(&mut self, column: &str, value: impl ToString) {
        if let Some(cell) = self.0.iter_mut().find(|(name, _)| *name == column) {
            cell.1 = value.to_string();
        }
    }

    /// A check or an agent's answer: status, code, duration in milliseconds, the status in words, and the rest.
    fn checked(&mut self, check: &LastCheckSnapshot, columns: [&str; 5]) {
        let [status, code, duration, text, detail] = columns;
        self.set(status, check.result.code());
        self.set(code, check.code.map_or(String::new(), |code| code.to_string()));
        self.set(duration, format!("{:.0}", check.duration_seconds * 1000.0));
        self.set(text, check.result.text());
        self.set(detail, &check.detail);
    }

    fn write(self, out: &mut String) {
        for (_, value) in self.0 {
            // Quoted as RFC 4180 wants it, where a reason holds a comma.
            if value.contains([',', '"', '\n', '\r']) {
                out.push('"');
                out.push_str(&value.replace('"', "\"\"").replace(['\n', '\r'], " "));
                out.push('"');
            } else {
                out.push_str(&value);
            }
            out.push(',');
        }
        out.push('\n');
    }
}
