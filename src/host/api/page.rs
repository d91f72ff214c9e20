//! Pages of lists: `?after=KEY&limit=N`, where the answer's `next` is the following page's `after`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;

use super::problem::ApiError;
use crate::wire::api::Page;

/// Items of a page if nobody says otherwise.
const LIMIT_DEFAULT: usize = 100;
/// Most items of a page.
const LIMIT_MAX: usize = 1000;

/// Which page is wanted.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    /// Key of the last item of the page before.
    pub(crate) after: Option<String>,
    limit: Option<usize>,
}

impl PageQuery {
    /// Items wanted, within bounds.
    pub(crate) fn limit(&self) -> usize {
        limit_of(self.limit)
    }

    /// The page of `items` that stands behind the item with key `after`.
    ///
    /// # Errors
    /// If there is no such item.
    pub(crate) fn cut<T>(&self, items: Vec<T>, key: impl Fn(&T) -> &str) -> Result<Page<T>, ApiError> {
        let start = match &self.after {
            None => 0,
            Some(after) => {
                let last = items.iter().position(|item| key(item) == after);
                last.ok_or_else(|| ApiError::invalid("after", format!("after: nothing in this list is named `{after}`")))? + 1
            }
        };
        let more = items.len() > start + self.limit();
        let items: Vec<T> = items.into_iter().skip(start).take(self.limit()).collect();
        let next = items.last().filter(|_| more).map(|item| key(item).to_owned());
        Ok(Page { items, next })
    }
}

/// Items wanted, within bounds.
pub(crate) fn limit_of(wanted: Option<usize>) -> usize {
    wanted.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX)
}

impl<S: Send + Sync> FromRequestParts<S> for PageQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<PageQuery>::from_request_parts(parts, state).await;
        query.map(|Query(query)| query).map_err(|error| refused(&error))
    }
}

/// What is wrong with a query.
pub(crate) fn refused(error: &QueryRejection) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "invalid-query", "Invalid query", error.body_text())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(after: Option<&str>, limit: usize) -> Result<Page<String>, ApiError> {
        let query = PageQuery {
            after: after.map(str::to_owned),
            limit: Some(limit),
        };
        query.cut(["a", "b", "c"].map(str::to_owned).to_vec(), |item| item)
    }

    #[test]
    fn pages_follow_one_another_to_the_end() {
        assert_eq!(
            page(None, 2).unwrap(),
            Page {
                items: vec!["a".to_owned(), "b".to_owned()],
                next: Some("b".to_owned())
            }
        );
        assert_eq!(
            page(Some("b"), 2).unwrap(),
            Page {
                items: vec!["c".to_owned()],
                next: None
            }
        );
        assert_eq!(page(None, 3).unwrap().next, None);
        assert!(page(Some("x"), 2).is_err());
    }
}
