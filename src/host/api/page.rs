//! Pages of lists: `?after=KEY&limit=N`, where the answer's `next` is the following page's `after`.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::Deserialize;

use super::problem::ApiError;

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

    /// What is said where nothing has the key of the item before.
    pub(crate) fn nothing_there(&self) -> ApiError {
        let after = self.after.as_deref().unwrap_or_default();
        ApiError::invalid("after", format!("after: nothing in this list is named `{after}`"))
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
