//! `jury tenants`, and the tenants of servers.

use std::num::NonZeroU64;

use anyhow::Context;
use jury_coordinator::tenants::{
    TenantConfig, Tenants, TenantsError, TokenDigest, file, new_token,
};
use jury_fabric::secret::ExposeSecret;
use jury_grm::domain::json_line;
use jury_terminal::exit::{Exit, Failed, OrExit};
use jury_terminal::page::columns;
use serde_json::{Value, json};

use crate::args::{TenantsArgs, TenantsCommand, TenantsFileArgs};
use crate::score::print;

pub fn run(args: &TenantsArgs) -> Result<Exit, Failed> {
    let text = match &args.command {
        TenantsCommand::NewToken { json } => made(*json)?,
        TenantsCommand::Check { file, json } => {
            let text = std::fs::read_to_string(file);
            let text = text.with_context(|| file.display().to_string()).or_exit(Exit::NoInput)?;
            let tenants = file::parse(&text);
            let tenants =
                tenants.with_context(|| file.display().to_string()).or_exit(Exit::BadData)?;
            let warnings = file::warnings(&tenants);
            match json {
                true => json_line(&as_json(&tenants, &warnings)).or_exit(Exit::Internal)?,
                false => table(&tenants, &warnings),
            }
        }
    };
    print(&text)?;
    Ok(Exit::Done)
}

/// The tenants given by the options.
pub fn tenants(args: &TenantsFileArgs) -> Result<Tenants, Failed> {
    let Some(file) = &args.file else { return Ok(Tenants::open()) };
    Tenants::load(file).map_err(|error| {
        let exit = match error {
            TenantsError::Unreadable { .. } => Exit::NoInput,
            TenantsError::Wrong { .. } => Exit::BadData,
        };
        Failed::new(exit, anyhow::Error::new(error).context("--tenants"))
    })
}

// === private ===

fn made(as_json: bool) -> Result<String, Failed> {
    let token = new_token().or_exit(Exit::Internal)?;
    // The only place that prints a token: the caller asked for it, and it cannot be shown again.
    let token = token.expose_secret();
    let digest = TokenDigest::of(token).to_string();
    if as_json {
        return json_line(&json!({ "token": token, "digest": digest })).or_exit(Exit::Internal);
    }
    Ok(format!(
        "token   {token}\ndigest  {digest}\n\
         Give the token to the caller: it is not shown again. Add the digest to token_digests in the tenants file.\n"
    ))
}

fn table(tenants: &[TenantConfig], warnings: &[String]) -> String {
    let head = [
        "TENANT",
        "TOKENS",
        "WEIGHT",
        "QUEUE",
        "REQUESTS/MIN",
        "SAMPLES/MIN",
        "TOKENS/MIN",
        "TEXTS",
        "STATUS",
    ];
    let quota =
        |limit: Option<NonZeroU64>| limit.map_or_else(|| "no limit".to_owned(), |n| n.to_string());
    let row = |tenant: &TenantConfig| {
        [
            tenant.name.clone(),
            tenant.token_digests.len().to_string(),
            tenant.weight.to_string(),
            format!("{:.0} %", tenant.queue_share * 100.0),
            quota(tenant.quotas.requests),
            quota(tenant.quotas.samples),
            quota(tenant.quotas.tokens),
            if tenant.keep_texts { "may be kept" } else { "not kept" }.to_owned(),
            if tenant.operator { "all tenants" } else { "own" }.to_owned(),
        ]
    };
    let rows: Vec<_> =
        std::iter::once(head.map(String::from)).chain(tenants.iter().map(row)).collect();
    let mut text = columns(&rows);
    for warning in warnings {
        text += &format!("warning: {warning}\n");
    }
    text
}

fn as_json(tenants: &[TenantConfig], warnings: &[String]) -> Value {
    let tenant = |tenant: &TenantConfig| {
        json!({
            "name": tenant.name,
            "tokens": tenant.token_digests.len(),
            "weight": tenant.weight,
            "queue_share": tenant.queue_share,
            "requests_per_minute": tenant.quotas.requests,
            "samples_per_minute": tenant.quotas.samples,
            "tokens_per_minute": tenant.quotas.tokens,
            "keep_texts": tenant.keep_texts,
            "operator": tenant.operator,
        })
    };
    json!({ "tenants": tenants.iter().map(tenant).collect::<Vec<_>>(), "warnings": warnings })
}
