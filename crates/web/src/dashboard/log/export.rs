//! The log as a file: all that its filter shows.

use std::sync::Arc;

use http::Response;
use model::id::WebhookId;
use model::users::Role;

use super::filter::LogFilter;
use crate::dashboard::page::{PageAccess, PageRoute, get};
use crate::dashboard::response::{PageError, PageResponse};
use crate::dashboard::visit::Visit;
use crate::dialect::export::{Export, ExportFormat, FORMAT, Judge, file_name};

pub(super) fn routes() -> Vec<PageRoute> {
    let look = PageAccess::Role(Role::Look);
    vec![
        get("log_export", "/t/{tenant}/log/export", look, of_tenant),
        get(
            "webhook_log_export",
            "/t/{tenant}/webhooks/{webhook}/log/export",
            look,
            of_webhook,
        ),
    ]
}

async fn of_tenant(visit: Visit) -> Result<PageResponse, PageError> {
    export(&visit, None).await
}

async fn of_webhook(visit: Visit) -> Result<PageResponse, PageError> {
    let id = WebhookId(visit.id("webhook")?);
    export(&visit, Some(id)).await
}

async fn export(visit: &Visit, webhook: Option<WebhookId>) -> Result<PageResponse, PageError> {
    let filter = LogFilter::of(&visit.query);
    let format = visit.query.get(FORMAT).and_then(ExportFormat::named);
    let (Some(format), true) = (format, filter.faults.is_empty()) else {
        return Err(PageError::NotFound);
    };
    let format = match format {
        // People open it in a spreadsheet, which takes it for another encoding otherwise.
        ExportFormat::Csv { .. } => ExportFormat::Csv { marked: true },
        ExportFormat::Ndjson => ExportFormat::Ndjson,
    };
    let context = &visit.context;
    let export = Export {
        store: context.store.clone(),
        slots: Arc::clone(&context.export_slots),
        stopping: context.stopping.clone(),
        tenant: visit.tenant()?.id,
        query: filter.ask(webhook, None),
        format,
        names: visit.dialect()?.log_names,
        judge: Some(judge(visit)?),
    };
    let mut response = Response::new(export.begin().await?);
    format.put_headers(response.headers_mut(), &file_name(visit.now));
    Ok(response)
}

/// Whether the session may still read the log.
fn judge(visit: &Visit) -> Result<Judge, PageError> {
    let session = visit.session().ok_or(PageError::SignIn)?;
    let governed_by = visit.governed_by()?;
    let context = Arc::clone(&visit.context);
    Ok(Box::new(move || {
        let context = Arc::clone(&context);
        Box::pin(async move {
            let now = context.clock.certain();
            let user = context.signed_in(session, now).await;
            let user = user.ok().flatten();
            let role = user.and_then(|user| user.role_over(governed_by));
            role.is_some_and(|role| role >= Role::Look)
        })
    }))
}
