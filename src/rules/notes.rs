//! What rules have noted about a connection: variables and captures.

use crate::model::value::{Scope, Value, Variable};

/// Few of them: they are looked for one by one.
#[derive(Debug, Default)]
pub struct Notes {
    variables: Vec<(Variable, Value<'static>)>,
    captures: Vec<Option<Value<'static>>>,
}

impl Notes {
    /// What a variable holds.
    #[must_use]
    pub fn variable(&self, variable: &Variable) -> Option<&Value<'static>> {
        self.variables.iter().find(|(known, _)| known == variable).map(|(_, value)| value)
    }

    /// Sets a variable; none: it holds nothing any more.
    pub fn set(&mut self, variable: &Variable, value: Option<Value<'static>>) {
        let place = self.variables.iter().position(|(known, _)| known == variable);
        match (place, value) {
            (Some(place), Some(value)) => self.variables[place].1 = value,
            (Some(place), None) => _ = self.variables.swap_remove(place),
            (None, Some(value)) => self.variables.push((variable.clone(), value)),
            (None, None) => {}
        }
    }

    /// What was captured.
    #[must_use]
    pub fn capture(&self, slot: u16) -> Option<&Value<'static>> {
        self.captures.get(usize::from(slot))?.as_ref()
    }

    /// Keeps what was captured.
    pub fn put(&mut self, slot: u16, value: Value<'static>) {
        let slot = usize::from(slot);
        if self.captures.len() <= slot {
            self.captures.resize(slot + 1, None);
        }
        self.captures[slot] = Some(value);
    }

    /// Once the server is chosen: of the variables only those stay that are `wanted`, and none of a request.
    pub fn settle(&mut self, wanted: impl Fn(&Variable) -> bool) {
        self.variables.retain(|(variable, _)| variable.scope != Scope::Request && wanted(variable));
        self.variables.shrink_to_fit();
    }

    /// Whether there is nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.variables.is_empty() && self.captures.is_empty()
    }

    /// The captures that were made, by their places.
    pub fn captures(&self) -> impl Iterator<Item = (usize, &Value<'static>)> {
        self.captures.iter().enumerate().filter_map(|(slot, value)| Some((slot, value.as_ref()?)))
    }

    /// The variables and what they hold.
    pub fn variables(&self) -> impl Iterator<Item = &(Variable, Value<'static>)> {
        self.variables.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_set_and_forgotten_and_captures_have_places() {
        let [session, request] = ["sess.a", "req.a"].map(|name| Variable::parse(name).unwrap());
        let mut notes = Notes::default();
        notes.set(&session, Some(Value::Number(1)));
        notes.set(&request, Some(Value::Number(2)));
        notes.set(&session, Some(Value::Number(3)));
        assert_eq!(notes.variable(&session), Some(&Value::Number(3)));
        notes.settle(|_| true);
        assert_eq!((notes.variable(&request), notes.variables().count()), (None, 1));
        notes.settle(|variable| *variable != session);
        assert!(notes.is_empty());
        notes.set(&session, None);
        notes.put(1, Value::text(b"x"));
        assert_eq!((notes.capture(0), notes.capture(1)), (None, Some(&Value::text(b"x"))));
    }
}
