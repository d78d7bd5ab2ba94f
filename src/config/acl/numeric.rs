//! Converters that make numbers: `mod(10)`, `crc32`, `table_conn_rate(clients)`; and what bytes are written as, `hex`.

use super::Scope;
use super::figure::{find, name_of};
use super::test::counted;
use super::variable::named;
use crate::model::expression::{Alteration, Converter, Digest, Encoding, Operand, Operation};
use crate::model::rule::{Counter, Purpose};
use crate::rules::lists;

const OPERATIONS: [(&str, Operation); 8] = [
    ("add", Operation::Add),
    ("sub", Operation::Subtract),
    ("mul", Operation::Multiply),
    ("div", Operation::Divide),
    ("mod", Operation::Remainder),
    ("and", Operation::And),
    ("or", Operation::Or),
    ("xor", Operation::Xor),
];

const ALONE: [(&str, Converter); 11] = [
    ("bool", Converter::Alter(Alteration::Bool)),
    ("not", Converter::Alter(Alteration::Not)),
    ("neg", Converter::Alter(Alteration::Negative)),
    ("cpl", Converter::Alter(Alteration::Complement)),
    ("even", Converter::Alter(Alteration::Even)),
    ("odd", Converter::Alter(Alteration::Odd)),
    ("crc32", Converter::Digest(Digest::Crc32)),
    ("djb2", Converter::Digest(Digest::Djb2)),
    ("sdbm", Converter::Digest(Digest::Sdbm)),
    ("hex", Converter::Encode(Encoding::Hex)),
    ("base64", Converter::Encode(Encoding::Base64)),
];

/// The converter of this name, if there is one.
pub(super) fn read(name: &str, inside: Option<&str>, scope: &Scope<'_>) -> Result<Option<Converter>, String> {
    if let Some(operation) = find(&OPERATIONS, name) {
        let operand = inside.map(str::trim).filter(|text| !text.is_empty());
        let operand = operand.ok_or_else(|| format!("`{name}` wants a number or a variable, as in `{name}(2)`"))?;
        let number = lists::number(operand).map(Operand::Number);
        let operand = number.or_else(|_| named(operand).map(Operand::Variable));
        return Ok(Some(Converter::Compute(operation, operand?)));
    }
    if let Some(converter) = find(&ALONE, name) {
        // Hashes say 0 themselves where they are not mixed once more.
        let is_plain =
            inside.is_none_or(|inside| inside.is_empty() || matches!(converter, Converter::Digest(_)) && inside == "0");
        return if is_plain {
            Ok(Some(converter))
        } else {
            Err(format!("`{name}` takes nothing between parentheses here"))
        };
    }
    let counter = match name {
        "in_table" => None,
        _ => match name.strip_prefix("table_").and_then(of_table) {
            Some(counter) => Some(counter),
            None => return Ok(None),
        },
    };
    if scope.of_requests {
        return Err(format!("`{name}` counts sources of connections to services: nobody counts those of a page"));
    }
    match inside.map(str::trim).filter(|table| !table.is_empty()) {
        Some(table) => Ok(Some(Converter::Counted { table: table.to_owned(), counter })),
        None => Err(format!("`{name}` wants the name of a table, as in `{name}(clients)`")),
    }
}

fn of_table(what: &str) -> Option<Counter> {
    match what {
        "gpc0" => Some(Counter::Purpose(Purpose::Gpc0)),
        "gpc1" => Some(Counter::Purpose(Purpose::Gpc1)),
        "trackers" => Some(Counter::Connections),
        _ => counted(what),
    }
}

/// As it is read.
pub(super) fn show(converter: &Converter) -> String {
    match converter {
        Converter::Compute(operation, operand) => {
            let name = name_of(&OPERATIONS, operation);
            match operand {
                Operand::Number(number) => format!("{name}({number})"),
                Operand::Variable(variable) => format!("{name}({variable})"),
            }
        }
        Converter::Counted { table, counter } => match counter {
            None => format!("in_table({table})"),
            Some(Counter::Purpose(which)) => format!("table_{}({table})", super::show::purpose(*which)),
            Some(counter) => format!("table_{}({table})", super::show::counted(*counter)),
        },
        _ => name_of(&ALONE, converter).to_owned(),
    }
}
