//! `vrrp_strict` and `strict_mode`: what keepalived takes back where they hold. What it refuses there only because the
//! RFC does not know it (unicast peers, no address at all) decides nothing between the nodes and is let be.

use super::Translator;
use super::instance::Said;
use crate::config::diagnostic::Diagnostic;
use crate::config::import::Word;
use crate::config::raw::Located;
use crate::model::InitialState;

impl Translator<'_> {
    /// Takes back from `said` what does not hold in strict mode, each with a warning.
    pub(super) fn strict(&mut self, name: &Word, said: &mut Said) {
        let Some(strict) = said.strict.filter(|strict| strict.value) else { return };
        if let Some(at) = said.authentication.filter(|_| said.pass) {
            // A peer in strict mode would drop adverts with a password, and both would be master.
            let message = "strict mode has no authentication: ignored, as in keepalived";
            self.findings.push(Diagnostic::warning(at, message).related(strict.at, "because of this"));
            (said.pass, said.password) = (false, None);
        }
        self.strict_state(said);
        if let Some(delay) = said.preempt_delay.take() {
            let message = "strict mode has no `preempt_delay`: ignored, as in keepalived";
            self.findings.push(Diagnostic::warning(delay.at, message).related(strict.at, "because of this"));
        }
        // Who hears a lower priority does not announce its addresses again there.
        said.garp.lower_prio_repeat = Some(Located::new(0, strict.at));
        if !said.accept && said.priority.is_none_or(|priority| priority.value != 255) {
            let message =
                format!("strict mode drops what is sent to the addresses of `{}`; here it is accepted", name.text);
            self.findings.push(Diagnostic::warning(name.at, message).related(strict.at, "because of this"));
        }
    }

    /// Master at the start is whoever owns the addresses, and nobody else.
    fn strict_state(&mut self, said: &mut Said) {
        let Some(state) = said.state else { return };
        // `MASTER` alone means priority 255.
        let owner = said.priority.map_or(state.value == InitialState::Master, |priority| priority.value == 255);
        let wanted = if owner { InitialState::Master } else { InitialState::Backup };
        if state.value != wanted {
            let message = "in strict mode who has priority 255 starts as master, nobody else: so it is done";
            self.findings.warning(state.at, message);
            said.state = Some(Located::new(wanted, state.at));
        }
    }
}
