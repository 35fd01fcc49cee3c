//! Notifications of a group whose keys are known already: whether each is the same as what is
//! known.

use std::collections::BTreeMap;

use model::id::NotificationId;
use model::notification::{AcceptResult, NewNotification};

use crate::postgres::accept::statements::COMPARE;
use crate::postgres::accept::talk::{Answers, Statements};
use crate::postgres::text::SafeText;
use crate::sql::job_error::JobError;
use crate::sql::row::ReadRow;
use crate::sql::rows;

/// Those whose keys are known, and what they are beside what is known.
#[derive(Default)]
pub(super) struct Repeated<'a> {
    places: Vec<usize>,
    tenants: Vec<i64>,
    ids: Vec<i64>,
    action_types: Vec<SafeText<'a>>,
    bodies: Vec<&'a [u8]>,
    digests: Vec<Option<i64>>,
    is_compared: bool,
    /// By their places; `None` if what is known has gone meanwhile.
    results: BTreeMap<usize, Option<AcceptResult>>,
}

impl<'a> Repeated<'a> {
    /// These, with their places in the group, have the key of the notification `id`.
    pub(super) fn add(&mut self, id: i64, all: impl Iterator<Item = (usize, &'a NewNotification)>) {
        for (place, new) in all {
            self.results.insert(place, None);
            self.places.push(place);
            self.tenants.push(new.tenant.0);
            self.ids.push(id);
            self.action_types.push(SafeText(&new.action_type));
            self.bodies.push(&new.body);
            self.digests.push(new.digest);
        }
    }

    /// Whether something is to be compared.
    pub(super) fn is_asked(&self) -> bool {
        !self.places.is_empty() && !self.is_compared
    }

    pub(super) fn ask<'b>(&'b self, statements: &mut Statements<'b>) {
        if self.is_asked() {
            statements.add(
                COMPARE,
                vec![
                    &self.tenants,
                    &self.ids,
                    &self.action_types,
                    &self.bodies,
                    &self.digests,
                ],
            );
        }
    }

    pub(super) fn read(&mut self, answers: &mut Answers) -> Result<(), JobError> {
        if !self.is_asked() {
            return Ok(());
        }
        self.is_compared = true;
        for row in answers.next()?.rows {
            let number: i64 = row.column(0)?;
            let at = usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX);
            let id = NotificationId(row.column(1)?);
            let result = match row.column(4)? {
                true => AcceptResult::Duplicate {
                    id,
                    deliveries: row.column(3)?,
                },
                false => AcceptResult::Conflict {
                    id,
                    accepted_at: rows::time(&row, 2)?,
                },
            };
            if let Some(place) = self.places.get(at) {
                self.results.insert(*place, Some(result));
            }
        }
        Ok(())
    }

    /// What became of the notification at this place, if its key is known; `Some(None)` if what had
    /// it has gone meanwhile.
    pub(super) fn result(&self, place: usize) -> Option<Option<&AcceptResult>> {
        self.results.get(&place).map(Option::as_ref)
    }
}
