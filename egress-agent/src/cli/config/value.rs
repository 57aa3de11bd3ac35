//! One setting, read by the parser of its flag.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, Command};

use super::problem::{Problem, sentence};
use super::yaml::{Entry, Place, Value};
use super::{NOT_SETTINGS, is_setting};

/// The arguments that say what a setting says.
pub(super) fn arguments(entry: &Entry, command: &Command) -> Result<Vec<String>, Vec<Problem>> {
    let flag = command.get_arguments().find(|flag| flag.get_long() == Some(entry.key.as_str()));
    let Some(flag) = flag.filter(|flag| is_setting(flag)) else {
        return Err(vec![Problem::of(entry, unknown(&entry.key, command))]);
    };
    if let ArgAction::SetTrue = flag.get_action() {
        return switch(entry).map_err(|problem| vec![problem]);
    }
    let values = match &entry.value {
        Value::List(items) if repeats(flag) => items.as_slice(),
        Value::List(_) => {
            return Err(vec![Problem::of(entry, format!("is one {}, not a list", wanted(flag)))]);
        }
        one => std::slice::from_ref(one),
    };
    let (mut arguments, mut problems) = (Vec::new(), Vec::new());
    for value in values {
        match single(value, entry, flag, command) {
            Ok(argument) => arguments.push(argument),
            Err((place, text)) => problems.push(Problem { place, ..Problem::of(entry, text) }),
        }
    }
    if problems.is_empty() { Ok(arguments) } else { Err(problems) }
}

/// Whether a flag may be given more than once.
pub(super) fn repeats(flag: &Arg) -> bool {
    matches!(flag.get_action(), ArgAction::Append)
}

/// What a flag wants, as its help writes it.
pub(super) fn wanted(flag: &Arg) -> String {
    match flag.get_value_names() {
        Some([name]) => name.to_string(),
        _ => "VALUE".to_owned(),
    }
}

/// A flag without a value.
fn switch(entry: &Entry) -> Result<Vec<String>, Problem> {
    match &entry.value {
        Value::One(scalar) if scalar.text == "true" => Ok(vec![format!("--{}", entry.key)]),
        Value::One(scalar) if scalar.text == "false" => Ok(Vec::new()),
        other => {
            let place = other.place().unwrap_or(entry.place);
            Err(Problem { place, ..Problem::of(entry, "is true or false") })
        }
    }
}

/// One value, tried on its flag alone.
fn single(value: &Value, entry: &Entry, flag: &Arg, command: &Command) -> Result<String, (Place, String)> {
    let wanted = wanted(flag);
    let scalar = match value {
        Value::One(scalar) => scalar,
        Value::Nothing(place) => return Err((*place, format!("has no value; {wanted} is wanted"))),
        Value::Mapping(place) => {
            return Err((*place, format!("is {wanted}, nothing that has keys or items of its own")));
        }
        Value::Alias(place) => return Err((*place, "is a reference, which settings do not have".to_owned())),
        Value::List(_) => return Err((entry.place, format!("is {wanted}, not a list"))),
    };
    let argument = format!("--{}={}", entry.key, scalar.text);
    match command.clone().try_get_matches_from(["run", argument.as_str()]) {
        Err(error) if matches!(error.kind(), ErrorKind::ValueValidation | ErrorKind::InvalidValue) => {
            Err((scalar.place, invalid(&error, &scalar.text)))
        }
        // What else is missing or too much is judged with the command line.
        _ => Ok(argument),
    }
}

/// What is wrong with a value: the parser's own words, or the values there are.
fn invalid(error: &clap::Error, text: &str) -> String {
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(values)) if !values.is_empty() => {
            format!("\"{text}\" is none of {}", values.join(", "))
        }
        _ => sentence(error),
    }
}

fn unknown(key: &str, command: &Command) -> String {
    if NOT_SETTINGS.contains(&key) {
        return "is for the command line only".to_owned();
    }
    // A flag of a word that is almost this one: the parser of the command line knows it.
    let error =
        command.clone().try_get_matches_from(["run".to_owned(), format!("--{}", key.replace('_', "-"))]);
    let suggestion = error.as_ref().err().and_then(|error| error.get(ContextKind::SuggestedArg));
    let flags = || command.get_arguments().filter(|flag| is_setting(flag)).filter_map(Arg::get_long);
    let suggestion = match suggestion {
        Some(ContextValue::String(flag)) => flags().find(|name| *name == flag.trim_start_matches('-')),
        _ => flags().find(|name| *name == key.replace('_', "-").to_lowercase()),
    };
    match suggestion {
        Some(name) => format!("there is no such setting; did you mean {name}?"),
        None => "there is no such setting".to_owned(),
    }
}
