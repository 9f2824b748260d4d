//! Every route, on one screen. `GET` serves `HEAD` too unless a route says otherwise.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::Uri;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, delete, get, post};
use tower::ServiceExt;

use crate::app::App;
use crate::error::Error;
use crate::http::{discovery, layers, log};
use crate::{
    catalog, credentials, domains, grants, groups, keypairs, projects, roles, tokens, trusts, users,
};

/// One granted role; on every place that grants are on.
fn grant<const INHERITED: bool>() -> MethodRouter<Arc<App>> {
    get(grants::http::check::<INHERITED>)
        .put(grants::http::create::<INHERITED>)
        .delete(grants::http::revoke::<INHERITED>)
}

/// The public listener's routes.
pub fn public(app: Arc<App>) -> Router {
    let router = Router::new()
        .route("/", get(discovery::versions))
        .route("/v3", get(discovery::v3))
        .route("/v3/", get(discovery::v3))
        .route("/healthz", get(discovery::healthz))
        .route("/readyz", get(discovery::readyz))
        .route(
            "/v3/auth/tokens",
            get(tokens::http::get)
                .head(tokens::http::head)
                .post(tokens::http::post)
                .delete(tokens::http::delete),
        )
        .route("/v3/auth/catalog", get(tokens::http::catalog))
        .route("/v3/auth/projects", get(tokens::http::projects))
        .route("/v3/auth/domains", get(tokens::http::domains))
        .route("/v3/auth/system", get(tokens::http::system))
        .route("/v3/users/{user_id}/tokens", delete(tokens::http::delete_for_user))
        .route("/v3/OS-REVOKE/events", get(tokens::http::events))
        // catalog: regions, services, endpoints
        .route("/v3/regions", get(catalog::regions::list).post(catalog::regions::create))
        .route(
            "/v3/regions/{region_id}",
            get(catalog::regions::get)
                .put(catalog::regions::put)
                .patch(catalog::regions::update)
                .delete(catalog::regions::delete),
        )
        .route("/v3/services", get(catalog::services::list).post(catalog::services::create))
        .route(
            "/v3/services/{service_id}",
            get(catalog::services::get).patch(catalog::services::update).delete(catalog::services::delete),
        )
        .route("/v3/endpoints", get(catalog::endpoints::list).post(catalog::endpoints::create))
        .route(
            "/v3/endpoints/{endpoint_id}",
            get(catalog::endpoints::get).patch(catalog::endpoints::update).delete(catalog::endpoints::delete),
        )
        // domains, projects, tags
        .route("/v3/domains", get(domains::http::list).post(domains::http::create))
        .route(
            "/v3/domains/{domain_id}",
            get(domains::http::get).patch(domains::http::update).delete(domains::http::delete),
        )
        .route("/v3/projects", get(projects::http::list).post(projects::http::create))
        .route(
            "/v3/projects/{project_id}",
            get(projects::http::get).patch(projects::http::update).delete(projects::http::delete),
        )
        .route(
            "/v3/projects/{project_id}/tags",
            get(projects::tags::list).put(projects::tags::replace).delete(projects::tags::clear),
        )
        .route(
            "/v3/projects/{project_id}/tags/{tag}",
            get(projects::tags::get).put(projects::tags::add).delete(projects::tags::remove),
        )
        .route("/v3/users/{user_id}/projects", get(projects::http::of_user))
        .route("/v3/users", get(users::http::list).post(users::http::create))
        .route(
            "/v3/users/{user_id}",
            get(users::http::get).patch(users::http::update).delete(users::http::delete),
        )
        .route("/v3/users/{user_id}/password", post(users::http::change_password))
        .route("/v3/users/{user_id}/groups", get(users::http::groups))
        .route("/v3/groups", get(groups::http::list).post(groups::http::create))
        .route(
            "/v3/groups/{group_id}",
            get(groups::http::get).patch(groups::http::update).delete(groups::http::delete),
        )
        .route("/v3/groups/{group_id}/users", get(groups::http::users))
        .route(
            "/v3/groups/{group_id}/users/{user_id}",
            get(groups::http::check).put(groups::http::add).delete(groups::http::remove),
        )
        .route("/v3/roles", get(roles::http::list).post(roles::http::create))
        .route(
            "/v3/roles/{role_id}",
            get(roles::http::get).patch(roles::http::update).delete(roles::http::delete),
        )
        .route("/v3/roles/{prior_role_id}/implies", get(roles::http::list_implied))
        .route(
            "/v3/roles/{prior_role_id}/implies/{implied_role_id}",
            get(roles::http::get_implied)
                .head(roles::http::check_implied)
                .put(roles::http::imply)
                .delete(roles::http::imply_no_more),
        )
        .route("/v3/role_inferences", get(roles::http::inferences))
        .route("/v3/role_assignments", get(grants::assignments::list))
        .route("/v3/projects/{project_id}/users/{user_id}/roles", get(grants::http::list::<false>))
        .route("/v3/projects/{project_id}/users/{user_id}/roles/{role_id}", grant::<false>())
        .route("/v3/projects/{project_id}/groups/{group_id}/roles", get(grants::http::list::<false>))
        .route("/v3/projects/{project_id}/groups/{group_id}/roles/{role_id}", grant::<false>())
        .route("/v3/domains/{domain_id}/users/{user_id}/roles", get(grants::http::list::<false>))
        .route("/v3/domains/{domain_id}/users/{user_id}/roles/{role_id}", grant::<false>())
        .route("/v3/domains/{domain_id}/groups/{group_id}/roles", get(grants::http::list::<false>))
        .route("/v3/domains/{domain_id}/groups/{group_id}/roles/{role_id}", grant::<false>())
        .route("/v3/system/users/{user_id}/roles", get(grants::http::list::<false>))
        .route("/v3/system/users/{user_id}/roles/{role_id}", grant::<false>())
        .route("/v3/system/groups/{group_id}/roles", get(grants::http::list::<false>))
        .route("/v3/system/groups/{group_id}/roles/{role_id}", grant::<false>())
        .route(
            "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/inherited_to_projects",
            get(grants::http::list::<true>),
        )
        .route(
            "/v3/OS-INHERIT/projects/{project_id}/users/{user_id}/roles/{role_id}/inherited_to_projects",
            grant::<true>(),
        )
        .route(
            "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/inherited_to_projects",
            get(grants::http::list::<true>),
        )
        .route(
            "/v3/OS-INHERIT/projects/{project_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects",
            grant::<true>(),
        )
        .route(
            "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/inherited_to_projects",
            get(grants::http::list::<true>),
        )
        .route(
            "/v3/OS-INHERIT/domains/{domain_id}/users/{user_id}/roles/{role_id}/inherited_to_projects",
            grant::<true>(),
        )
        .route(
            "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/inherited_to_projects",
            get(grants::http::list::<true>),
        )
        .route(
            "/v3/OS-INHERIT/domains/{domain_id}/groups/{group_id}/roles/{role_id}/inherited_to_projects",
            grant::<true>(),
        )
        .route("/v3/OS-TRUST/trusts", get(trusts::http::list).post(trusts::http::create))
        .route("/v3/OS-TRUST/trusts/{trust_id}", get(trusts::http::get).delete(trusts::http::delete))
        .route("/v3/OS-TRUST/trusts/{trust_id}/roles", get(trusts::http::roles))
        .route("/v3/OS-TRUST/trusts/{trust_id}/roles/{role_id}", get(trusts::http::role))
        .route("/v3/OS-TRUST/trusts/{trust_id}/lineage", get(trusts::http::lineage))
        .route("/v3/users/{user_id}/delegations", get(trusts::http::delegations))
        .route("/v3/credentials", get(credentials::list).post(credentials::create))
        .route(
            "/v3/credentials/{credential_id}",
            get(credentials::get).patch(credentials::update).delete(credentials::delete),
        )
        .route(
            "/v3/users/{user_id}/credentials/OS-EC2",
            get(keypairs::http::list).post(keypairs::http::create),
        )
        .route(
            "/v3/users/{user_id}/credentials/OS-EC2/{access}",
            get(keypairs::http::get).delete(keypairs::http::delete),
        )
        .route("/v3/ec2tokens", post(keypairs::exchange::ec2))
        .route("/v3/s3tokens", post(keypairs::exchange::s3));
    let router = router
        .method_not_allowed_fallback(|| async { Error::MethodNotAllowed })
        .fallback(|| async {
            Error::NotFoundBecause("The requested URL was not found on this server.".into())
        })
        .layer(from_fn(layers::catch_panic))
        .layer(from_fn_with_state(Arc::clone(&app), log::around))
        .with_state(app);
    Router::new().fallback_service(router.map_request(without_last_slash))
}

/// `/v3/projects/` is `/v3/projects`: clients write either.
fn without_last_slash(mut request: Request) -> Request {
    let uri = request.uri();
    let Some(path) = uri.path().strip_suffix('/').filter(|path| !path.is_empty()) else {
        return request;
    };
    let whole = uri.query().map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = whole.parse().ok();
    if let Ok(shorter) = Uri::from_parts(parts) {
        *request.uri_mut() = shorter;
    }
    request
}
