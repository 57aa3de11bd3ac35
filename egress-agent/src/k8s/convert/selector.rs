//! Label selectors.

use egress_core::cluster::{Expression, LabelSelector, Operator};
use k8s_openapi::apimachinery::pkg::apis::meta::v1;

use super::field::Field;
use super::{Errors, compact};

/// Converts a label selector.
pub(super) fn selector(given: v1::LabelSelector, at: &Field<'_>, errors: &mut Errors) -> LabelSelector {
    let list = at.then("matchExpressions");
    let given_expressions = given.match_expressions.unwrap_or_default().into_iter().enumerate();
    let expressions =
        compact(given_expressions.filter_map(|(index, given)| expression(given, &list.item(index), errors)));
    LabelSelector { match_labels: given.match_labels.unwrap_or_default().into(), expressions }
}

fn expression(
    given: v1::LabelSelectorRequirement,
    at: &Field<'_>,
    errors: &mut Errors,
) -> Option<Expression> {
    let operator = match given.operator.as_str() {
        "In" => Ok(Operator::In),
        "NotIn" => Ok(Operator::NotIn),
        "Exists" => Ok(Operator::Exists),
        "DoesNotExist" => Ok(Operator::DoesNotExist),
        other => Err(format!("\"{other}\" is none of In, NotIn, Exists, DoesNotExist")),
    };
    let operator = errors.check(&at.then("operator"), operator)?;
    if given.key.is_empty() {
        errors.add(&at.then("key"), "is missing");
    }
    let values = given.values.unwrap_or_default();
    match operator {
        Operator::In | Operator::NotIn if values.is_empty() => {
            errors.add(&at.then("values"), format!("must not be empty with operator {}", given.operator));
        }
        Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
            errors.add(&at.then("values"), format!("must be empty with operator {}", given.operator));
        }
        _ => {}
    }
    Some(Expression { key: given.key, operator, values })
}
